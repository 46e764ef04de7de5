//! Rebuilding the list of what is on a volume from the medium alone.

use std::collections::BTreeMap;

use model::{Bytes, Fence, Placement, RecordNo};

mod report;

pub use report::{GroupStatus, Problem, ScanReport, ScannedPlacement, Span, restorable_groups};

use crate::device::RecordDevice;
use crate::error::VolumeError;
use crate::label::{LabelState, read_label};
use crate::manifest::Link;
use crate::reader::PlacementReader;
use crate::sealed::Sealed;
use crate::walk::{FoundManifest, Kind, meet, record_buffer};
use crate::{MAX_MANIFEST_BYTES, RECORD_BYTES};

/// Opens sealed parts: decrypts and decompresses. Implemented by whoever holds an identity.
pub trait Unseal {
    /// Opens `stored`, a file with the suffixes `.zst.age`, into at most `limit` bytes.
    ///
    /// # Errors
    /// [`VolumeError::KeyMissing`] where no identity fits, [`VolumeError::Damaged`] where it
    /// does not open or is longer.
    fn unseal(&self, stored: &[u8], limit: Bytes) -> Result<Vec<u8>, VolumeError>;
}

/// How thorough a scan is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScanOptions {
    /// Also read every data record and compare CRCs and member digests. Without it data are
    /// spaced over and damage in them is not noticed.
    pub read_data: bool,
}

/// Goes over a volume from its label to end of data and lists what is there.
///
/// Tolerates torn ends, damaged segments (it goes on behind the next filemark) and breaks in the
/// chain; all of them are in the report. `unseal` opens the sealed parts, if given.
///
/// # Errors
/// A label that is not ours ([`VolumeError::Format`] with what stands there), and device errors
/// other than unreadable records.
pub fn scan<D: RecordDevice>(
    dev: &mut D,
    unseal: Option<&dyn Unseal>,
    options: ScanOptions,
) -> Result<ScanReport, VolumeError> {
    let label = match read_label(dev)? {
        LabelState::Ours(found) => found,
        other => {
            return Err(VolumeError::Format {
                at: RecordNo(0),
                expected: "a label of Tapemark".into(),
                found: format!("{other:?}"),
            });
        }
    };
    let mut scanner = Scanner {
        report: ScanReport {
            position: label.position(),
            used: label.bytes,
            label: label.label,
            placements: Vec::new(),
            groups: Vec::new(),
            unclaimed: Vec::new(),
            indexes: Vec::new(),
            problems: Vec::new(),
        },
        links: Vec::new(),
        highest: Fence(0),
        segments: BTreeMap::new(),
    };
    let mut buf = record_buffer();
    let mut at = label.next;
    dev.space_to_end_of_data()?;
    let end = dev.position()?;
    while at < end {
        let Some(met) = meet(dev, at, &mut buf)? else {
            break;
        };
        let torn = met.first.0 + met.records == end.0;
        if torn {
            scanner.report.problems.push(Problem::TornEnd {
                first: met.first,
                records: met.records,
            });
        }
        at = RecordNo(met.first.0 + met.records + 1);
        let why = match met.kind {
            Kind::Manifest(found) => {
                scanner.manifest(&found, unseal);
                continue;
            }
            Kind::Index => {
                scanner.report.indexes.push(met.first);
                scanner.add_used(met.records);
                continue;
            }
            Kind::Empty => continue,
            Kind::Data => "data without a manifest".to_owned(),
            Kind::BadManifest(why) => {
                scanner.report.problems.push(Problem::BadManifest {
                    at: met.first,
                    why: why.clone(),
                });
                format!("a damaged manifest: {why}")
            }
            Kind::Unreadable(why) => {
                scanner.report.problems.push(Problem::Unreadable {
                    at: met.first,
                    why: why.clone(),
                });
                format!("unreadable: {why}")
            }
        };
        scanner.segments.insert(met.first, (met.records, why));
    }
    scanner.report.position.next = end;
    let mut report = scanner.finish();
    if options.read_data {
        for found in &mut report.placements {
            found.damage.extend(read_data(dev, &found.placement)?);
        }
    }
    report.groups = restorable_groups([&report]);
    Ok(report)
}

struct Scanner {
    report: ScanReport,
    /// The chain so far, one link a placement in the report.
    links: Vec<Link>,
    highest: Fence,
    /// Segments that are not manifests and not claimed yet, with their records.
    segments: BTreeMap<RecordNo, (u64, String)>,
}

impl Scanner {
    fn add_used(&mut self, records: u64) {
        let bytes = records.saturating_mul(RECORD_BYTES as u64);
        self.report.used = self.report.used.plus(Bytes(bytes));
    }

