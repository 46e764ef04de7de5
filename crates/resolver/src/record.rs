//! What was published and what was made of it, signed by the installation.
//!
//! Who holds the key may be this program or a service that never gives it away: so a record
//! says what is to be signed ([`Record::message`]), and takes the signature back
//! ([`Record::sealed`]).

use std::collections::BTreeMap;
use std::path::Path;

use ed25519_dalek::{Signature, VerifyingKey};
use jiff::Timestamp;
use model::{Bytes, EngineId, ResolverInfo, Sha256, canonical_json};
use serde::{Deserialize, Serialize};

use crate::{Arch, Compiled, HostError, engine_id};

/// What is signed begins with this: a signature over a record is good for nothing else.
const CONTEXT: &[u8] = b"tapemark resolver record 2\n";
/// The same of records that were signed as a whole. KMS signs at most 4,096 bytes (API
/// reference, Sign), and the labels of a component may be more.
const CONTEXT_1: &[u8] = b"tapemark resolver record 1\n";

/// The largest record as text, in bytes: two architectures and a description take 3 kB.
pub const MAX_RECORD_BYTES: u64 = 1 << 20;

/// What was published, and what was made of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// SHA-256 of the component: its identity.
    pub component: Sha256,
    /// Its size.
    pub bytes: Bytes,
    /// What it says of itself.
    pub info: ResolverInfo,
    /// What compiled it.
    pub engine: EngineId,
    /// SHA-256 of the native code for each architecture.
    pub compiled: BTreeMap<Arch, Sha256>,
    /// When.
    pub at: Timestamp,
}

/// A record and its signature, as they stand in a file.
#[derive(Serialize, Deserialize)]
struct Signed {
    record: Record,
    /// Ed25519 over [`Record::message`], in hex.
    signature: String,
}

impl Record {
    /// The record of a component that this engine compiled.
    pub fn new(
        component: &[u8],
        compiled: &[Compiled],
        info: &ResolverInfo,
        at: Timestamp,
    ) -> Self {
        Self {
            component: policy::digest(component),
            bytes: Bytes(component.len() as u64),
            info: info.clone(),
            engine: engine_id(),
            compiled: compiled
                .iter()
                .map(|compiled| (compiled.arch, policy::digest(&compiled.code)))
                .collect(),
            at,
        }
    }

    /// What is signed, by Ed25519: under 100 bytes that stand for the whole record.
    pub fn message(&self) -> Vec<u8> {
        let digest = policy::digest(self.canonical());
        [CONTEXT, digest.to_hex().as_bytes()].concat()
    }

    /// The record as text, with the signature of [`Record::message`]: what
    /// [`Record::open`] reads.
    pub fn sealed(&self, signature: [u8; 64]) -> Vec<u8> {
        let signed = Signed {
            record: self.clone(),
            signature: hex::encode(signature),
        };
        serde_json::to_vec_pretty(&signed)
            .expect("texts, numbers and digests are all JSON, and so are the names of an Arch")
    }

    /// The record in `text`, which was found at `path` (for the errors), where it is that of
    /// `component` and signed with `key`.
    ///
    /// # Errors
    /// [`HostError::Signature`].
    pub fn open(
        text: &[u8],
        key: &VerifyingKey,
        component: Sha256,
        path: &Path,
    ) -> Result<Self, HostError> {
        let bad = |found: String| HostError::Signature {
            path: path.to_owned(),
            found,
        };
        let signed: Signed =
            serde_json::from_slice(text).map_err(|error| bad(format!("no record: {error}")))?;
        let mut signature = [0; Signature::BYTE_SIZE];
        hex::decode_to_slice(&signed.signature, &mut signature)
            .map_err(|error| bad(format!("no signature: {error}")))?;
        let signature = Signature::from_bytes(&signature);
        let record = signed.record;
        let whole = [CONTEXT_1, record.canonical().as_bytes()].concat();
        let is_ours = |message: &[u8]| key.verify_strict(message, &signature).is_ok();
        if !is_ours(&record.message()) && !is_ours(&whole) {
            return Err(bad("a signature that its key did not make".to_owned()));
        }
        // A record that is signed for another component must not stand for this one.
        if record.component != component {
            return Err(bad(format!("the record of {}", record.component)));
        }
        Ok(record)
    }

    /// The digest of the code for this machine, made by this engine.
    ///
    /// # Errors
    /// [`HostError::Recompile`].
    pub fn code_for(&self, ours: &EngineId) -> Result<(Arch, Sha256), HostError> {
        let component = self.component;
        if self.engine != *ours {
            return Err(HostError::Recompile(format!(
                "{component}: expected code by {} ({}), found code by {} ({})",
                ours.version, ours.compatibility, self.engine.version, self.engine.compatibility
            )));
        }
        let compiled = Arch::native().and_then(|arch| Some((arch, *self.compiled.get(&arch)?)));
        compiled.ok_or_else(|| {
            let archs: Vec<_> = self.compiled.keys().map(|arch| arch.name()).collect();
            HostError::Recompile(format!(
                "{component}: expected code for this machine, found code for {}",
                archs.join(", ")
            ))
        })
    }

    fn canonical(&self) -> String {
        let value = serde_json::to_value(self)
            .expect("texts, numbers and digests are all JSON, and so are the names of an Arch");
        canonical_json(&value)
    }
}
