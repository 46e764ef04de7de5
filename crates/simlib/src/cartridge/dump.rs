//! A cartridge's tape files as plain files, as `dd` would copy them one by one.

use super::{Cartridge, Kind};
use crate::error::SimError;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// One tape file: what lies between two filemarks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DumpedFile {
    /// Where it was put: `file00000`, `file00001` and so on.
    pub path: PathBuf,
    /// Object number of its first record.
    pub first_record: u64,
    /// Records it is made of.
    pub records: u64,
    /// Its bytes.
    pub bytes: u64,
    /// Records that could not be read; each stands in the file as that many zero bytes.
    pub damaged: u64,
}

/// Copies every tape file of the cartridge file `cartridge` into `out`, which is made if needed.
/// Reads only; what a drive still holds in its buffer is not on the medium and not in the copy.
/// An empty tape file (two filemarks in a row) becomes an empty file.
///
/// # Errors
/// [`SimError`] where `cartridge` is no cartridge file or `out` cannot be written.
pub fn dump_files(cartridge: &Path, out: &Path) -> Result<Vec<DumpedFile>, SimError> {
    let cartridge = Cartridge::open_read_only(cartridge)?;
    std::fs::create_dir_all(out).map_err(SimError::io("make directory", out))?;
    let mut dumped = Vec::new();
    let mut open: Option<(DumpedFile, BufWriter<File>)> = None;
    let mut buffer = Vec::new();
    for number in 0..cartridge.index.objects() {
        let Some(object) = cartridge.index.get(number) else {
            break;
        };
        let (file, writer) = match &mut open {
            Some(current) => (&mut current.0, &mut current.1),
            None => {
                let path = out.join(format!("file{:05}", dumped.len()));
                let handle = File::create(&path).map_err(SimError::io("create", &path))?;
                let fresh = DumpedFile {
                    path,
                    first_record: number,
                    records: 0,
                    bytes: 0,
                    damaged: 0,
                };
                let slot = open.insert((fresh, BufWriter::with_capacity(1 << 20, handle)));
                (&mut slot.0, &mut slot.1)
            }
        };
        match object.kind {
            Kind::Record => {
                buffer.clear();
                buffer.resize(object.len as usize, 0);
                if cartridge.read(number, object, &mut buffer).is_err() {
                    buffer.fill(0);
                    file.damaged += 1;
                }
                file.records += 1;
                file.bytes += u64::from(object.len);
                writer
                    .write_all(&buffer)
                    .map_err(SimError::io("write", &file.path))?;
            }
            Kind::Filemark => {
                if let Some((file, mut writer)) = open.take() {
                    writer.flush().map_err(SimError::io("write", &file.path))?;
                    dumped.push(file);
                }
            }
        }
    }
    if let Some((file, mut writer)) = open {
        writer.flush().map_err(SimError::io("write", &file.path))?;
        dumped.push(file);
    }
    Ok(dumped)
}
