//! Checksums that S3 keeps with an object: which were asked for, computed and compared.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256};
use s3s::dto::ChecksumType;
use s3s::{S3Result, s3_error};
use serde::{Deserialize, Serialize};

/// The algorithms, under the names that headers end with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

impl Algorithm {
    const ALL: [Self; 5] = [
        Self::Crc32,
        Self::Crc32c,
        Self::Crc64Nvme,
        Self::Sha1,
        Self::Sha256,
    ];

    /// As requests name it: `SHA256`.
    pub(crate) fn parse(name: &str) -> S3Result<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| {
                s3_error!(
                    InvalidArgument,
                    "expected CRC32, CRC32C, CRC64NVME, SHA1 or SHA256, found {name}"
                )
            })
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    /// What a multipart upload has unless it says (user guide, *Checking object integrity*):
    /// CRC64NVME is always of the whole object, a digest never is.
    pub(crate) fn is_whole(self, asked: Option<&str>) -> S3Result<bool> {
        let asked = asked.map(|kind| kind == ChecksumType::FULL_OBJECT);
        match (self, asked) {
            (Self::Crc64Nvme, Some(false)) | (Self::Sha1 | Self::Sha256, Some(true)) => {
                Err(s3_error!(
                    InvalidRequest,
                    "{} cannot be of that checksum type",
                    self.name()
                ))
            }
            (Self::Crc64Nvme, None) => Ok(true),
            (_, asked) => Ok(asked.unwrap_or(false)),
        }
    }

    /// Of these bytes.
    pub(crate) fn of(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Crc32 => Crc32::checksum(bytes).to_vec(),
            Self::Crc32c => Crc32c::checksum(bytes).to_vec(),
            Self::Crc64Nvme => Crc64Nvme::checksum(bytes).to_vec(),
            Self::Sha1 => Sha1::checksum(bytes).to_vec(),
            Self::Sha256 => Sha256::checksum(bytes).to_vec(),
        }
    }
}

/// Checksums in Base64, by algorithm. Also what a client says they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sums {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) crc32: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) crc32c: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) crc64nvme: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sha1: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sha256: Option<String>,
    /// Not of the object's bytes but of its parts' checksums.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) composite: bool,
}

/// Takes the checksums out of a request or a part, whose fields have these names.
macro_rules! sums {
    ($input:expr) => {
        $crate::sums::Sums {
            crc32: $input.checksum_crc32.clone(),
            crc32c: $input.checksum_crc32c.clone(),
            crc64nvme: $input.checksum_crc64nvme.clone(),
            sha1: $input.checksum_sha1.clone(),
            sha256: $input.checksum_sha256.clone(),
            composite: false,
        }
    };
}
/// Puts checksums into an answer, whose fields have these names.
macro_rules! answer_sums {
    ($output:expr, $sums:expr) => {{
        let sums = $sums;
        $output.checksum_crc32 = sums.crc32;
        $output.checksum_crc32c = sums.crc32c;
        $output.checksum_crc64nvme = sums.crc64nvme;
        $output.checksum_sha1 = sums.sha1;
        $output.checksum_sha256 = sums.sha256;
    }};
}
pub(crate) use {answer_sums, sums};

impl Sums {
    pub(crate) fn get(&self, algorithm: Algorithm) -> Option<&String> {
        match algorithm {
            Algorithm::Crc32 => self.crc32.as_ref(),
            Algorithm::Crc32c => self.crc32c.as_ref(),
            Algorithm::Crc64Nvme => self.crc64nvme.as_ref(),
            Algorithm::Sha1 => self.sha1.as_ref(),
            Algorithm::Sha256 => self.sha256.as_ref(),
        }
    }

    pub(crate) fn set(&mut self, algorithm: Algorithm, value: String) {
        let field = match algorithm {
            Algorithm::Crc32 => &mut self.crc32,
            Algorithm::Crc32c => &mut self.crc32c,
            Algorithm::Crc64Nvme => &mut self.crc64nvme,
            Algorithm::Sha1 => &mut self.sha1,
            Algorithm::Sha256 => &mut self.sha256,
        };
        *field = Some(value);
    }

    pub(crate) fn algorithms(&self) -> impl Iterator<Item = Algorithm> + '_ {
        Algorithm::ALL
            .into_iter()
            .filter(|algorithm| self.get(*algorithm).is_some())
    }

    pub(crate) fn kind(&self) -> Option<ChecksumType> {
        self.algorithms().next().map(|_| {
            ChecksumType::from_static(if self.composite {
                ChecksumType::COMPOSITE
            } else {
                ChecksumType::FULL_OBJECT
            })
        })
    }

    /// Adds what the client said after the body.
    pub(crate) fn add_trailers(&mut self, trailers: &HeaderMap) {
        for algorithm in Algorithm::ALL {
            let name = format!("x-amz-checksum-{}", algorithm.name().to_ascii_lowercase());
            if let Some(value) = trailers.get(name).and_then(|value| value.to_str().ok()) {
                self.set(algorithm, value.to_owned());
            }
        }
    }

    /// Every checksum that was declared is what was found.
    pub(crate) fn check(&self, declared: &Self) -> S3Result<()> {
        for algorithm in declared.algorithms() {
            if self.get(algorithm) != declared.get(algorithm) {
                return Err(s3_error!(
                    BadDigest,
                    "The {} you specified did not match the calculated checksum",
                    algorithm.name()
                ));
            }
        }
        Ok(())
    }
}

