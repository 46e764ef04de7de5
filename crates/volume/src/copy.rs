//! Copying a placement to another volume without opening it: a second copy, or migration.

use jiff::Timestamp;
use model::{CopyNo, Placement, WorkKey};

use crate::device::RecordDevice;
use crate::error::VolumeError;
use crate::manifest::PlacementHead;
use crate::reader::PlacementReader;
use crate::writer::VolumeWriter;

/// Reads a placement from `source` and writes it to `target` as copy `copy` under the work item
/// `work`. No key is needed. Where the target cuts segments at the same limit as the source's
/// writer did, the data segments are byte-identical and keep their digests; the manifest is a
/// new one, of the target's chain.
///
/// The copy is durable only after [`VolumeWriter::sync`]. On damage in the source the span on
/// the target is abandoned.
///
/// # Errors
/// [`VolumeError::Damaged`] where the source is damaged, everything that
/// [`PlacementReader::open`] and [`crate::PlacementWriter::add_member`] tell.
pub fn copy_placement<S: RecordDevice, D: RecordDevice>(
    source: S,
    placement: &Placement,
    target: &mut VolumeWriter<D>,
    copy: CopyNo,
    work: &WorkKey,
    now: Timestamp,
) -> Result<Placement, VolumeError> {
    let mut reader = PlacementReader::open(source, placement)?;
    let head = PlacementHead {
        copy,
        work: work.clone(),
        ..reader.manifest().head.clone()
    };
    let mut open = target.begin_placement(head)?;
    let mut stored = Vec::new();
    for index in 0..reader.manifest().members.len() {
        let result = match reader.member(index, &mut stored) {
            Ok(Ok(())) => {
                let member = &reader.manifest().members[index];
                open.add_member(&member.name, member.kind, &stored)
                    .map(drop)
            }
            Ok(Err(damage)) => Err(VolumeError::Damaged(format!(
                "member {}: {damage}",
                reader.manifest().members[index].name
            ))),
            Err(error) => {
                // The failure is the source's; the target can go on.
                open.abandon()?;
                return Err(error);
            }
        };
        if let Err(error) = result {
            if !error.ends_writing() {
                open.abandon()?;
            }
            return Err(error);
        }
    }
    let manifest = reader.manifest();
    open.finish(
        manifest.part_content,
        manifest.artifacts,
        manifest.content_bytes,
        reader.sealed(),
        now,
    )
}
