//! A conflict set on its way to resolvers: converted once, however often it is decided.

use std::sync::{Arc, OnceLock};

use model::{ConflictSet, MAX_CONTENDERS, MAX_HISTORY, MAX_INPUT_BYTES, Sha256};

use crate::v1;

/// A conflict set with its digest, ready to be decided by any number of resolvers.
///
/// [`Host::call`](crate::Host::call) makes one for each call; whoever has the same set
/// decided more than once (a live resolver and its shadow, a replay, a benchmark) makes
/// it once and saves half the time.
pub struct Prepared {
    set: Arc<ConflictSet>,
    digest: Sha256,
    /// Why no resolver may see it.
    too_much: Option<String>,
    v1: OnceLock<Result<v1::Input, String>>,
}

impl Prepared {
    /// Prepares a set.
    pub fn new(set: Arc<ConflictSet>) -> Self {
        let canonical = policy::canonical_set(&set);
        let bytes = canonical.len();
        let mut prepared = Self::recorded(set, policy::digest(&canonical));
        if bytes > MAX_INPUT_BYTES {
            prepared.too_much = Some(format!(
                "expected at most {MAX_INPUT_BYTES} bytes of canonical input, found {bytes}"
            ));
        }
        prepared
    }

    /// Prepares a set from a decision record, whose digest was taken when it was
    /// recorded, and whose size was checked then. `digest` is what the resolver is told;
    /// nothing else depends on it.
    pub fn recorded(set: Arc<ConflictSet>, digest: Sha256) -> Self {
        let over = |what, found: usize, most| {
            (found > most).then(|| format!("expected at most {most} {what}, found {found}"))
        };
        let too_much = over("requests", set.contenders.len(), MAX_CONTENDERS)
            .or_else(|| over("past outcomes", set.history.len(), MAX_HISTORY));
        Self {
            set,
            digest,
            too_much,
            v1: OnceLock::new(),
        }
    }

    /// The set.
    pub fn set(&self) -> &Arc<ConflictSet> {
        &self.set
    }

    /// SHA-256 of its canonical form.
    pub fn digest(&self) -> Sha256 {
        self.digest
    }

    /// As version 1 of the contract has it.
    ///
    /// # Errors
    /// Why no resolver may see it: too large, or with a number that not every language
    /// holds.
    pub(crate) fn v1(&self) -> Result<&v1::Input, &str> {
        if let Some(why) = &self.too_much {
            return Err(why);
        }
        let input = self
            .v1
            .get_or_init(|| v1::input(&self.set, self.digest))
            .as_ref();
        input.map_err(String::as_str)
    }

    /// Whether it may be handed to a resolver at all.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check(&self) -> Result<(), &str> {
        self.v1().map(drop)
    }
}
