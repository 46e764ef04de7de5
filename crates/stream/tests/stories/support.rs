//! What the stories share: orders, sources in memory, labelled tapes.
use model::work::{OrderedArtifact, WriteOrder};
use model::{
    ArtifactRange, Bytes, CheckpointId, CopyNo, Fence, GroupId, Sha256, VolumePosition, VolumeUuid,
    WorkKey,
};
use rand::{RngCore, SeedableRng};
use sha2::Digest;
use std::collections::BTreeMap;
use std::io::{self, Read};
use stream::{Opener, Sealer, Source, StreamOptions, generate_identity};
use volume::{
    Expected, Label, MemoryTape, SealedArtifact, VolumeWriter, WriterOptions, write_label,
};

pub fn sha(bytes: &[u8]) -> Sha256 {
    Sha256(sha2::Sha256::digest(bytes).into())
}

/// Incompressible bytes, the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    rand_chacha::ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

/// Text that compresses well.
pub fn prose(length: usize) -> Vec<u8> {
    b"nothing is written twice, nothing is written over. "
        .iter()
        .copied()
        .cycle()
        .take(length)
        .collect()
}

/// Artifacts in memory, opened as `mem:NAME`.
#[derive(Clone, Debug, Default)]
pub struct Shelf(pub BTreeMap<String, Vec<u8>>);

impl Source for Shelf {
    fn open(&self, fetch: &str, offset: Bytes, _: Bytes) -> io::Result<Box<dyn Read + Send + '_>> {
        let bytes = fetch
            .strip_prefix("mem:")
            .and_then(|name| self.0.get(name))
            .ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(&bytes[(offset.0 as usize).min(bytes.len())..]))
    }
}

pub fn shelf(files: &[(&str, Vec<u8>)]) -> Shelf {
    Shelf(
        files
            .iter()
            .map(|(name, bytes)| ((*name).to_owned(), bytes.clone()))
            .collect(),
    )
}

/// An order for everything on the shelf, in the order of names.
pub fn order(number: u8, shelf: &Shelf) -> WriteOrder {
    WriteOrder {
        checkpoint: CheckpointId::from_parts(1_763_000_000_000, &[number; 10]),
        group: GroupId::from_parts(1_763_000_000_000, &[number; 10]),
        group_index: 0,
        group_size: 1,
        run: format!("run-{number}").parse().unwrap(),
        service: "payments/api".parse().unwrap(),
        version: "1.2.3".parse().unwrap(),
        parent: None,
        copy: CopyNo(1),
        part: 0,
        parts: 1,
        content: sha(&[number]),
        submitted_at: "2026-11-22T15:00:00Z".parse().unwrap(),
        artifacts: shelf
            .0
            .iter()
            .enumerate()
            .map(|(index, (name, bytes))| OrderedArtifact {
                name: name.parse().unwrap(),
                source: "file:///srv/artifacts/x".parse().unwrap(),
                size: Bytes(bytes.len() as u64),
                sha256: sha(bytes),
                range: ArtifactRange {
                    artifact: index as u32,
                    offset: Bytes::ZERO,
                    length: Bytes(bytes.len() as u64),
                },
                fetch: format!("mem:{name}"),
            })
            .collect(),
    }
}

/// What reading an order back must give.
pub fn expected(order: &WriteOrder) -> Sha256 {
    let text = model::work::part_text(
        order
            .artifacts
            .iter()
            .map(|a| (&a.name, a.sha256, a.size, a.range)),
    );
    sha(text.as_bytes())
}

pub fn work(number: u8) -> WorkKey {
    format!("run-{number}/execute/p0/1/0").parse().unwrap()
}

pub fn now() -> jiff::Timestamp {
    "2026-11-22T16:00:00Z".parse().unwrap()
}

pub struct Keys {
    pub identity: String,
    pub sealer: Sealer,
    pub opener: Opener,
}

pub fn keys() -> Keys {
    let key = generate_identity();
    Keys {
        sealer: Sealer::new([key.recipient.as_str()]).unwrap(),
        opener: Opener::parse(&key.identity).unwrap(),
        identity: key.identity,
    }
}

pub fn label(keys: &Keys) -> Label {
    Label {
        uuid: VolumeUuid::from_parts(1_763_000_000_000, &[9; 10]),
        barcode: "TM0001L9".parse().unwrap(),
        pool: "default".parse().unwrap(),
        library: "lib0".parse().unwrap(),
        created: "2026-11-22T14:00:00Z".parse().unwrap(),
        recipients: keys.sealer.recipients(),
    }
}

pub fn expect(keys: &Keys, fence: u64, position: VolumePosition) -> Expected {
    let label = label(keys);
    Expected {
        barcode: label.barcode,
        uuid: label.uuid,
        fence: Fence(fence),
        position,
    }
}

/// A labelled tape open for writing.
pub fn open_on(
    mut tape: MemoryTape,
    keys: &Keys,
    options: WriterOptions,
) -> VolumeWriter<MemoryTape> {
    let position = write_label(&mut tape, &label(keys)).unwrap();
    VolumeWriter::append(tape, &expect(keys, 1, position), options)
        .unwrap()
        .0
}

pub fn open(keys: &Keys) -> VolumeWriter<MemoryTape> {
    open_on(MemoryTape::new(), keys, WriterOptions::default())
}

/// Cuts small, so that a test sees every edge.
pub fn small() -> StreamOptions {
    StreamOptions {
        part_limit: Bytes::kib(64),
        bundle_limit: Bytes::kib(32),
        bundle_below: Bytes::kib(8),
    }
}

pub fn small_segments() -> WriterOptions {
    WriterOptions {
        segment_limit: Bytes::kib(1100),
    }
}

/// Keeps what it is given.
#[derive(Debug, Default)]
pub struct Basket {
    pub files: BTreeMap<String, Vec<u8>>,
    open: Option<(String, Vec<u8>)>,
}

impl stream::Sink for Basket {
    fn begin(&mut self, artifact: &SealedArtifact) -> io::Result<()> {
        self.open = Some((artifact.name.to_string(), Vec::new()));
        Ok(())
    }
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.open.as_mut().unwrap().1.extend_from_slice(bytes);
        Ok(())
    }
    fn end(&mut self) -> io::Result<()> {
        let (name, bytes) = self.open.take().unwrap();
        self.files.insert(name, bytes);
        Ok(())
    }
    fn abort(&mut self) {
        self.open = None;
    }
}
