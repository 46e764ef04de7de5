//! Names of things. A name that exists is a name that was checked.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use crate::units::shorten;

/// A text that is not a valid name of its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: expected {expected}, found {found:?}")]
pub struct InvalidId {
    /// What the text was to name.
    pub kind: &'static str,
    /// The rule it broke.
    pub expected: &'static str,
    /// The text, shortened to 80 characters.
    pub found: String,
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A UUIDv7 (RFC 9562 5.7) of a time in Unix milliseconds and ten random bytes.
            pub const fn from_parts(unix_millis: u64, random: &[u8; 10]) -> Self {
                Self(uuid::Builder::from_unix_timestamp_millis(unix_millis, random).into_uuid())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Uuid::try_parse(text).map(Self).map_err(|_| InvalidId {
                    kind: stringify!($name),
                    expected: "a UUID",
                    found: shorten(text),
                })
            }
        }
    };
}

uuid_id! {
    /// A checkpoint: what a developer gets back from a submission. A UUIDv7, so that
    /// ids sort by the time of submission.
    CheckpointId
}
uuid_id! {
    /// A group of checkpoints that become restorable together or not at all.
    GroupId
}
uuid_id! {
    /// A request to bring a checkpoint back.
    RestoreId
}
uuid_id! {
    /// A decision on a conflict set. A UUIDv7: ids sort by time.
    DecisionId
}
uuid_id! {
    /// A write session of an agent on one drive and one volume.
    SessionId
}
uuid_id! {
    /// What a volume's label says it is, drawn when the volume is labelled.
    VolumeUuid
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $max:literal, $expected:literal, $allowed:expr $(, $whole:expr)?) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The longest name, in bytes.
            pub const MAX_BYTES: usize = $max;

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let allowed: fn(char) -> bool = $allowed;
                let whole: &[(&'static str, fn(&str) -> bool)] = &[$($whole)?];
                let expected =
                    if text.is_empty() || text.len() > $max || !text.chars().all(allowed) {
                        Some($expected)
                    } else {
                        let broken = whole.iter().find(|(_, holds)| !holds(text));
                        broken.map(|(expected, _)| *expected)
                    };
                if let Some(expected) = expected {
                    return Err(InvalidId {
                        kind: stringify!($name),
                        expected,
                        found: shorten(text),
                    });
                }
                Ok(Self(text.to_owned()))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

const fn plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

/// The rule of artifact names for parts: such a path stays below the directory it is
/// joined to.
fn stays_below(path: &str) -> bool {
    !path.split('/').any(|part| matches!(part, "" | "." | ".."))
}

text_id! {
    /// A service, as the platform team registered it. 128 bytes fit a DNS label path.
    /// Its parts between `/` follow the rules of [`ArtifactName`](crate::ArtifactName): none
    /// is empty, `.` or `..`, so that no `/` leads or trails.
    ServiceName, 128, "1 to 128 of A-Z a-z 0-9 - _ . /", |c| plain(c) || c == '/',
    ("no empty, `.` or `..` part", stays_below)
}
text_id! {
    /// A version of a service: free text without spaces, so that it stands in a log line.
    Version, 128, "1 to 128 printable ASCII characters without spaces", |c| c.is_ascii_graphic()
}
text_id! {
    /// The key under which a repeated submission is recognised.
    IdempotencyKey, 128, "1 to 128 printable ASCII characters without spaces", |c| c.is_ascii_graphic()
}
text_id! {
    /// A tape library.
    LibraryId, 64, "1 to 64 of A-Z a-z 0-9 - _ .", plain
}
text_id! {
    /// A pool of volumes.
    PoolName, 64, "1 to 64 of A-Z a-z 0-9 - _ .", plain
}
text_id! {
    /// An agent: one per library, the same after a restart.
    AgentId, 64, "1 to 64 of A-Z a-z 0-9 - _ .", plain
}
text_id! {
    /// A drive's unit serial number (VPD page 80h). Drives are known by serial, never by index.
    DriveSerial, 64, "1 to 64 printable ASCII characters without spaces", |c| c.is_ascii_graphic()
}
text_id! {
    /// A volume's barcode: the volume identifier that READ ELEMENT STATUS reports
    /// (SMC-3 6.11), at most 32 characters there.
    Barcode, 32, "1 to 32 of A-Z 0-9 - _", |c| c.is_ascii_uppercase() || c.is_ascii_digit() || matches!(c, '-' | '_')
}
text_id! {
    /// An execution of the state machine. Step Functions allows 80 characters.
    RunId, 80, "1 to 80 of A-Z a-z 0-9 - _ .", plain
}
text_id! {
    /// A work item: `run/phase/placement/attempt/n`. A retry of a dispatch has the same
    /// key and collapses into one item; a new attempt has a new one.
    WorkKey, 160, "1 to 160 of A-Z a-z 0-9 - _ . /", |c| plain(c) || c == '/'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_where_they_enter() {
        assert!("payments/api".parse::<ServiceName>().is_ok());
        for bad in ["", "a b", "a\0b", "ü", &"x".repeat(129)] {
            assert!(bad.parse::<ServiceName>().is_err(), "{bad:?}");
            assert!(serde_json::from_value::<ServiceName>(bad.into()).is_err());
        }
        assert!("tm0001l9".parse::<Barcode>().is_err());
    }

    #[test]
    fn a_service_name_is_a_path_that_stays_below() {
        for good in ["a", "a/b", "team/x.y/z-1", "...", "a/..b", ".hidden"] {
            assert!(good.parse::<ServiceName>().is_ok(), "{good:?}");
        }
        for bad in [
            "..",
            ".",
            "/",
            "//x",
            "/x",
            "x/",
            "a//b",
            "a/.",
            "./a",
            "../../evil",
            "a/../../../x",
        ] {
            assert!(bad.parse::<ServiceName>().is_err(), "{bad:?}");
            assert!(serde_json::from_value::<ServiceName>(bad.into()).is_err());
        }
    }

    #[test]
    fn checkpoint_ids_sort_by_time_and_are_version_7() {
        let early = CheckpointId::from_parts(1_000, &[0xff; 10]);
        let late = CheckpointId::from_parts(1_001, &[0; 10]);
        assert!(early < late);
        assert_eq!(early.0.get_version_num(), 7);
        assert_eq!(early.to_string().parse(), Ok(early));
    }

    #[test]
    fn an_error_quotes_at_most_80_characters() {
        let error = "é".repeat(500).parse::<Barcode>().unwrap_err();
        assert_eq!(error.found.chars().count(), 81);
    }
}
