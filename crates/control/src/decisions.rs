//! Decisions on conflicts, looked up.

use futures::stream::{self, StreamExt, TryStreamExt};
use model::{Code, DecisionId, DecisionRecord, Refusal, canonical_json};

use crate::authority::{Action, Resource};
use crate::catalogue::{Answer, READS_AT_ONCE, Tx, later, millis, query};
use crate::ports::{Condition, Cursor, Index, SortKeys};
use crate::records::{DecisionItem, InputItem, KEEP_DECISIONS_SECONDS, ShadowItem};
use crate::{Control, Principal, keys};

/// At most so many decisions are forgotten in one sweep: three items each, in one
/// transaction.
const FORGOTTEN_AT_ONCE: u32 = 30;

impl Control {
    /// Decisions, newest first, at most `limit` (1 to 200), and where to go on. They are
    /// kept for 92 days; the ledger's leaves of them for ever.
    ///
    /// # Errors
    /// `Forbidden`.
    pub async fn decisions(
        &self,
        who: &Principal,
        limit: u32,
        after: Option<Cursor>,
    ) -> Answer<(Vec<DecisionRecord>, Option<Cursor>)> {
        self.authorize(who, Action::ViewDecision, Resource::Installation)?;
        let mut question = query(
            Index::Gsi2,
            keys::DECISIONS.to_owned(),
            SortKeys::All,
            limit.clamp(1, 200),
        );
        question.descending = true;
        question.after = after;
        let (found, next) = self.page::<DecisionItem>(question).await?;
        let records = stream::iter(found)
            .map(|seen| self.with_shadow(seen.value))
            .buffered(READS_AT_ONCE)
            .try_collect()
            .await?;
        Ok((records, next))
    }

    /// One decision and the canonical conflict set it was made of: with the component
    /// enough to make it again.
    ///
    /// # Errors
    /// `NotFound`; `Forbidden`: the set tells of other services.
    pub async fn decision(
        &self,
        who: &Principal,
        id: DecisionId,
    ) -> Answer<(DecisionRecord, String)> {
        self.authorize(who, Action::ViewDecision, Resource::Installation)?;
        let missing = || Refusal::new(Code::NotFound, format!("no decision {id}"));
        let input = self
            .get::<InputItem>(&keys::decision_input(id))
            .await?
            .ok_or_else(missing)?
            .value;
        let item = self
            .get::<DecisionItem>(&keys::decision(id))
            .await?
            .ok_or_else(missing)?
            .value;
        let record = self.with_shadow(item).await?;
        Ok((record, canonical_json(&input.input)))
    }

    /// Forgets decisions that are older than they are kept.
    pub(crate) async fn forget_decisions(&self) -> Answer<()> {
        let kept_from = later(self.now(), -KEEP_DECISIONS_SECONDS);
        // Ids sort by time.
        let bound = DecisionId::from_parts(millis(kept_from), &[0; 10]);
        let old = self
            .first::<DecisionItem>(
                Index::Gsi2,
                keys::DECISIONS.to_owned(),
                SortKeys::Between(String::new(), bound.to_string()),
                FORGOTTEN_AT_ONCE,
            )
            .await?;
        let mut tx = Tx::new();
        for seen in old {
            let id = seen.value.id();
            for key in [
                keys::decision(id),
                keys::decision_input(id),
                keys::decision_shadow(id),
            ] {
                tx.delete(key, Condition::None);
            }
        }
        self.transact(tx).await
    }

    async fn with_shadow(&self, item: DecisionItem) -> Answer<DecisionRecord> {
        let shadow = if item.shadowed {
            self.get::<ShadowItem>(&keys::decision_shadow(item.id()))
                .await?
        } else {
            None
        };
        Ok(item.into_record(shadow.map(|seen| seen.value.shadow)))
    }
}
