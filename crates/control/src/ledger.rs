//! The append-only log: one leaf a committed checkpoint, one a decision on conflicts,
//! told apart by their `event`, chained by digests.
//!
//! Root of the empty log: SHA-256 of `tapemark/chain/v1\n`. A leaf's digest: SHA-256 of
//! the byte 00h and the leaf. The root after it: SHA-256 of the byte 01h, the root before
//! it, the number of leaves with it (8 bytes, big-endian) and the leaf's digest. The bytes
//! 00h and 01h keep a leaf from passing for a root (as in RFC 6962 2.1). The leaf is also
//! the event that something was decided or committed: who wants those reads the log on.

use model::{Refusal, Sha256};
use sha2::Digest as _;

use crate::catalogue::{Answer, Seen, Tx};
use crate::ports::{Index, Ledger, LedgerHead, SortKeys};
use crate::records::{HeadRecord, LeavesRecord};
use crate::{Control, digest, keys};

/// A hash chain.
#[derive(Clone, Copy, Debug, Default)]
pub struct HashChain;

impl Ledger for HashChain {
    fn empty(&self) -> LedgerHead {
        LedgerHead {
            size: 0,
            root: digest(b"tapemark/chain/v1\n"),
        }
    }

    fn append(&self, head: &LedgerHead, leaf: &[u8]) -> LedgerHead {
        let leaf = sha2::Sha256::new()
            .chain_update([0])
            .chain_update(leaf)
            .finalize();
        let size = head.size + 1;
        let root = sha2::Sha256::new()
            .chain_update([1])
            .chain_update(head.root.0)
            .chain_update(size.to_be_bytes())
            .chain_update(leaf)
            .finalize();
        LedgerHead {
            size,
            root: Sha256(root.into()),
        }
    }
}

/// Checks that `leaves` lead from `from` to `to`.
///
/// # Errors
/// `VerifyMismatch` with both heads where they do not.
pub fn verify_chain<'a>(
    ledger: &dyn Ledger,
    from: &LedgerHead,
    leaves: impl IntoIterator<Item = &'a str>,
    to: &LedgerHead,
) -> Answer<()> {
    let found = leaves.into_iter().fold(from.clone(), |head, leaf| {
        ledger.append(&head, leaf.as_bytes())
    });
    if found == *to {
        return Ok(());
    }
    Err(Refusal::new(
        model::Code::VerifyMismatch,
        format!(
            "ledger: expected {} leaves with root {}, found {} with root {}",
            to.size, to.root, found.size, found.root
        ),
    ))
}

impl Control {
    /// The head of the ledger.
    ///
    /// # Errors
    /// `Transient` where the catalogue could not be asked.
    pub async fn ledger_head(&self) -> Answer<LedgerHead> {
        Ok(self.seen_head().await?.0.head)
    }

    /// How many checkpoints were committed. The ledger has leaves of decisions as well.
    ///
    /// # Errors
    /// `Transient` where the catalogue could not be asked.
    pub async fn checkpoints_committed(&self) -> Answer<u64> {
        Ok(self.seen_head().await?.0.committed)
    }

    /// The head, and the version to write over; none where the log is empty.
    pub(crate) async fn seen_head(&self) -> Answer<(HeadRecord, Option<u64>)> {
        Ok(match self.get::<HeadRecord>(&keys::ledger_head()).await? {
            Some(seen) => (seen.value, Some(seen.version)),
            None => {
                let head = self.ports.ledger.empty();
                (HeadRecord { head, committed: 0 }, None)
            }
        })
    }

    /// Adds leaves, `committed` of which are commits, to a transaction.
    pub(crate) fn append_leaves(
        &self,
        tx: &mut Tx,
        head: &(HeadRecord, Option<u64>),
        leaves: Vec<String>,
        committed: u64,
    ) -> HeadRecord {
        let next = HeadRecord {
            head: leaves.iter().fold(head.0.head.clone(), |head, leaf| {
                self.ports.ledger.append(&head, leaf.as_bytes())
            }),
            committed: head.0.committed + committed,
        };
        tx.create(&LeavesRecord {
            first: head.0.head.size,
            leaves,
        });
        match head.1 {
            Some(version) => tx.replace(&next, version),
            None => tx.create(&next),
        }
        next
    }

