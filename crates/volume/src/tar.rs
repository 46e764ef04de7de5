//! Tar headers (POSIX.1-2001 pax interchange format, ustar headers where they suffice).
//!
//! Only what the format writes: plain files, with a pax `path` record where a name is longer
//! than 100 bytes or not ASCII.

use jiff::Timestamp;

/// A tar block: headers are one, contents are padded to a multiple.
pub const BLOCK: usize = 512;

/// Two zero blocks: the end of an archive.
pub const END: usize = 2 * BLOCK;

/// Zero bytes after `size` bytes of content.
pub const fn padding(size: u64) -> usize {
    ((BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64) as usize
}

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The name field, as far as it is ASCII.
    pub name: String,
    /// The size of the content in bytes.
    pub size: u64,
    /// The type: `0` a file, `x` a pax extended header.
    pub kind: u8,
}

/// The header of a plain file, mode 0644, owner 0, as a ustar block.
///
/// `name` must be ASCII and at most 100 bytes, `size` below 8 GiB: longer names and non-ASCII
/// ones go through [`append_entry`]. Times outside 1970 to 2242 become the nearest.
pub fn header(name: &str, size: u64, mtime: Timestamp) -> [u8; BLOCK] {
    block(name.as_bytes(), size, mtime, b'0')
}

/// Appends the header of a plain file with any name to `out`, with a pax extended header in
/// front where the name needs one.
pub fn append_entry(out: &mut Vec<u8>, name: &str, size: u64, mtime: Timestamp) {
    if name.is_ascii() && name.len() <= 100 {
        out.extend_from_slice(&header(name, size, mtime));
        return;
    }
    let record = pax_record("path", name);
    out.extend_from_slice(&block(b"PaxHeader", record.len() as u64, mtime, b'x'));
    out.extend_from_slice(record.as_bytes());
    out.resize(out.len() + padding(record.len() as u64), 0);
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii() { c } else { '_' })
        .collect();
    // Readers without pax see the end of the name: the part that tells files apart.
    let cut = plain.len().saturating_sub(100);
    out.extend_from_slice(&block(&plain.as_bytes()[cut..], size, mtime, b'0'));
}

/// Reads a header; none where the block is not one (wrong checksum, odd numbers).
pub fn parse(block: &[u8]) -> Option<Header> {
    let block = block.get(..BLOCK)?;
    let stated = octal(&block[148..156])?;
    let sum: u64 = block
        .iter()
        .enumerate()
        .map(|(at, byte)| {
            u64::from(if (148..156).contains(&at) {
                b' '
            } else {
                *byte
            })
        })
        .sum();
    if sum != stated || &block[257..262] != b"ustar" {
        return None;
    }
    let name = &block[..100];
    let end = name.iter().position(|b| *b == 0).unwrap_or(100);
    Some(Header {
        name: String::from_utf8_lossy(&name[..end]).into_owned(),
        size: octal(&block[124..136])?,
        kind: block[156],
    })
}

/// `len key=value\n`, where `len` counts itself.
fn pax_record(key: &str, value: &str) -> String {
    let rest = key.len() + value.len() + 3;
    let mut len = rest + 1;
    while rest + len.to_string().len() != len {
        len += 1;
    }
    format!("{len} {key}={value}\n")
}

fn block(name: &[u8], size: u64, mtime: Timestamp, kind: u8) -> [u8; BLOCK] {
    debug_assert!(name.len() <= 100 && size < 1 << 33);
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name);
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    let mtime = mtime.as_second().clamp(0, (1 << 33) - 1);
    put(136, format!("{mtime:011o}\0").as_bytes());
    put(148, b"        ");
    put(156, &[kind]);
    put(257, b"ustar\x0000");
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?;
    let text = text.trim_matches(['\0', ' ']);
    u64::from_str_radix(text, 8).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_pax_record_counts_itself_also_where_the_count_grows_a_digit() {
        for len in 0..1100 {
            let record = pax_record("path", &"x".repeat(len));
            let (count, _) = record.split_once(' ').unwrap();
            assert_eq!(count.parse::<usize>().unwrap(), record.len());
        }
    }

    #[test]
    fn a_damaged_header_is_no_header() {
        let good = header("a", 7, Timestamp::UNIX_EPOCH);
        assert_eq!(parse(&good).unwrap().size, 7);
        let mut bad = good;
        bad[0] ^= 1;
        assert_eq!(parse(&bad), None);
        assert_eq!(parse(&[0; 512]), None);
        assert_eq!(parse(&good[..511]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic_the_parser(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn every_size_survives(size in 0..(1u64 << 33)) {
            let block = header("name", size, Timestamp::UNIX_EPOCH);
            prop_assert_eq!(parse(&block).unwrap().size, size);
            prop_assert_eq!((size + padding(size) as u64) % 512, 0);
        }
    }
}
