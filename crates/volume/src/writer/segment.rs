//! Putting records together: bytes in, full records and their checksums out.

use jiff::Timestamp;
use model::{Bytes, RecordNo, SegmentExtent, SegmentNo, Sha256};
use sha2::Digest;

use super::VolumeWriter;
use crate::device::RecordDevice;
use crate::error::VolumeError;
use crate::{RECORD_BYTES, tar};

/// A segment being written: what is known of its records so far.
#[derive(Debug)]
pub(super) struct OpenSegment {
    pub(super) no: SegmentNo,
    first: RecordNo,
    /// Bytes accepted, those in the buffer included.
    pub(super) bytes: u64,
    records: u64,
    pub(super) crc32c: Vec<u32>,
    sha256: sha2::Sha256,
}

impl OpenSegment {
    pub(super) fn new(no: SegmentNo, first: RecordNo) -> Self {
        Self {
            no,
            first,
            bytes: 0,
            records: 0,
            crc32c: Vec::new(),
            sha256: sha2::Sha256::new(),
        }
    }

    /// Takes bytes, and writes every record that becomes full.
    pub(super) fn push<D: RecordDevice>(
        &mut self,
        volume: &mut VolumeWriter<D>,
        mut bytes: &[u8],
    ) -> Result<(), VolumeError> {
        self.bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            let take = bytes.len().min(RECORD_BYTES - volume.buffer.len());
            volume.buffer.extend_from_slice(&bytes[..take]);
            bytes = &bytes[take..];
            if volume.buffer.len() == RECORD_BYTES {
                self.write_buffer(volume)?;
            }
        }
        Ok(())
    }

    pub(super) fn pad<D: RecordDevice>(
        &mut self,
        volume: &mut VolumeWriter<D>,
        zeros: usize,
    ) -> Result<(), VolumeError> {
        const ZEROS: [u8; tar::END] = [0; tar::END];
        self.push(volume, &ZEROS[..zeros])
    }

    fn write_buffer<D: RecordDevice>(
        &mut self,
        volume: &mut VolumeWriter<D>,
    ) -> Result<(), VolumeError> {
        self.sha256.update(&volume.buffer);
        self.crc32c.push(crc32c::crc32c(&volume.buffer));
        self.records += 1;
        let outcome = volume.dev.write_record(&volume.buffer)?;
        volume.count(outcome, volume.buffer.len());
        volume.buffer.clear();
        Ok(())
    }

    /// Ends the archive, writes the last record and a buffered filemark.
    pub(super) fn close<D: RecordDevice>(
        &mut self,
        volume: &mut VolumeWriter<D>,
    ) -> Result<SegmentExtent, VolumeError> {
        self.pad(volume, tar::END)?;
        if !volume.buffer.is_empty() {
            self.write_buffer(volume)?;
        }
        let outcome = volume.dev.write_filemark(false)?;
        volume.count(outcome, 0);
        Ok(SegmentExtent {
            no: self.no,
            first: self.first,
            records: self.records,
            bytes: Bytes(self.bytes),
            sha256: Sha256(self.sha256.finalize_reset().into()),
        })
    }
}

/// Writes plain files as a segment of their own.
pub(super) fn write_files<D: RecordDevice>(
    volume: &mut VolumeWriter<D>,
    open: &mut OpenSegment,
    files: &[(&str, &[u8])],
    mtime: Timestamp,
) -> Result<SegmentExtent, VolumeError> {
    for (name, content) in files {
        let size = content.len() as u64;
        open.push(volume, &tar::header(name, size, mtime))?;
        open.push(volume, content)?;
        open.pad(volume, tar::padding(size))?;
    }
    open.close(volume)
}
