//! Measures the data path without a drive: `cargo run --release -p stream --example throughput`.
//!
//! Writes and reads back 847 checkpoints of 1 MiB of incompressible bytes on a tape in memory,
//! then writes one artifact of 4 GiB to a tape that forgets, and prints the peak of resident
//! memory that this took.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::io::{self, Read};
use std::time::Instant;

use model::work::{OrderedArtifact, WriteOrder};
use model::{
    ArtifactRange, Bytes, CheckpointId, CopyNo, Fence, GroupId, Sha256, VolumeUuid, WorkKey,
};
use sha2::Digest;
use stream::{Flow, NullSink, Opener, ReadOptions, Sealer, Source, StreamOptions};
use stream::{generate_identity, read_placement, write_batch};
use volume::{
    DeviceError, Expected, Label, MemoryTape, ReadOutcome, RecordDevice, Spaced, VolumeWriter,
    WriteOutcome, WriterOptions, write_label,
};

const COUNT: u32 = 847;
const SIZE: usize = 1 << 20;
const LARGE: u64 = 4 << 30;

/// The same noise again and again, as long as is asked for.
struct Noise(Vec<u8>);

impl Source for Noise {
    fn open(&self, _: &str, _: Bytes, length: Bytes) -> io::Result<Box<dyn Read + Send + '_>> {
        let mut left = length.0;
        let mut at = 0;
        Ok(Box::new(FromFn(move |out: &mut [u8]| {
            let most = usize::try_from(left).unwrap_or(usize::MAX);
            let take = out.len().min(most).min(self.0.len() - at);
            out[..take].copy_from_slice(&self.0[at..at + take]);
            at = (at + take) % self.0.len();
            left -= take as u64;
            take
        })))
    }
}

struct FromFn<F>(F);

impl<F: FnMut(&mut [u8]) -> usize> Read for FromFn<F> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        Ok((self.0)(out))
    }
}

/// Keeps the label and forgets everything behind it.
struct Forgetful {
    label: MemoryTape,
    end: u64,
}

impl RecordDevice for Forgetful {
    fn read_record(&mut self, buf: &mut [u8]) -> Result<ReadOutcome, DeviceError> {
        self.label.read_record(buf)
    }
    fn write_record(&mut self, _: &[u8]) -> Result<WriteOutcome, DeviceError> {
        self.end += 1;
        Ok(WriteOutcome::default())
    }
    fn write_filemark(&mut self, _: bool) -> Result<WriteOutcome, DeviceError> {
        self.end += 1;
        Ok(WriteOutcome::default())
    }
    fn synchronize(&mut self) -> Result<WriteOutcome, DeviceError> {
        Ok(WriteOutcome::default())
    }
    fn position(&mut self) -> Result<model::RecordNo, DeviceError> {
        let at = self.label.position()?;
        Ok(model::RecordNo(at.0 + self.end))
    }
    fn locate(&mut self, to: model::RecordNo) -> Result<(), DeviceError> {
        self.label.locate(to)
    }
    fn space_to_end_of_data(&mut self) -> Result<(), DeviceError> {
        self.label.space_to_end_of_data()
    }
    fn space_filemarks(&mut self, count: i32) -> Result<Spaced, DeviceError> {
        self.label.space_filemarks(count)
    }
    fn rewind(&mut self) -> Result<(), DeviceError> {
        self.label.rewind()
    }
}

fn order(noise: &Noise, number: u32, size: u64) -> Result<WriteOrder, Box<dyn Error>> {
    let mut hash = sha2::Sha256::new();
    let mut reader = noise.open("", Bytes::ZERO, Bytes(size))?;
    io::copy(&mut reader, &mut hash)?;
    let mut random = [0; 10];
    random[..4].copy_from_slice(&number.to_be_bytes());
    Ok(WriteOrder {
        checkpoint: CheckpointId::from_parts(1, &random),
        group: GroupId::from_parts(1, &random),
        group_index: 0,
        group_size: 1,
        run: format!("run-{number}").parse()?,
        service: "bench".parse()?,
        version: "1".parse()?,
        parent: None,
        copy: CopyNo(1),
        part: 0,
        parts: 1,
        content: Sha256::EMPTY,
        submitted_at: jiff::Timestamp::UNIX_EPOCH,
        artifacts: vec![OrderedArtifact {
            name: "noise".parse()?,
            source: "file:///noise".parse()?,
            size: Bytes(size),
            sha256: Sha256(hash.finalize().into()),
            range: ArtifactRange {
                artifact: 0,
                offset: Bytes::ZERO,
                length: Bytes(size),
            },
            fetch: String::new(),
        }],
    })
}

