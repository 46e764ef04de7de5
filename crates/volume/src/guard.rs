//! The append guard: before a volume is written, proof that it is the one the catalogue means
//! and ends where the catalogue says.

use std::collections::BTreeMap;

use model::{Barcode, Bytes, Fence, Placement, RecordNo, Sha256, VolumePosition, VolumeUuid};

use crate::RECORD_BYTES;
use crate::device::{RecordDevice, Spaced};
use crate::error::VolumeError;
use crate::label::{FoundLabel, LabelState, read_label};
use crate::manifest::Link;
use crate::walk::{FoundManifest, Kind, go, meet, record_buffer};
use crate::writer::{VolumeWriter, WriterOptions};

/// What the catalogue says about a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Its barcode.
    pub barcode: Barcode,
    /// What its label says.
    pub uuid: VolumeUuid,
    /// The fence of this session: must not be below any fence on the volume.
    pub fence: Fence,
    /// Where its data end.
    pub position: VolumePosition,
}

/// What was found behind the catalogued end of data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// Complete placements that continue the chain of manifests, in their order: written by an
    /// earlier session that could not report them. The writer's position counts them.
    pub found: Vec<Placement>,
    /// Bytes that belong to none of them, at most (whole records are counted as full).
    pub abandoned: Bytes,
    /// True where records stood behind the last filemark; a filemark has been written behind
    /// them.
    pub closed_torn_end: bool,
    /// Manifests that were met and not taken, with the reason.
    pub refused: Vec<String>,
}

/// Rewinds and proves that the tape in the drive is the expected one. Before reading this is
/// all the proof that is needed; before writing [`VolumeWriter::append`] asks for more.
///
/// # Errors
/// [`VolumeError::Blank`], [`VolumeError::Foreign`], [`VolumeError::WrongVolume`],
/// [`VolumeError::LabelMismatch`], [`VolumeError::Format`] for a label that is torn or damaged,
/// device errors.
pub fn prove_label<D: RecordDevice>(
    dev: &mut D,
    barcode: &Barcode,
    uuid: VolumeUuid,
) -> Result<FoundLabel, VolumeError> {
    let damaged = |found: String| VolumeError::Format {
        at: RecordNo(0),
        expected: format!("the label of volume {barcode}"),
        found,
    };
    let found = match read_label(dev)? {
        LabelState::Blank => {
            return Err(VolumeError::Blank {
                expected: barcode.clone(),
            });
        }
        LabelState::Foreign { found } => {
            return Err(VolumeError::Foreign {
                expected: barcode.clone(),
                found,
            });
        }
        LabelState::Torn { volume_id } => {
            return Err(damaged(format!(
                "a label of {volume_id} cut off by a crash"
            )));
        }
        LabelState::Damaged { found } => return Err(damaged(found)),
        LabelState::Ours(found) => found,
    };
    if found.label.barcode != *barcode {
        return Err(VolumeError::WrongVolume {
            expected: barcode.clone(),
            found: found.label.barcode.to_string(),
        });
    }
    if found.label.uuid != uuid {
        return Err(VolumeError::LabelMismatch {
            barcode: barcode.clone(),
            expected: uuid,
            found: found.label.uuid,
        });
    }
    Ok(found)
}

