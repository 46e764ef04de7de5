//! Artifacts: named byte strings of a release, and where they come from.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::units::shorten;
use crate::{Bytes, InvalidId, Sha256};

/// The longest artifact name in bytes: what ext4, XFS and S3 keys can hold with room
/// for a restore directory in front (PATH_MAX is 4,096).
pub const MAX_ARTIFACT_NAME_BYTES: usize = 1024;

/// A relative path with `/` between parts, safe to create below a restore directory:
/// no empty, `.` or `..` part, no control character, none that turns the direction of text,
/// no backslash, at most
/// [`MAX_ARTIFACT_NAME_BYTES`] bytes and 255 bytes a part.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ArtifactName(String);

impl ArtifactName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ArtifactName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ArtifactName {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let expected = if text.is_empty() || text.len() > MAX_ARTIFACT_NAME_BYTES {
            "1 to 1,024 bytes"
        } else if text.starts_with('/') {
            "a relative path"
        } else if text
            .chars()
            .any(|c| c.is_control() || turns_text(c) || c == '\\')
        {
            "no control character, none that turns the direction of text, and no backslash"
        } else if text.split('/').any(|part| matches!(part, "" | "." | "..")) {
            "no empty, `.` or `..` part"
        } else if text.split('/').any(|part| part.len() > 255) {
            "at most 255 bytes between slashes"
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(InvalidId {
            kind: "artifact name",
            expected,
            found: shorten(text),
        })
    }
}

/// The characters that turn the direction of text (Unicode UAX #9, explicit directional
/// formatting): with them a name is shown as another one.
const fn turns_text(c: char) -> bool {
    matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl<'de> Deserialize<'de> for ArtifactName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Where an artifact's bytes are: `s3://bucket/key?versionId=…` or `file:///absolute/path`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ArtifactSource {
    /// An object of a bucket, at one version.
    S3 {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
        /// The version; required, because a key alone can change under our hands.
        version: String,
    },
    /// A file on the machine of the control plane, under an allowed root.
    File {
        /// An absolute path.
        path: String,
    },
}

impl fmt::Display for ArtifactSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::S3 {
                bucket,
                key,
                version,
            } => {
                write!(f, "s3://{bucket}/{key}?versionId={version}")
            }
            Self::File { path } => write!(f, "file://{path}"),
        }
    }
}

impl FromStr for ArtifactSource {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = |expected| InvalidId {
            kind: "artifact source",
            expected,
            found: shorten(text),
        };
        if text.len() > 4096 || text.chars().any(char::is_control) {
            return Err(invalid("at most 4,096 bytes without control characters"));
        }
        if let Some(path) = text.strip_prefix("file://") {
            if !path.starts_with('/') || path.split('/').any(|part| part == "..") {
                return Err(invalid("file:///absolute/path without `..`"));
            }
            return Ok(Self::File {
                path: path.to_owned(),
            });
        }
        let Some(rest) = text.strip_prefix("s3://") else {
            return Err(invalid("s3://bucket/key?versionId=… or file:///path"));
        };
        let (bucket, rest) = rest.split_once('/').unwrap_or((rest, ""));
        let (key, version) = rest.rsplit_once("?versionId=").unwrap_or((rest, ""));
        if bucket.is_empty() || key.is_empty() || version.is_empty() {
            return Err(invalid("s3://bucket/key?versionId=… with all three parts"));
        }
        Ok(Self::S3 {
            bucket: bucket.into(),
            key: key.into(),
            version: version.into(),
        })
    }
}

impl Serialize for ArtifactSource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ArtifactSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// One named byte string of a release, as declared by the submitter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Its name, unique within the checkpoint.
    pub name: ArtifactName,
    /// Where its bytes are.
    pub source: ArtifactSource,
    /// Its size.
    pub size: Bytes,
    /// The digest of its bytes.
    pub sha256: Sha256,
}

impl Artifact {
    /// The text whose SHA-256 is a checkpoint's *content digest*: one line
    /// `<sha256> <size> <name>\n` an artifact, sorted by name. Two checkpoints with
    /// equal digests hold the same artifacts, wherever they came from.
    pub fn content_text<'a>(artifacts: impl IntoIterator<Item = &'a Self>) -> String {
        let mut lines: Vec<_> = artifacts
            .into_iter()
            .map(|a| (a.name.as_str(), a.sha256, a.size))
            .collect();
        lines.sort_unstable();
        let mut text = String::with_capacity(lines.len() * 120);
        for (name, sha256, size) in lines {
            text.push_str(&format!("{sha256} {size} {name}\n"));
        }
        text
    }
}

/// A range of an artifact's bytes: what one placement holds of it. An artifact that
/// does not fit on one volume is cut into ranges on several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactRange {
    /// The artifact's index in the checkpoint's list.
    pub artifact: u32,
    /// Where the range begins.
    pub offset: Bytes,
    /// How long it is.
    pub length: Bytes,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_could_leave_the_restore_directory_are_refused() {
        let long = "x/".repeat(2048) + "y";
        let part = "x".repeat(256);
        for bad in [
            "",
            "../x",
            "a/../b",
            "/etc/passwd",
            "a//b",
            "a/.",
            "a\0b",
            "a\\b",
            "a\n",
            &long,
            &part,
            // What a terminal would obey: CSI, OSC, a C1 control, backspace, carriage return.
            "\u{1b}[2Jx",
            "\u{1b}]0;owned\u{7}",
            "\u{9b}31m",
            "safe\u{8}\u{8}\u{8}\u{8}evil",
            "good\rbad",
            "\u{7f}",
            // What a reader would misread.
            "gpj\u{202e}exe.jpg",
            "a\u{2066}b\u{2069}",
            // Windows: drives and shares.
            "C:\\Windows\\system32",
            "\\\\server\\share",
            "a\\..\\..\\b",
        ] {
            assert!(bad.parse::<ArtifactName>().is_err(), "{bad:?}");
        }
        for good in [
            "a",
            "bin/app",
            "größe/漢字.tar",
            "..a/b..",
            "a b",
            // Ordinary names here: artifacts are restored on Unix.
            "CON",
            "aux.txt",
            "nul",
            "a:b",
            "trailing. ",
            "-rf",
            "~/x",
            "$(id)",
            // Confusables are other names, not refused: Cyrillic a, full-width dots.
            "b\u{430}r",
            "\u{ff0e}\u{ff0e}/x",
        ] {
            assert!(good.parse::<ArtifactName>().is_ok(), "{good:?}");
        }
    }

    #[test]
    fn an_s3_source_needs_its_version() {
        assert!("s3://b/k".parse::<ArtifactSource>().is_err());
        assert!("s3://b/k?versionId=".parse::<ArtifactSource>().is_err());
        assert!("http://b/k".parse::<ArtifactSource>().is_err());
        assert!("file://relative".parse::<ArtifactSource>().is_err());
        assert!("file:///a/../b".parse::<ArtifactSource>().is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_parses_prints_the_same(text in any::<String>()) {
            let _ = text.parse::<ArtifactName>();
            for text in [text.clone(), format!("s3://{text}"), format!("file:///{text}")] {
                if let Ok(source) = text.parse::<ArtifactSource>() {
                    prop_assert_eq!(source.to_string(), text);
                }
            }
        }
    }
}
