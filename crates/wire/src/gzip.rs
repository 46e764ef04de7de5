//! gzip (RFC 1952) with a limit on what comes out.

use std::io::Read as _;

use flate2::Compression;
use flate2::bufread::{GzDecoder, GzEncoder};

/// Why nothing was unpacked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GunzipError {
    /// More would have come out than may.
    #[error("expected at most {0} bytes once unpacked, found more")]
    TooLarge(usize),
    /// It is no gzip, or damaged.
    #[error("expected gzip: {0}")]
    Broken(String),
}

/// Packs, for speed: JSON of a few megabytes takes tens of milliseconds and shrinks to a
/// tenth.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(bytes.len() / 8);
    GzEncoder::new(bytes, Compression::fast())
        .read_to_end(&mut packed)
        .expect("reading and writing memory does not fail");
    packed
}

/// Unpacks at most `most` bytes. A small message that unpacks to gigabytes costs `most`
/// bytes of memory and no more.
///
/// # Errors
/// [`GunzipError`].
pub fn gunzip(bytes: &[u8], most: usize) -> Result<Vec<u8>, GunzipError> {
    let mut plain = Vec::new();
    GzDecoder::new(bytes)
        .take(most as u64 + 1)
        .read_to_end(&mut plain)
        .map_err(|error| GunzipError::Broken(error.to_string()))?;
    if plain.len() > most {
        return Err(GunzipError::TooLarge(most));
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_packed_comes_out(bytes in proptest::collection::vec(any::<u8>(), 0..10_000)) {
            prop_assert_eq!(gunzip(&gzip(&bytes), 10_000).unwrap(), bytes);
        }

        #[test]
        fn noise_is_refused_not_believed(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(gunzip(&bytes, 1000).is_err());
        }
    }

    #[test]
    fn a_bomb_is_stopped_at_the_limit() {
        let bomb = gzip(&vec![0; 64 << 20]);
        assert!(bomb.len() < 512 << 10, "{}", bomb.len());
        assert_eq!(gunzip(&bomb, 1 << 20), Err(GunzipError::TooLarge(1 << 20)));
        assert_eq!(gunzip(&gzip(&[7; 100]), 100).unwrap(), [7; 100]);
    }
}
