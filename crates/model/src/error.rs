//! Stable error codes and the refusals that carry them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident => $hint:literal),+ $(,)?) => {
        /// A stable error code. Its text `Tapemark.Name` stands in API answers, in
        /// `ErrorEquals` of the state machine and on the command line, and never changes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])* $name,)+
        }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The code as text: `Tapemark.Name`.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => concat!("Tapemark.", stringify!($name)),)+
                }
            }

            /// What to do next.
            pub const fn hint(self) -> &'static str {
                match self {
                    $(Self::$name => $hint,)+
                }
            }
        }
    };
}

codes! {
    // The thirteen checks of validate, in their order.
    /// Check 1: the request breaks the schema or a limit.
    InvalidRequest => "correct the named field and submit again",
    /// Check 2: the caller may not act for this service.
    Forbidden => "use a token that may do it, or ask an operator what the policies say",
    /// Check 3: the idempotency key was used with another payload.
    IdempotencyMismatch => "use a new idempotency key for a new payload",
    /// Check 4: nobody registered the service.
    UnknownService => "register it: tapemark service register NAME",
    /// Check 4: the service is frozen.
    ServiceFrozen => "ask the platform team to unfreeze the service",
    /// Check 5: there is no such parent checkpoint.
    UnknownParent => "name a checkpoint of the same service: tapemark list --service NAME",
    /// Check 5: the parent is not committed.
    ParentNotCommitted => "wait until the parent is committed, or leave the parent out",
    /// Check 6: an artifact's name is not a safe relative path within the limits.
    InvalidArtifactName => "use a relative path without `..`, at most 1,024 bytes",
    /// Check 6: two artifacts have one name.
    DuplicateArtifactName => "give each artifact its own name",
    /// Check 7: the artifact is not at the pinned version or path.
    ArtifactMissing => "upload the artifact, or correct its source",
    /// Check 7: the artifact's source lies outside the allowed roots.
    SourceNotAllowed => "move the file under an allowed root, or allow its root: tapemark up --allow-root DIR",
    /// Check 8: the stored size is not the declared one.
    SizeMismatch => "submit again; the artifact changed after it was declared",
    /// Check 9: the stored bytes do not have the declared SHA-256.
    ChecksumMismatch => "submit again; the artifact changed after it was declared",
    /// Check 10: no such retention class, or not allowed for the service.
    UnknownRetention => "use one of the service's retention classes",
    /// Check 11: the group is not complete, or its members are not of one epoch.
    IncompleteGroup => "submit all members of the group in one request",
    /// Check 12: the pool has no room for all copies with its reserve.
    PoolFull => "add blank volumes to the pool",
    /// Check 13: the manifest's signature does not verify under the service's key.
    ProvenanceInvalid => "sign the manifest with the service's registered key",

    // Conflicts.
    /// The named parent already has a successor: two histories would begin.
    LineageFork => "name the newest checkpoint as parent, or declare a branch",
    /// A newer request of the same lineage took this one's place.
    Superseded => "nothing to do: the newer checkpoint stands for this one",
    /// Nothing free now; worth trying again.
    NoCapacity => "wait, or add blank volumes to the pool",
    /// The deadline passed before the work could begin.
    DeadlineMissed => "submit again with a later deadline",

    /// A resolver refused it with a code of its own.
    PolicyRefused => "read the reason; ask the owner of the resolver: tapemark resolver list",
    /// The resolver could not decide, and its pool refuses in that case.
    ResolverFailed => "look at tapemark resolver list; submit again once it is repaired",

    // Resolvers.
    /// The component breaks the contract of resolvers.
    ResolverInvalid => "correct what is named; tapemark resolver test COMPONENT says more",
    /// A version is published once.
    VersionExists => "publish under a new version",

    // Coordination.
    /// Somebody else changed the same item; worth trying again.
    Conflict => "try again",
    /// A passing fault; worth trying again.
    Transient => "try again",
    /// The session's fence is not the highest any more.
    FenceLost => "stop writing; open a new session",
    /// The agent's lease ran out.
    AgentLost => "start the agent again",
    /// An operator or the submitter called it off.
    Cancelled => "submit again if it is still wanted",

    // Media and drives.
    /// The medium failed under a read or a write.
    MediaError => "the volume is taken out of service; run tapemark volume scan on it",
    /// The volume cannot take more.
    VolumeFull => "nothing to do: the work is placed on another volume",
    /// The drive failed.
    DriveFault => "look at tapemark drive list; have the drive serviced",
    /// The bytes read back are not the bytes written.
    VerifyMismatch => "nothing to do: the work is placed on another volume",
    /// The label on the tape is not the one in the catalogue.
    LabelMismatch => "the volume is taken out of service; find the tape that belongs to this barcode",
    /// The tape in the slot carries another barcode or label than asked for.
    WrongVolume => "put the right cartridge into the slot, then run an inventory",
    /// The tape is blank where the catalogue expects data.
    BlankVolume => "do not write it; look for the volume that was here",
    /// The tape carries somebody else's data.
    ForeignVolume => "remove it from the library; Tapemark never writes over foreign data",
    /// End of data is not where the catalogue says.
    PositionMismatch => "the volume is read-only now; run tapemark volume scan on it",
    /// No such volume in the library.
    VolumeMissing => "bring the volume back into the library",
    /// The changer could not move a cartridge.
    ChangerFault => "look into the library; run an inventory when it is clear",
    /// No identity opens the sealed parts.
    KeyMissing => "give the agent the age identity that belongs to the recipients",
    /// What stands on the tape is not in Tapemark's format, or is damaged.
    FormatInvalid => "run tapemark volume scan; restore from another copy",

    // Asking.
    /// No such thing.
    NotFound => "check the id",
    /// The thing exists but is not restorable.
    NotRestorable => "wait until the checkpoint is committed",
    /// No valid token, or no valid signature of an agent.
    Unauthorized => "send a bearer token; an agent: enrol it with tapemark-agent enrol, or set its clock",
    /// The answer holds more than one may.
    AnswerTooLarge => "ask for less at once; an agent: submit checkpoints of fewer artifacts",
    /// Too many requests or too long a queue.
    Busy => "wait and try again",
    /// A fault of ours.
    Internal => "report it with the log of this moment",
}