/// What a request wants computed: what it names, or what S3 keeps anyway (since the end of
/// 2024 a CRC64NVME, where the client names none).
pub(crate) fn wanted(
    declared: &Sums,
    named: Option<&str>,
    headers: &HeaderMap,
) -> S3Result<Vec<Algorithm>> {
    let mut wanted: Vec<_> = declared.algorithms().collect();
    if let Some(name) = named {
        wanted.push(Algorithm::parse(name)?);
    }
    let trailers = headers
        .get_all("x-amz-trailer")
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|names| names.split(','))
        .filter_map(|name| name.trim().strip_prefix("x-amz-checksum-"));
    for name in trailers {
        wanted.push(Algorithm::parse(name)?);
    }
    wanted.sort_unstable();
    wanted.dedup();
    if wanted.is_empty() {
        wanted.push(Algorithm::Crc64Nvme);
    }
    Ok(wanted)
}

/// Computes the entity tag and checksums while bytes go by.
pub(crate) struct Hasher {
    md5: Md5,
    sums: ChecksumHasher,
    pub(crate) bytes: u64,
}

/// What a [`Hasher`] found.
pub(crate) struct Hashed {
    pub(crate) md5: [u8; 16],
    pub(crate) sums: Sums,
    pub(crate) bytes: u64,
}

impl Hasher {
    pub(crate) fn new(wanted: &[Algorithm]) -> Self {
        let mut sums = ChecksumHasher::default();
        for algorithm in wanted {
            match algorithm {
                Algorithm::Crc32 => sums.crc32 = Some(Crc32::new()),
                Algorithm::Crc32c => sums.crc32c = Some(Crc32c::new()),
                Algorithm::Crc64Nvme => sums.crc64nvme = Some(Crc64Nvme::new()),
                Algorithm::Sha1 => sums.sha1 = Some(Sha1::new()),
                Algorithm::Sha256 => sums.sha256 = Some(Sha256::new()),
            }
        }
        Self {
            md5: Md5::new(),
            sums,
            bytes: 0,
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        self.sums.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    pub(crate) fn finish(self) -> Hashed {
        let found = self.sums.finalize();
        Hashed {
            md5: self.md5.finalize(),
            sums: sums!(found),
            bytes: self.bytes,
        }
    }
}

/// Of parts' checksums, one after the other: `Base64(H(a ‖ b ‖ …))-3`.
pub(crate) fn composite(algorithm: Algorithm, parts: &[String]) -> S3Result<String> {
    let mut all = Vec::new();
    for part in parts {
        let bytes = STANDARD
            .decode(part)
            .map_err(|_| s3_error!(InvalidPart, "a part's checksum is not Base64"))?;
        all.extend(bytes);
    }
    Ok(format!(
        "{}-{}",
        STANDARD.encode(algorithm.of(&all)),
        parts.len()
    ))
}

/// The entity tag of an upload in parts.
pub(crate) fn parts_tag(md5s: &[[u8; 16]]) -> String {
    format!(
        "{}-{}",
        hex::encode(Md5::checksum(md5s.concat().as_slice())),
        md5s.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers: RFC 1321, FIPS 180-2, and the CRC catalogue's check values of
    /// `123456789`.
    #[test]
    fn checksums_are_the_known_ones() {
        let mut hasher = Hasher::new(&Algorithm::ALL);
        hasher.update(b"1234");
        hasher.update(b"56789");
        let found = hasher.finish();
        assert_eq!(found.bytes, 9);
        assert_eq!(hex::encode(found.md5), "25f9e794323b453885f5181f1b624d0b");
        let hex_of = |algorithm| {
            let text = found.sums.get(algorithm).unwrap();
            hex::encode(STANDARD.decode(text).unwrap())
        };
        assert_eq!(hex_of(Algorithm::Crc32), "cbf43926");
        assert_eq!(hex_of(Algorithm::Crc32c), "e3069283");
        assert_eq!(hex_of(Algorithm::Crc64Nvme), "ae8b14860a799888");
        assert_eq!(
            hex_of(Algorithm::Sha256),
            "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"
        );
        assert_eq!(found.sums.algorithms().count(), 5);
    }

    #[test]
    fn what_nobody_names_is_a_crc64nvme() {
        let none = wanted(&Sums::default(), None, &HeaderMap::new()).unwrap();
        assert_eq!(none, [Algorithm::Crc64Nvme]);
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-trailer", "x-amz-checksum-crc32".parse().unwrap());
        let both = wanted(&Sums::default(), Some("SHA256"), &headers).unwrap();
        assert_eq!(both, [Algorithm::Crc32, Algorithm::Sha256]);
        assert!(wanted(&Sums::default(), Some("SHA512"), &headers).is_err());
    }
}