fn open<D: RecordDevice>(
    dev: D,
    label: &Label,
    position: model::VolumePosition,
) -> Result<VolumeWriter<D>, Box<dyn Error>> {
    let expected = Expected {
        barcode: label.barcode.clone(),
        uuid: label.uuid,
        fence: Fence(1),
        position,
    };
    Ok(VolumeWriter::append(dev, &expected, WriterOptions::default())?.0)
}

/// Writes and returns the placements.
fn write<D: RecordDevice>(
    writer: &mut VolumeWriter<D>,
    orders: &[(WorkKey, WriteOrder)],
    noise: &Noise,
    sealer: &Sealer,
) -> Result<Vec<model::Placement>, Box<dyn Error>> {
    let mut placements = Vec::new();
    let mut failed = None;
    write_batch(
        writer,
        orders.iter().map(|(work, order)| (work, order)),
        noise,
        sealer,
        &StreamOptions::default(),
        &mut || jiff::Timestamp::UNIX_EPOCH,
        &mut |_, result| match result {
            Ok(written) => {
                placements.push(written.placement);
                Flow::Continue
            }
            Err(error) => {
                failed = Some(error);
                Flow::Stop
            }
        },
    );
    writer.sync()?;
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(placements),
    }
}

fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    line.unwrap_or("VmHWM unknown").replace('\t', " ")
}

/// Processor time of all threads so far, in seconds: what counts on a machine that others use.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let behind_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = behind_name.split_whitespace().skip(11).take(2);
    ticks.filter_map(|t| t.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut state = 1_u64;
    let noise = Noise(
        (0..SIZE)
            .map(|_| {
                // xorshift64*: does not compress.
                state ^= state >> 12;
                state ^= state << 25;
                state ^= state >> 27;
                (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 56) as u8
            })
            .collect(),
    );
    let key = generate_identity();
    let sealer = Sealer::new([key.recipient.as_str()])?;
    let opener = Opener::parse(&key.identity)?;
    let label = Label {
        uuid: VolumeUuid::from_parts(1, &[1; 10]),
        barcode: "TM0001L9".parse()?,
        pool: "default".parse()?,
        library: "lib0".parse()?,
        created: jiff::Timestamp::UNIX_EPOCH,
        recipients: sealer.recipients(),
    };
    let mut tape = MemoryTape::new();
    let position = write_label(&mut tape, &label)?;

    let large = order(&noise, 0, LARGE)?;
    let forgetful = Forgetful {
        label: tape.clone(),
        end: 0,
    };
    let mut writer = open(forgetful, &label, position.clone())?;
    let (begin, busy) = (Instant::now(), cpu());
    write(&mut writer, &[("w/0".parse()?, large)], &noise, &sealer)?;
    let seconds = begin.elapsed().as_secs_f64();
    let rate = LARGE as f64 / seconds / 1e6;
    println!(
        "one artifact of 4 GiB: written in {seconds:.2} s, {rate:.0} MB/s, {:.2} s of processor; {}",
        cpu() - busy,
        peak()
    );

    let mut orders = Vec::new();
    for number in 1..=COUNT {
        orders.push((
            format!("w/{number}").parse()?,
            order(&noise, number, SIZE as u64)?,
        ));
    }
    let mut writer = open(tape, &label, position)?;
    let (begin, busy) = (Instant::now(), cpu());
    let placements = write(&mut writer, &orders, &noise, &sealer)?;
    let (written, written_cpu) = (begin.elapsed().as_secs_f64(), cpu() - busy);
    let mut tape = writer.into_device();
    let (begin, busy) = (Instant::now(), cpu());
    for placement in &placements {
        read_placement(
            placement,
            &mut tape,
            &opener,
            &mut NullSink,
            &ReadOptions::default(),
        )?;
    }
    let read = begin.elapsed().as_secs_f64();
    println!(
        "{COUNT} checkpoints of 1 MiB: written in {written:.2} s ({written_cpu:.2} s of processor), \
         read back in {read:.2} s ({:.2} s)",
        cpu() - busy
    );
    Ok(())
}