    /// Leaves from an index on, at most `limit` (1 to 1,000), to check the chain from
    /// outside with [`verify_chain`]. Empty at the end of the log.
    ///
    /// # Errors
    /// `Transient` where the catalogue could not be asked.
    pub async fn ledger_leaves(&self, from: u64, limit: u32) -> Answer<Vec<String>> {
        let limit = limit.clamp(1, 1000) as usize;
        let mut leaves = Vec::new();
        let mut at = from;
        // Each round finds the record that holds leaf `at`, and those after it.
        while leaves.len() < limit {
            let Some(first) = self.leaves_with(at).await? else {
                break;
            };
            let records: Vec<Seen<LeavesRecord>> = self
                .first(
                    Index::Main,
                    keys::ledger_partition(first),
                    SortKeys::Between(keys::ledger_leaf(first), keys::ledger_leaf(u64::MAX)),
                    100,
                )
                .await?;
            let before = at;
            for Seen { value, .. } in records {
                if value.first > at {
                    // Written while the page was read, and what comes before it too: a page
                    // is not one moment.
                    break;
                }
                let skip = usize::try_from(at.saturating_sub(value.first)).unwrap_or(usize::MAX);
                for leaf in value.leaves.into_iter().skip(skip) {
                    leaves.push(leaf);
                    at += 1;
                }
            }
            if at == before {
                break;
            }
        }
        leaves.truncate(limit);
        Ok(leaves)
    }

    /// The first leaf of the record that holds leaf `index`. A record belongs to the
    /// partition of its first leaf, which may be the one before.
    async fn leaves_with(&self, index: u64) -> Answer<Option<u64>> {
        let before = index.saturating_sub(keys::LEAVES_PER_PARTITION);
        for partition in [index, before] {
            let mut query = crate::catalogue::query(
                Index::Main,
                keys::ledger_partition(partition),
                SortKeys::Between(keys::ledger_leaf(0), keys::ledger_leaf(index)),
                1,
            );
            query.descending = true;
            let (found, _) = self.page::<LeavesRecord>(query).await?;
            if let Some(seen) = found.first() {
                let end = seen.value.first + seen.value.leaves.len() as u64;
                return Ok((index < end).then_some(seen.value.first));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head_of(leaves: &[&str]) -> LedgerHead {
        leaves.iter().fold(HashChain.empty(), |head, leaf| {
            HashChain.append(&head, leaf.as_bytes())
        })
    }

    #[test]
    fn the_chain_breaks_where_a_leaf_is_changed_moved_or_missing() {
        let to = head_of(&["a", "b", "c"]);
        let check = |leaves: &[&str]| {
            verify_chain(&HashChain, &HashChain.empty(), leaves.iter().copied(), &to).is_ok()
        };
        assert!(check(&["a", "b", "c"]));
        assert!(!check(&["a", "B", "c"]));
        assert!(!check(&["b", "a", "c"]));
        assert!(!check(&["a", "b"]));
        assert!(!check(&["a", "b", "c", "d"]));
        assert!(!check(&["ab", "c"]));
    }

    /// The bytes are a promise: a log written by this version is read by later ones.
    #[test]
    fn the_roots_are_as_documented() {
        expect_test::expect![[r#"
            d17ba4fe60f7b49c8fb8f57f9fb54d127553d0b8d32eb503c8537f960fc77c21
            1cd3c41a33086b8f562984c8e20564a96d5a31bc11972feb0440b7b6cb6c3ec7"#]]
        .assert_eq(&format!("{}\n{}", head_of(&[]).root, head_of(&["a"]).root));
    }
}