impl Code {
    /// True where the same request may succeed later without a change.
    pub const fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::NoCapacity | Self::Conflict | Self::Transient | Self::Busy
        )
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Code {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .iter()
            .copied()
            .find(|code| code.as_str() == text)
            .ok_or_else(|| format!("no error code {text:?}"))
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A "no" that explains itself: a stable code, a message that says what was expected
/// and what was found, and the field it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    /// The stable code.
    pub code: Code,
    /// What was expected and what was found.
    pub message: String,
    /// The path of the field, as in `members[0].artifacts[3].name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

impl Refusal {
    /// A refusal that is about no single field.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            field: None,
        }
    }

    /// The same refusal, naming a field.
    #[must_use]
    pub fn at(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_keep_their_text() {
        assert_eq!(Code::PoolFull.as_str(), "Tapemark.PoolFull");
        for code in Code::ALL {
            assert_eq!(code.as_str().parse(), Ok(*code));
            assert!(!code.hint().is_empty());
        }
        assert!("Tapemark.Nope".parse::<Code>().is_err());
    }

    #[test]
    fn a_refusal_names_code_message_and_field() {
        let refusal =
            Refusal::new(Code::SizeMismatch, "expected 5 bytes, found 6").at("artifacts[0]");
        assert_eq!(
            refusal.to_string(),
            "Tapemark.SizeMismatch: expected 5 bytes, found 6"
        );
        let json = serde_json::to_value(&refusal).unwrap();
        assert_eq!(json["code"], "Tapemark.SizeMismatch");
        assert_eq!(json["field"], "artifacts[0]");
    }
}
