//! What the stories share.

use model::{
    Bytes, CheckpointId, CopyNo, Fence, GroupId, Placement, Sha256, VolumePosition, VolumeUuid,
};
use volume::{
    Expected, Label, MemberKind, MemoryTape, PlacementHead, VolumeError, VolumeWriter,
    WriterOptions, write_label,
};

pub fn label() -> Label {
    Label {
        uuid: VolumeUuid::from_parts(1_763_000_000_000, &[9; 10]),
        barcode: "TM0001L9".parse().unwrap(),
        pool: "default".parse().unwrap(),
        library: "lib0".parse().unwrap(),
        created: "2026-11-22T14:00:00Z".parse().unwrap(),
        recipients: vec!["age1example".into()],
    }
}

pub fn expect(fence: u64, position: &VolumePosition) -> Expected {
    Expected {
        barcode: label().barcode,
        uuid: label().uuid,
        fence: Fence(fence),
        position: position.clone(),
    }
}

pub fn now() -> jiff::Timestamp {
    "2026-11-22T16:00:00Z".parse().unwrap()
}

/// The head of checkpoint `number`, alone in its group.
pub fn head(number: u8) -> PlacementHead {
    PlacementHead {
        work: format!("run-{number}/execute/p0/1/0").parse().unwrap(),
        checkpoint: CheckpointId::from_parts(1_763_000_000_000, &[number; 10]),
        group: GroupId::from_parts(1_763_000_000_000, &[number; 10]),
        group_index: 0,
        group_size: 1,
        run: format!("run-{number}").parse().unwrap(),
        copy: CopyNo(1),
        part: 0,
        parts: 1,
        content: Sha256([number; 32]),
        submitted_at: "2026-11-22T15:00:00Z".parse().unwrap(),
    }
}

/// A labelled tape.
pub fn labelled() -> (MemoryTape, VolumePosition) {
    let mut tape = MemoryTape::new();
    let position = write_label(&mut tape, &label()).unwrap();
    (tape, position)
}

pub fn append(
    tape: MemoryTape,
    fence: u64,
    position: &VolumePosition,
) -> Result<(VolumeWriter<MemoryTape>, volume::Tail), VolumeError> {
    let options = WriterOptions {
        segment_limit: Bytes::mib(1),
    };
    VolumeWriter::append(tape, &expect(fence, position), options)
}

/// Writes a placement of these members.
pub fn place(
    writer: &mut VolumeWriter<MemoryTape>,
    head: PlacementHead,
    members: &[(&str, usize)],
) -> Placement {
    let number = head.content.0[0];
    let mut open = writer.begin_placement(head).unwrap();
    for (name, length) in members {
        let stored = vec![number; *length];
        open.add_member(name, MemberKind::Artifact, &stored)
            .unwrap();
    }
    let artifacts = members.len() as u32;
    let bytes = members.iter().map(|(_, n)| Bytes(*n as u64)).sum();
    open.finish(Sha256([0; 32]), artifacts, bytes, b"sealed", now())
        .unwrap()
}

/// A tape with checkpoints 1 to `count`, and its position.
pub fn with_checkpoints(count: u8) -> (MemoryTape, VolumePosition, Vec<Placement>) {
    let (tape, position) = labelled();
    let (mut writer, _) = append(tape, 1, &position).unwrap();
    let placements = (1..=count)
        .map(|n| place(&mut writer, head(n), &[("a", 700_000), ("b", 600_000)]))
        .collect();
    let position = writer.sync().unwrap();
    (writer.into_device(), position, placements)
}
