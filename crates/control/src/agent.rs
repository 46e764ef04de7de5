//! The agent's side: inventories, sessions, claims, results.

mod claim;
mod end;
mod inventory;
mod ready;
mod results;
mod session;

use model::work::{Ack, SessionRef};
use model::{Code, Fence, Refusal, SessionId};

use crate::catalogue::{Answer, Seen};
use crate::records::{Beat, VolumeLease};
use crate::{Control, keys};

/// How often an item may be claimed without a result before it is failed.
pub const MAX_GRANTS: u32 = 8;

pub(crate) use results::Reporter;

impl Control {
    /// The lease of the session's volume, if the session holds it still.
    pub(crate) async fn held(&self, session: &SessionRef) -> Answer<Seen<VolumeLease>> {
        let seen = self
            .get::<VolumeLease>(&keys::volume_lease(&session.volume))
            .await?
            .ok_or_else(|| {
                Refusal::new(
                    Code::NotFound,
                    format!("expected a volume {}, found none", session.volume),
                )
            })?;
        let holds = seen.value.fence == session.fence
            && seen
                .value
                .hold
                .as_ref()
                .is_some_and(|hold| hold.session == session.session);
        if holds {
            Ok(seen)
        } else {
            Err(fence_lost(session.fence, seen.value.fence))
        }
    }

    pub(crate) async fn beat(&self, session: SessionId) -> Answer<Option<Seen<Beat>>> {
        self.get(&keys::beat(session)).await
    }

    /// An answer to a session that holds.
    pub(crate) async fn ack(&self, session: SessionId) -> Answer<Ack> {
        let expires = match self.beat(session).await? {
            Some(beat) => beat.value.expires,
            None => self.now(),
        };
        Ok(Ack {
            expires,
            yield_requested: false,
        })
    }
}

pub(crate) fn fence_lost(yours: Fence, highest: Fence) -> Refusal {
    let message = if yours == highest {
        format!("the session with fence {yours} is over")
    } else {
        format!("expected fence {yours} to be the highest, found {highest}")
    };
    Refusal::new(Code::FenceLost, message)
}
