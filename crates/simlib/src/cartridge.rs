//! A cartridge: a file of framed objects, its memory, and an index in memory.
//!
//! # Files of a cartridge
//! - `BARCODE.tape`: 4096 bytes of header (a line of JSON, then zeros), then one frame an object
//!   (see `frame`). Only appended to, but for a write in the middle of the tape, which first cuts
//!   the file there, as a write on tape makes all that follows unreachable.
//! - `BARCODE.index`: the runs of the index up to some offset. Only a shortcut: removed before
//!   the tape file is cut, and checked against the frame it ends with.
//! - `BARCODE.memory`: the MAM.
//!
//! # After a kill
//! Frames are appended in one write a flush, so a kill leaves a prefix. Opening hops from frame
//! header to frame header behind the index and cuts the file behind the last whole frame.

mod dump;
mod frame;
mod index;
mod memory;

pub use dump::{DumpedFile, dump_files};
pub(crate) use frame::{HEADER, Header, Kind};
pub(crate) use index::{Index, Object, Place};
pub(crate) use memory::Memory;

use crate::error::SimError;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes before the first frame.
const FILE_HEADER: u64 = 4096;
/// Frames behind the saved index beyond which it is saved again.
const INDEX_LAG: u64 = 16 * 1024;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Label {
    format: String,
    barcode: String,
    capacity_bytes: u64,
}

/// An open cartridge. One owner at a time: the drive it is loaded in, or an operator's hand.
#[derive(Debug)]
pub(crate) struct Cartridge {
    pub(crate) barcode: String,
    /// Bytes of record data the tape holds.
    pub(crate) capacity: u64,
    pub(crate) index: Index,
    pub(crate) memory: Memory,
    path: PathBuf,
    file: File,
    index_saved_at: u64,
    fsync: bool,
}

/// Why a record could not be read from the medium.
#[derive(Debug)]
pub(crate) enum ReadFault {
    /// The bytes there are not what was written.
    Damaged,
    /// The host's file system failed.
    Io,
}

impl Cartridge {
    /// Makes a blank cartridge.
    pub(crate) fn create(dir: &Path, barcode: &str, capacity: u64) -> Result<(), SimError> {
        check_barcode(barcode)?;
        let path = tape_path(dir, barcode);
        let label = Label {
            format: "tapemark-cartridge-1".into(),
            barcode: barcode.into(),
            capacity_bytes: capacity,
        };
        let mut head = serde_json::to_vec(&label).expect("text and a number are JSON");
        head.push(b'\n');
        head.resize(FILE_HEADER as usize, 0);
        Memory::new(format!("SIM{barcode}")).save(&path.with_extension("memory"))?;
        std::fs::write(&path, &head).map_err(SimError::io("create cartridge", path))
    }

    /// Opens a cartridge and finds its end of data.
    pub(crate) fn open(dir: &Path, barcode: &str, fsync: bool) -> Result<Self, SimError> {
        Self::open_path(&tape_path(dir, barcode), true, fsync)
    }

    /// Opens the cartridge file at `path`, without changing it, for reading only.
    pub(crate) fn open_read_only(path: &Path) -> Result<Self, SimError> {
        Self::open_path(path, false, false)
    }

    fn open_path(path: &Path, writable: bool, fsync: bool) -> Result<Self, SimError> {
        let file = OpenOptions::new()
            .read(true)
            .write(writable)
            .open(path)
            .map_err(SimError::io("open cartridge", path))?;
        let mut head = vec![0; FILE_HEADER as usize];
        file.read_exact_at(&mut head, 0)
            .map_err(SimError::io("read cartridge", path))?;
        let line = head.split(|byte| *byte == b'\n').next().unwrap_or(&[]);
        let label: Label = serde_json::from_slice(line).map_err(|error| SimError::Format {
            path: path.to_owned(),
            expected: "a cartridge file",
            found: error.to_string(),
        })?;
        // The barcode is a sticker on the shell, not a property of the tape.
        let barcode = path
            .file_stem()
            .map_or(label.barcode, |stem| stem.to_string_lossy().into());
        let length = file
            .metadata()
            .map_err(SimError::io("read cartridge", path))?
            .len();
        let saved = load_index(&path.with_extension("index"), &file, length);
        let mut index = saved.unwrap_or_else(|| Index::new(FILE_HEADER));
        let index_saved_at = index.objects();
        hop(&file, length, &mut index).map_err(SimError::io("scan cartridge", path))?;
        if writable && index.end().offset < length {
            file.set_len(index.end().offset)
                .map_err(SimError::io("cut cartridge", path))?;
        }
        Ok(Self {
            barcode,
            capacity: label.capacity_bytes,
            index,
            memory: Memory::load(&path.with_extension("memory"))?,
            path: path.to_owned(),
            file,
            index_saved_at,
            fsync,
        })
    }

