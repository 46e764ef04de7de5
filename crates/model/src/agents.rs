//! Agents and how they prove who they are: Ed25519 keys, enrolment by a one-time code,
//! rotation.
//!
//! | path below `/agent/v1/` | question | answer | signed by |
//! |---|---|---|---|
//! | `enrol` | [`Enrol`] | [`EnrolAnswer`] | the key it brings |
//! | `rotate` | [`Rotate`] | [`RotateAnswer`] | the key that is valid now |
//!
//! Every other call of [`crate::work`] is signed by a key of the agent as well.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::units::shorten;
use crate::{AgentId, LibraryId};

/// An Ed25519 public key (RFC 8032 5.1.5). Its text is 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentKey(pub [u8; 32]);

impl fmt::Display for AgentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for AgentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AgentKey({self})")
    }
}

impl FromStr for AgentKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut key = [0; 32];
        hex::decode_to_slice(text, &mut key)
            .map_err(|_| format!("expected 64 hexadecimal digits, found {:?}", shorten(text)))?;
        Ok(Self(key))
    }
}

impl Serialize for AgentKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AgentKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Whether an agent may speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentState {
    /// It has a code and no key yet.
    Invited,
    /// It may.
    Enrolled,
    /// It may not, until it enrols with a new code.
    Revoked,
}

/// An agent as the catalogue knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// Its name.
    pub id: AgentId,
    /// The library it drives.
    pub library: LibraryId,
    /// Whether it may speak.
    pub state: AgentState,
    /// Its keys, newest first; at most two. Those of a revoked agent are kept, so that it
    /// can be told that it is.
    pub keys: Vec<HeldKey>,
    /// When its first code was issued, or its key registered.
    pub created: Timestamp,
    /// When its state or its keys changed last.
    pub changed: Timestamp,
    /// When it last asked, to the hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Timestamp>,
    /// Until when a code that was not used yet is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_expires: Option<Timestamp>,
}

impl Agent {
    /// The keys that are good at a time, newest first.
    pub fn keys_at(&self, now: Timestamp) -> impl Iterator<Item = &HeldKey> {
        self.keys
            .iter()
            .filter(move |held| held.until.is_none_or(|until| now < until))
    }
}

/// A key of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldKey {
    /// The key.
    pub key: AgentKey,
    /// Since when.
    pub since: Timestamp,
    /// Until when, where a newer one took its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// The secret that lets an agent enrol once. Shown to the operator once; never in `Debug`
/// output.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct CodeText(String);

impl From<String> for CodeText {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl From<CodeText> for String {
    fn from(code: CodeText) -> Self {
        code.0
    }
}

impl CodeText {
    /// A code as somebody typed it: white space, hyphens and case do not count.
    pub fn new(text: &str) -> Self {
        let plain = text
            .chars()
            .filter(|c| !c.is_whitespace() && *c != '-')
            .map(|c| c.to_ascii_lowercase());
        Self(plain.collect())
    }

    /// The code without separators.
    pub fn plain(&self) -> &str {
        &self.0
    }

    /// The code in groups of four, to be read by people.
    pub fn grouped(&self) -> String {
        let characters: Vec<char> = self.0.chars().collect();
        let groups: Vec<String> = characters.chunks(4).map(|c| c.iter().collect()).collect();
        groups.join("-")
    }
}

impl fmt::Debug for CodeText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CodeText(…)")
    }
}

/// A code for an operator to hand over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnrolmentCode {
    /// Whom it lets in.
    pub agent: AgentId,
    /// The library that agent drives.
    pub library: LibraryId,
    /// The secret.
    pub code: CodeText,
    /// Until when it is good.
    pub expires: Timestamp,
}

/// "This is my key from now on; here is the code." Signed by that key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrol {
    /// The agent.
    pub agent: AgentId,
    /// The code.
    pub code: CodeText,
    /// The key.
    pub key: AgentKey,
}

/// The agent is enrolled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolAnswer {
    /// The agent.
    pub agent: AgentId,
    /// The library it is to drive.
    pub library: LibraryId,
}

/// "Take this key in place of the one that signs this."
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotate {
    /// The agent.
    pub agent: AgentId,
    /// The new key.
    pub key: AgentKey,
    /// The new key's signature (128 hexadecimal digits) over [`rotation_text`]: the agent
    /// holds its secret.
    pub proof: String,
}

/// The new key is taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotateAnswer {
    /// Until when the key before is good as well.
    pub previous_until: Timestamp,
}

/// What a new key signs to prove that the agent holds its secret.
pub fn rotation_text(agent: &AgentId, key: &AgentKey) -> String {
    format!("tapemark/rotate/v1\n{agent}\n{key}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_as_people_type_it_and_never_shown() {
        let code = CodeText::new(" 00FF-a1b2 c3\n");
        assert_eq!(code.plain(), "00ffa1b2c3");
        assert_eq!(code.grouped(), "00ff-a1b2-c3");
        assert_eq!(CodeText::new(&code.grouped()), code);
        let typed: CodeText = serde_json::from_str("\"00FF-A1B2 C3\"").unwrap();
        assert_eq!(typed, code);
        assert_eq!(format!("{code:?}"), "CodeText(…)");
    }

    #[test]
    fn a_key_survives_its_text() {
        let key = AgentKey([7; 32]);
        let json = serde_json::to_string(&key).unwrap();
        assert_eq!(serde_json::from_str::<AgentKey>(&json).unwrap(), key);
        for wrong in ["", "07", &"0g".repeat(32), &"07".repeat(33)] {
            assert!(wrong.parse::<AgentKey>().is_err(), "{wrong}");
        }
    }
}