impl<D: RecordDevice> VolumeWriter<D> {
    /// Proves that the volume is the one the catalogue means and opens it for appending.
    ///
    /// In this order: the label is equal; end of data is not before the catalogued one; the last
    /// manifest before the catalogued end is re-read and its digest and ordinal are equal; no
    /// fence on the volume is above ours. A torn end (records behind the last filemark) is
    /// closed with a synchronous filemark and never overwritten; then what stands behind the
    /// catalogued end is judged (see [`Tail`]). The writer continues behind all of it.
    ///
    /// # Errors
    /// As listed: [`VolumeError::Blank`], [`VolumeError::Foreign`],
    /// [`VolumeError::WrongVolume`], [`VolumeError::LabelMismatch`], [`VolumeError::Position`],
    /// [`VolumeError::Fenced`], [`VolumeError::Format`], device errors. Nothing was written
    /// then, except the filemark that closes a torn end.
    pub fn append(
        mut dev: D,
        expected: &Expected,
        options: WriterOptions,
    ) -> Result<(Self, Tail), VolumeError> {
        let label = prove_label(&mut dev, &expected.barcode, expected.uuid)?;
        let mut buf = record_buffer();
        let next = expected.position.next;
        dev.space_to_end_of_data()?;
        let mut end = dev.position()?;
        if end < next || next < label.next {
            return Err(VolumeError::Position {
                what: "end of data",
                expected: next.to_string(),
                found: end.to_string(),
            });
        }
        let last = last_manifest(&mut dev, next, label.next, &mut buf)?;
        compare(&expected.position, last.as_ref())?;
        let mut writer = Self {
            label: label.label,
            fence: expected.fence,
            options,
            next,
            last: last.as_ref().map(|found| Link {
                manifest: found.digest,
                first: found.extent.first,
            }),
            manifests: expected.position.manifests,
            used: used_at(next, last.as_ref(), label.next, label.bytes),
            early_warning: false,
            broken: None,
            in_placement: false,
            buffer: buf,
            dev,
        };
        let mut fence = last.map_or(Fence(0), |found| found.manifest.fence);
        writer.not_fenced(fence)?;
        let mut tail = Tail::default();
        if end > next {
            // Look before the torn end is closed: a stale session must not write even that.
            writer.judge_tail(end, &mut fence, &mut tail)?;
            if is_torn(&mut writer.dev, end)? {
                go(&mut writer.dev, end)?;
                let outcome = writer.dev.write_filemark(true)?;
                writer.early_warning |= outcome.early_warning;
                end.0 += 1;
                tail.closed_torn_end = true;
            }
        }
        writer.next = end;
        writer.resume()?;
        writer.buffer.clear();
        Ok((writer, tail))
    }

    fn not_fenced(&self, found: Fence) -> Result<(), VolumeError> {
        if found > self.fence {
            return Err(VolumeError::Fenced {
                ours: self.fence,
                found,
            });
        }
        Ok(())
    }

    /// Goes over what stands behind the catalogued end and takes what continues the chain.
    fn judge_tail(
        &mut self,
        end: RecordNo,
        fence: &mut Fence,
        tail: &mut Tail,
    ) -> Result<(), VolumeError> {
        let mut at = self.next;
        let mut buf = std::mem::take(&mut self.buffer);
        buf.resize(RECORD_BYTES, 0);
        let mut unclaimed = BTreeMap::new();
        while at < end {
            let Some(met) = meet(&mut self.dev, at, &mut buf)? else {
                break;
            };
            at = RecordNo(at.0 + met.records + 1);
            let refused = match met.kind {
                Kind::Manifest(found) => {
                    self.not_fenced(found.manifest.fence)?;
                    match self.continues(&found, *fence, &unclaimed) {
                        Ok(()) => {
                            *fence = found.manifest.fence;
                            for segment in &found.manifest.segments {
                                unclaimed.remove(&segment.extent.first);
                            }
                            tail.found.push(self.adopt(*found));
                            continue;
                        }
                        Err(why) => Some(why),
                    }
                }
                Kind::BadManifest(why) => Some(why),
                Kind::Data | Kind::Unreadable(_) | Kind::Empty => None,
                Kind::Index => {
                    self.used = self.used.plus(full(met.records));
                    continue;
                }
            };
            if let Some(why) = refused {
                tail.refused
                    .push(format!("manifest at record {}: {why}", met.first));
            }
            unclaimed.insert(met.first, met.records);
        }
        tail.abandoned = full(unclaimed.values().sum());
        self.used = self.used.plus(tail.abandoned);
        self.buffer = buf;
        Ok(())
    }

    /// Takes a manifest of the tail into the chain.
    fn adopt(&mut self, found: FoundManifest) -> Placement {
        let data = found.manifest.data_bytes();
        self.used = self.used.plus(found.extent.bytes).plus(data);
        self.last = Some(Link {
            manifest: found.digest,
            first: found.extent.first,
        });
        self.manifests += 1;
        found.manifest.placement(found.digest, found.extent)
    }

