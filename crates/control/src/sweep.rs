//! What is done every few seconds so that nothing stays stuck behind somebody who died.

use crate::catalogue::{Answer, Record as _, Tx, lost_race, millis};
use crate::ports::{Condition, Index, SortKeys};
use crate::records::{Beat, UnpinRecord};
use crate::{Control, keys};

/// At most so many of each kind are swept in one go.
const AT_ONCE: u32 = 100;

impl Control {
    /// Ends sessions whose lease ran out; what they had claimed becomes open again.
    /// Unpins what could not be unpinned before; forgets decisions whose time is over. To be
    /// called every few seconds, by any
    /// number of processes.
    ///
    /// # Errors
    /// `Transient` where the catalogue could not be asked; the next sweep goes on.
    pub async fn sweep(&self) -> Answer<()> {
        let now = format!("{:020}$", millis(self.now()));
        let expired = self
            .first::<Beat>(
                Index::Gsi2,
                keys::LEASES.to_owned(),
                SortKeys::Between(String::new(), now),
                AT_ONCE,
            )
            .await?;
        for seen in expired {
            // The index may lag behind a renewal.
            let beat = self.beat(seen.value.session).await?;
            if beat.is_none_or(|beat| beat.value.expires > self.now()) {
                continue;
            }
            tracing::warn!(session = %seen.value.session, volume = %seen.value.volume, "lease ran out");
            let answer = self
                .end_session(seen.value.session, &seen.value.volume)
                .await;
            // Somebody else ends it, or it was renewed this moment: the next sweep knows.
            if !lost_race(&answer) {
                answer?;
            }
            self.ports.queue.ring(&seen.value.library).await;
        }
        let pinned = self
            .first::<UnpinRecord>(Index::Main, keys::UNPIN.to_owned(), SortKeys::All, AT_ONCE)
            .await?;
        for seen in pinned {
            if self.try_unpin(&seen.value).await {
                let mut tx = Tx::new();
                tx.delete(seen.value.key(), Condition::None);
                self.transact(tx).await?;
            }
        }
        self.forget_decisions().await
    }
}