    pub(crate) fn save_memory(&self) -> Result<(), SimError> {
        self.memory.save(&self.path.with_extension("memory"))
    }

    /// Puts `image`, the frames of `objects` from object `start` on, onto the medium. Whatever
    /// was at `start` and behind is gone.
    ///
    /// On an error of the host's file system the tape ends at `start`.
    pub(crate) fn commit(
        &mut self,
        start: u64,
        image: &[u8],
        objects: impl Iterator<Item = (Kind, u32)>,
    ) -> Result<(), SimError> {
        // First the reference, then the content: a kill in between costs a reference number, the
        // other way round it would hide a change.
        if self.memory.content_changed() || self.memory.torn_end {
            self.memory.torn_end = false;
            self.save_memory()?;
        }
        if start < self.index.objects() {
            self.cut(start)?;
        }
        let offset = self.index.end().offset;
        if let Err(source) = self.file.write_all_at(image, offset) {
            // Leave a clean end; if even that fails, opening finds the last whole frame.
            let _ = self.file.set_len(offset);
            return Err(SimError::io("write cartridge", &self.path)(source));
        }
        let before = self.index.end().bytes;
        objects.for_each(|(kind, len)| self.index.push(kind, len, 1));
        debug_assert_eq!(self.index.end().offset, offset + image.len() as u64);
        self.memory.bytes_written += self.index.end().bytes - before;
        if self.fsync {
            self.file
                .sync_data()
                .map_err(SimError::io("sync cartridge", &self.path))?;
        }
        // In proportion to the index's size, so that saving it costs a constant share of writing.
        let lag = INDEX_LAG.max(self.index.runs().len() as u64 / 2);
        if self.index.objects().saturating_sub(self.index_saved_at) > lag {
            self.save_index()?;
        }
        Ok(())
    }

    /// Writes tape files, each a list of records, behind end of data, each followed by a
    /// filemark.
    pub(crate) fn record(&mut self, files: &[Vec<Vec<u8>>]) -> Result<(), SimError> {
        let mut image = Vec::new();
        let mut objects = Vec::new();
        let start = self.index.objects();
        let mut add = |kind: Kind, payload: &[u8]| {
            let object = start + objects.len() as u64;
            let (len, payload_crc) = (payload.len() as u32, crc32c::crc32c(payload));
            image.extend_from_slice(
                &Header {
                    kind,
                    len,
                    payload_crc,
                    object,
                }
                .encode(),
            );
            image.extend_from_slice(payload);
            objects.push((kind, len));
        };
        for file in files {
            file.iter().for_each(|record| add(Kind::Record, record));
            add(Kind::Filemark, &[]);
        }
        self.commit(start, &image, objects.into_iter())
    }

    /// Makes `object` the end of data.
    pub(crate) fn cut(&mut self, object: u64) -> Result<(), SimError> {
        let saved = self.path.with_extension("index");
        match std::fs::remove_file(&saved) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(SimError::io("remove index", saved)(error));
            }
            _ => self.index_saved_at = 0,
        }
        let offset = self.index.place(object).offset;
        self.file
            .set_len(offset)
            .map_err(SimError::io("cut cartridge", &self.path))?;
        self.index.truncate(object);
        Ok(())
    }

    /// Reads the front of a record into `buffer`, as much as fits, and checks the whole record.
    pub(crate) fn read(
        &self,
        number: u64,
        object: Object,
        buffer: &mut [u8],
    ) -> Result<(), ReadFault> {
        let mut head = [0; HEADER];
        let at = object.place.offset;
        self.file
            .read_exact_at(&mut head, at)
            .map_err(|_| ReadFault::Io)?;
        let header = Header::decode(&head).ok_or(ReadFault::Damaged)?;
        if header.object != number || header.len != object.len || header.kind != object.kind {
            return Err(ReadFault::Damaged);
        }
        let length = object.len as usize;
        let fits = length.min(buffer.len());
        let (front, _) = buffer.split_at_mut(fits);
        self.file
            .read_exact_at(front, at + HEADER as u64)
            .map_err(|_| ReadFault::Io)?;
        let mut crc = crc32c::crc32c(front);
        if fits < length {
            let mut rest = vec![0; length - fits];
            let from = at + HEADER as u64 + fits as u64;
            self.file
                .read_exact_at(&mut rest, from)
                .map_err(|_| ReadFault::Io)?;
            crc = crc32c::crc32c_append(crc, &rest);
        }
        if crc == header.payload_crc {
            Ok(())
        } else {
            Err(ReadFault::Damaged)
        }
    }

    /// Flips bits of a record on the medium. With `silent` the drive's own check code is made to
    /// fit, so that only the reader can notice. `false` where there is no such record.
    pub(crate) fn damage(&mut self, number: u64, silent: bool) -> Result<bool, SimError> {
        let Some(object) = self.index.get(number).filter(|o| o.kind == Kind::Record) else {
            return Ok(false);
        };
        let at = object.place.offset;
        let mut payload = vec![0; object.len as usize];
        let io = |what| SimError::io(what, &self.path);
        self.file
            .read_exact_at(&mut payload, at + HEADER as u64)
            .map_err(io("read cartridge"))?;
        let middle = payload.len() / 2;
        if let Some(byte) = payload.get_mut(middle) {
            *byte ^= 0x5a;
        }
        if silent {
            let header = Header {
                kind: Kind::Record,
                len: object.len,
                payload_crc: crc32c::crc32c(&payload),
                object: number,
            };
            self.file
                .write_all_at(&header.encode(), at)
                .map_err(io("write cartridge"))?;
        }
        self.file
            .write_all_at(&payload, at + HEADER as u64)
            .map_err(io("write cartridge"))?;
        Ok(true)
    }

    /// Saves the index, so that the next opening need not hop.
    pub(crate) fn save_index(&mut self) -> Result<(), SimError> {
        let runs = self.index.runs();
        let mut out = Vec::with_capacity(28 + runs.len() * 13);
        out.extend_from_slice(INDEX_MAGIC);
        out.extend_from_slice(&(runs.len() as u64).to_be_bytes());
        for (kind, len, count) in runs {
            out.push(kind as u8);
            out.extend_from_slice(&len.to_be_bytes());
            out.extend_from_slice(&count.to_be_bytes());
        }
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_be_bytes());
        crate::files::replace(&self.path.with_extension("index"), &out)?;
        self.index_saved_at = self.index.objects();
        Ok(())
    }
}