    /// Whether a manifest is the next one of the chain.
    fn continues(
        &self,
        found: &FoundManifest,
        fence: Fence,
        met: &BTreeMap<RecordNo, u64>,
    ) -> Result<(), String> {
        let manifest = &found.manifest;
        let check = |what: &str, ok: bool| ok.then_some(()).ok_or_else(|| what.to_owned());
        check(
            "it is of another volume",
            manifest.volume_uuid == self.label.uuid,
        )?;
        check("its fence is below an earlier one", manifest.fence >= fence)?;
        check(
            "it does not name the last manifest as its predecessor",
            manifest.previous == self.last,
        )?;
        check(
            "its ordinal is not the next one",
            manifest.ordinal == self.manifests,
        )?;
        check(
            "its data are not where it says",
            manifest
                .segments
                .iter()
                .all(|s| met.get(&s.extent.first) == Some(&s.extent.records)),
        )
    }
}

fn full(records: u64) -> Bytes {
    Bytes(records.saturating_mul(RECORD_BYTES as u64))
}

/// Bytes on the volume before `next`, at most.
fn used_at(
    next: RecordNo,
    last: Option<&FoundManifest>,
    label_next: RecordNo,
    label: Bytes,
) -> Bytes {
    let (known, from) = match last {
        Some(found) => (
            found
                .manifest
                .used_before
                .plus(found.manifest.data_bytes())
                .plus(found.extent.bytes),
            RecordNo(found.extent.first.0 + found.extent.records + 1),
        ),
        None => (label, label_next),
    };
    known.plus(full(next.0.saturating_sub(from.0)))
}

/// The last manifest before `next`, going back over spans without one.
fn last_manifest<D: RecordDevice>(
    dev: &mut D,
    next: RecordNo,
    label_next: RecordNo,
    buf: &mut [u8],
) -> Result<Option<FoundManifest>, VolumeError> {
    let mut end = next;
    while end > label_next {
        go(dev, end)?;
        // Over the filemark before `end` and the one before that, then forwards over the latter.
        let start = match dev.space_filemarks(-2)? {
            Spaced::All => {
                dev.space_filemarks(1)?;
                dev.position()?
            }
            Spaced::Beginning | Spaced::EndOfData => label_next,
        };
        if start >= end || start < label_next {
            return Err(VolumeError::Position {
                what: "what stands before the catalogued end of data",
                expected: format!("a filemark right before {end}"),
                found: format!("a segment that begins at {start}"),
            });
        }
        match meet(dev, start, buf)? {
            Some(met) if met.first.0 + met.records + 1 != end.0 => {
                return Err(VolumeError::Position {
                    what: "what stands before the catalogued end of data",
                    expected: format!("a filemark right before {end}"),
                    found: format!("one after record {}", met.first.0 + met.records),
                });
            }
            Some(met) => {
                if let Kind::Manifest(found) = met.kind {
                    return Ok(Some(*found));
                }
                if let Kind::BadManifest(why) | Kind::Unreadable(why) = met.kind {
                    return Err(VolumeError::Format {
                        at: start,
                        expected: "the last manifest".into(),
                        found: why,
                    });
                }
            }
            None => {}
        }
        end = start;
    }
    Ok(None)
}

fn compare(expected: &VolumePosition, found: Option<&FoundManifest>) -> Result<(), VolumeError> {
    let describe = |digest: Option<Sha256>, count: u64| match digest {
        Some(digest) => format!("manifest {digest}, number {count}"),
        None => "no manifest".to_owned(),
    };
    let found = (
        found.map(|f| f.digest),
        found.map_or(0, |f| f.manifest.ordinal.saturating_add(1)),
    );
    if found == (expected.last_manifest, expected.manifests) {
        return Ok(());
    }
    Err(VolumeError::Position {
        what: "last manifest before the catalogued end of data",
        expected: describe(expected.last_manifest, expected.manifests),
        found: describe(found.0, found.1),
    })
}

/// True where records stand behind the last filemark before `end`.
fn is_torn<D: RecordDevice>(dev: &mut D, end: RecordNo) -> Result<bool, VolumeError> {
    go(dev, end)?;
    dev.space_filemarks(-1)?;
    Ok(dev.position()?.0 + 1 != end.0)
}