    fn manifest(&mut self, found: &FoundManifest, unseal: Option<&dyn Unseal>) {
        let manifest = &found.manifest;
        let at = found.extent.first;
        let refuse = |scanner: &mut Self, problem: Problem, why: &str| {
            scanner.report.problems.push(problem);
            let entry = (found.extent.records, format!("a manifest that {why}"));
            scanner.segments.insert(at, entry);
        };
        if let Err(why) = self.placed_right(found) {
            return refuse(
                self,
                Problem::Misplaced {
                    at,
                    why: why.clone(),
                },
                &why,
            );
        }
        if manifest.fence < self.highest {
            let problem = Problem::FenceRegression {
                at,
                fence: manifest.fence,
                highest: self.highest,
                checkpoint: manifest.head.checkpoint,
            };
            return refuse(self, problem, "was written under a lower fence");
        }
        self.join_chain(found);
        self.highest = manifest.fence;
        for segment in &manifest.segments {
            self.segments.remove(&segment.extent.first);
        }
        self.report.used = self
            .report
            .used
            .plus(manifest.data_bytes())
            .plus(found.extent.bytes);
        let (sealed, damage) = match unseal {
            None => (None, Vec::new()),
            Some(unseal) => match open_sealed(unseal, found) {
                Ok(sealed) => (Some(sealed), Vec::new()),
                Err(why) => {
                    self.report.problems.push(Problem::Sealed {
                        at,
                        why: why.clone(),
                    });
                    (None, vec![why])
                }
            },
        };
        self.links.push(Link {
            manifest: found.digest,
            first: at,
        });
        self.report.placements.push(ScannedPlacement {
            placement: manifest.placement(found.digest, found.extent.clone()),
            ordinal: manifest.ordinal,
            manifest_at: at,
            group: manifest.head.group,
            group_index: manifest.head.group_index,
            group_size: manifest.head.group_size,
            run: manifest.head.run.clone(),
            content: manifest.head.content,
            part_content: manifest.part_content,
            artifacts: manifest.artifacts,
            content_bytes: manifest.content_bytes,
            submitted_at: manifest.head.submitted_at,
            written_at: manifest.written_at,
            sealed,
            damage,
        });
    }

    /// The manifest is of this volume, and the segments it names are where it says.
    fn placed_right(&self, found: &FoundManifest) -> Result<(), String> {
        if found.manifest.volume_uuid != self.report.label.uuid {
            return Err(format!("is of volume {}", found.manifest.volume_uuid));
        }
        for segment in &found.manifest.segments {
            let extent = &segment.extent;
            match self.segments.get(&extent.first) {
                Some((records, _)) if *records == extent.records => {}
                Some((records, _)) => {
                    return Err(format!(
                        "names {} records at {} where {records} are",
                        extent.records, extent.first
                    ));
                }
                None => return Err(format!("names a segment at {} that is none", extent.first)),
            }
        }
        Ok(())
    }

    fn join_chain(&mut self, found: &FoundManifest) {
        let manifest = &found.manifest;
        let at = found.extent.first;
        let expected = self
            .report
            .placements
            .last()
            .map_or(0, |p| p.ordinal.saturating_add(1));
        if manifest.previous == self.links.last().copied() && manifest.ordinal == expected {
            return;
        }
        let keep = match manifest.previous {
            None => Some(0),
            Some(link) => self.links.iter().position(|l| *l == link).map(|i| i + 1),
        };
        match keep {
            Some(keep) if keep < self.links.len() => {
                self.links.truncate(keep);
                for passed in self.report.placements.split_off(keep) {
                    self.report.problems.push(Problem::Disowned {
                        at: passed.manifest_at,
                        checkpoint: passed.placement.checkpoint,
                        by: at,
                    });
                    for extent in &passed.placement.segments {
                        let why = "a placement that a later session passed over".to_owned();
                        self.segments.insert(extent.first, (extent.records, why));
                    }
                }
            }
            _ => self.report.problems.push(Problem::ChainBreak {
                at,
                ordinal: manifest.ordinal,
                expected_ordinal: expected,
            }),
        }
    }

    fn finish(mut self) -> ScanReport {
        let mut records_left = 0;
        for (first, (records, why)) in std::mem::take(&mut self.segments) {
            records_left += records;
            self.report.unclaimed.push(Span {
                first,
                records,
                why,
            });
        }
        self.add_used(records_left);
        if let (Some(link), Some(last)) = (self.links.last(), self.report.placements.last()) {
            self.report.position.last_manifest = Some(link.manifest);
            self.report.position.manifests = last.ordinal.saturating_add(1);
        }
        self.report
    }
}

fn open_sealed(unseal: &dyn Unseal, found: &FoundManifest) -> Result<Sealed, String> {
    let json = unseal
        .unseal(&found.sealed, MAX_MANIFEST_BYTES)
        .map_err(|error| error.to_string())?;
    Sealed::parse(&json, &found.manifest)
}

/// Reads every member and says what is damaged.
fn read_data<D: RecordDevice>(
    dev: &mut D,
    placement: &Placement,
) -> Result<Vec<String>, VolumeError> {
    let mut reader = PlacementReader::open(dev, placement)?;
    let mut damage = Vec::new();
    let mut stored = Vec::new();
    for index in 0..reader.manifest().members.len() {
        if let Err(why) = reader.member(index, &mut stored)? {
            let name = &reader.manifest().members[index].name;
            damage.push(format!("member {name}: {why}"));
        }
    }
    damage.extend(reader.finish()?.iter().map(ToString::to_string));
    Ok(damage)
}
