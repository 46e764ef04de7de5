//! Big-endian fields at fixed offsets, read without ever indexing out of bounds.

/// The `n` (1 to 8) bytes at `at` as a big-endian number, or `None` where the bytes end.
pub(crate) fn be(bytes: &[u8], at: usize, n: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(n)?)?;
    Some(
        field
            .iter()
            .fold(0, |sum, byte| (sum << 8) | u64::from(*byte)),
    )
}

/// One byte.
pub(crate) fn u8_at(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

/// Two bytes.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    be(bytes, at, 2).and_then(|v| u16::try_from(v).ok())
}

/// Four bytes.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    be(bytes, at, 4).and_then(|v| u32::try_from(v).ok())
}

/// An ASCII field as SCSI pads it: blanks or NULs on either side are dropped, bytes outside
/// printable ASCII become `?` so that a device cannot smuggle control characters into a log.
pub(crate) fn text(bytes: &[u8]) -> String {
    let text: String = bytes
        .iter()
        .map(|&b| match b {
            0 => ' ',
            0x20..=0x7e => char::from(b),
            _ => '?',
        })
        .collect();
    text.trim().to_owned()
}

/// The part of `bytes` from `at` that both the announced length and the reply really hold.
pub(crate) fn clamp(bytes: &[u8], at: usize, announced: usize) -> &[u8] {
    let start = at.min(bytes.len());
    let end = at.saturating_add(announced).min(bytes.len());
    bytes.get(start..end).unwrap_or(&[])
}
