//! What a scan reports.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use model::{
    Bytes, CheckpointId, Fence, GroupId, Placement, RecordNo, RunId, Sha256, VolumePosition,
};
use serde::{Deserialize, Serialize};

use crate::label::Label;
use crate::sealed::Sealed;

/// A placement that a scan found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScannedPlacement {
    /// Where it lies.
    pub placement: Placement,
    /// The manifest's number on the volume.
    pub ordinal: u64,
    /// The first record of the manifest segment.
    pub manifest_at: RecordNo,
    /// The group.
    pub group: GroupId,
    /// The place in the group.
    pub group_index: u32,
    /// How many members the group has.
    pub group_size: u32,
    /// The run.
    pub run: RunId,
    /// The content digest of the whole checkpoint.
    pub content: Sha256,
    /// The digest over `work::part_text` of this part.
    pub part_content: Sha256,
    /// How many artifact ranges.
    pub artifacts: u32,
    /// Their lengths' sum.
    pub content_bytes: Bytes,
    /// When the checkpoint was submitted.
    pub submitted_at: Timestamp,
    /// When the manifest was written.
    pub written_at: Timestamp,
    /// Names and sources, where an identity was given that opens them.
    pub sealed: Option<Sealed>,
    /// What is damaged in it, as far as the scan looked. Empty: nothing.
    pub damage: Vec<String>,
}

/// A span of records that no manifest of the chain names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Its first record.
    pub first: RecordNo,
    /// How many records.
    pub records: u64,
    /// What is known of it.
    pub why: String,
}

/// Something that did not add up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "problem", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Problem {
    /// Records stand behind the last filemark.
    TornEnd {
        /// The first of them.
        first: RecordNo,
        /// How many.
        records: u64,
    },
    /// A manifest names a predecessor that was not found: manifests before it are lost.
    ChainBreak {
        /// The manifest that names it.
        at: RecordNo,
        /// Its number.
        ordinal: u64,
        /// The number that was expected.
        expected_ordinal: u64,
    },
    /// A manifest was written under a lower fence than one before it, by a session that had no
    /// right to write any more. Not restorable.
    FenceRegression {
        /// The manifest.
        at: RecordNo,
        /// Its fence.
        fence: Fence,
        /// The highest fence before it.
        highest: Fence,
        /// Its checkpoint.
        checkpoint: CheckpointId,
    },
    /// A later manifest continues the chain from before this one: the session that wrote it
    /// judged this one not to count. Not restorable.
    Disowned {
        /// The manifest.
        at: RecordNo,
        /// Its checkpoint.
        checkpoint: CheckpointId,
        /// The manifest that passes it over.
        by: RecordNo,
    },
    /// A manifest segment is damaged. The data before it are lost with it.
    BadManifest {
        /// The segment.
        at: RecordNo,
        /// What is wrong.
        why: String,
    },
    /// A manifest of another volume, or one whose data are not where it says.
    Misplaced {
        /// The manifest.
        at: RecordNo,
        /// What is wrong.
        why: String,
    },
    /// A sealed part does not open, or does not belong to its clear part.
    Sealed {
        /// The manifest.
        at: RecordNo,
        /// What is wrong.
        why: String,
    },
    /// A segment whose first record cannot be read.
    Unreadable {
        /// The segment.
        at: RecordNo,
        /// What the device said.
        why: String,
    },
}

/// What a scan found on one volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanReport {
    /// The label.
    pub label: Label,
    /// Where the data end, and the last manifest of the chain.
    pub position: VolumePosition,
    /// Bytes on the volume, at most.
    pub used: Bytes,
    /// The placements of the chain, in their order.
    pub placements: Vec<ScannedPlacement>,
    /// Groups of which some member lies on this volume.
    pub groups: Vec<GroupStatus>,
    /// What no manifest names: abandoned by a failure or lost with its manifest.
    pub unclaimed: Vec<Span>,
    /// Index segments, by their first record.
    pub indexes: Vec<RecordNo>,
    /// What did not add up.
    pub problems: Vec<Problem>,
}

/// Whether a group can be brought back from the volumes scanned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// The group.
    pub group: GroupId,
    /// How many members it has.
    pub size: u32,
    /// Members of which every part was found undamaged, by index and checkpoint.
    pub complete: BTreeMap<u32, CheckpointId>,
    /// True where all members are complete: only then may any of them be restored.
    pub restorable: bool,
}

/// Which groups can be brought back from these volumes: all members, each with all parts of
/// whatever copies, none damaged. An incomplete group is not restorable at all.
pub fn restorable_groups<'a>(
    reports: impl IntoIterator<Item = &'a ScanReport>,
) -> Vec<GroupStatus> {
    let mut groups: BTreeMap<GroupId, GroupStatus> = BTreeMap::new();
    let mut parts: BTreeMap<(GroupId, u32, CheckpointId), (u32, BTreeSet<u32>)> = BTreeMap::new();
    for found in reports.into_iter().flat_map(|r| &r.placements) {
        groups.entry(found.group).or_insert_with(|| GroupStatus {
            group: found.group,
            size: found.group_size,
            complete: BTreeMap::new(),
            restorable: false,
        });
        let key = (found.group, found.group_index, found.placement.checkpoint);
        let entry = parts
            .entry(key)
            .or_insert_with(|| (found.placement.parts, BTreeSet::new()));
        if found.damage.is_empty() {
            entry.1.insert(found.placement.part);
        }
    }
    for ((group, index, checkpoint), (wanted, found)) in parts {
        if let Some(status) = groups.get_mut(&group)
            && found.len() == wanted as usize
        {
            status.complete.insert(index, checkpoint);
            status.restorable = status.complete.len() == status.size as usize;
        }
    }
    groups.into_values().collect()
}