const INDEX_MAGIC: &[u8; 4] = b"TMI1";

/// Barcodes become file names here, so they are letters, digits, `-` and `_` only.
pub(crate) fn check_barcode(barcode: &str) -> Result<(), SimError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if (1..=32).contains(&barcode.len()) && barcode.bytes().all(plain) {
        return Ok(());
    }
    Err(SimError::Config(format!(
        "barcode {barcode:?}: 1 to 32 letters, digits, '-' and '_'"
    )))
}

/// Path of a cartridge's tape file.
pub(crate) fn tape_path(dir: &Path, barcode: &str) -> PathBuf {
    dir.join("cartridges").join(format!("{barcode}.tape"))
}

/// The saved index, where it is whole and ends with a frame that is there.
fn load_index(path: &Path, file: &File, length: u64) -> Option<Index> {
    let bytes = std::fs::read(path).ok()?;
    let (body, crc) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
    if body.get(..4)? != INDEX_MAGIC || crc32c::crc32c(body).to_be_bytes() != crc {
        return None;
    }
    let mut index = Index::new(FILE_HEADER);
    for run in body.get(12..)?.chunks_exact(13) {
        let kind = if run[0] == 1 {
            Kind::Record
        } else {
            Kind::Filemark
        };
        let len = u32::from_be_bytes(run[1..5].try_into().ok()?);
        let count = u64::from_be_bytes(run[5..13].try_into().ok()?);
        index.push(kind, len, count);
    }
    let last = index.objects().checked_sub(1)?;
    let object = index.get(last)?;
    let mut head = [0; HEADER];
    file.read_exact_at(&mut head, object.place.offset).ok()?;
    let header = Header::decode(&head)?;
    let fits = index.end().offset <= length
        && header.object == last
        && header.len == object.len
        && header.kind == object.kind;
    fits.then_some(index)
}

/// Adds the whole frames behind the index's end to it.
fn hop(file: &File, length: u64, index: &mut Index) -> std::io::Result<()> {
    let mut window = vec![0u8; 8192];
    let mut start = 0;
    let mut filled = 0;
    loop {
        let at = index.end().offset;
        if at + HEADER as u64 > length {
            return Ok(());
        }
        if at < start || at + HEADER as u64 > start + filled as u64 {
            start = at;
            let fits = usize::try_from(length - at)
                .unwrap_or(usize::MAX)
                .min(window.len());
            filled = fits;
            let Some(room) = window.get_mut(..fits) else {
                return Ok(());
            };
            file.read_exact_at(room, at)?;
        }
        let from = (at - start) as usize;
        let head = window.get(from..filled).and_then(Header::decode);
        let Some(header) = head.filter(|header| header.object == index.objects()) else {
            return Ok(());
        };
        if at + HEADER as u64 + u64::from(header.len) > length {
            return Ok(());
        }
        index.push(header.kind, header.len, 1);
    }
}
