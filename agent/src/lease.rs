//! The hold of one session: kept alive in the background, and the one place that says
//! whether the drive may be touched.
//!
//! The lease limits waste, the fence gives safety: the control plane may grant the volume
//! to somebody else once the lease has run out, so the agent stops *itself* before that,
//! by `skew`. Time is taken twice, from the monotonic clock (which nobody sets) and from
//! the wall clock (which goes on while the machine sleeps); the earlier one counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use model::work::{Ack, Renew, SessionRef};
use model::{Bytes, Code, Refusal, WriteSession};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::journal::Journal;
use crate::protocol::{CallError, ControlPlane};

/// Tells the time; tests bring their own.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The hold of one session. Clones are the same hold.
#[derive(Clone)]
pub(crate) struct Lease(Arc<Inner>);

struct Inner {
    session: WriteSession,
    journal: Arc<Journal>,
    clock: Clock,
    skew: Duration,
    until: Mutex<(Instant, Timestamp)>,
    lost: Mutex<Option<Refusal>>,
    changed: Notify,
    yielding: AtomicBool,
    moved: AtomicU64,
    doing: Mutex<String>,
}

impl Lease {
    /// The hold that `session` grants.
    pub(crate) fn new(
        session: WriteSession,
        journal: Arc<Journal>,
        clock: Clock,
        skew: Duration,
    ) -> Self {
        let expires = session.expires;
        let lease = Self(Arc::new(Inner {
            session,
            journal,
            clock,
            skew,
            until: Mutex::new((Instant::now(), Timestamp::MIN)),
            lost: Mutex::new(None),
            changed: Notify::new(),
            yielding: AtomicBool::new(false),
            moved: AtomicU64::new(0),
            doing: Mutex::new("mounting".to_owned()),
        }));
        lease.extend(expires);
        lease
    }

    /// The session held.
    pub(crate) fn session(&self) -> &WriteSession {
        &self.0.session
    }

    /// Names the session in a question.
    pub(crate) fn reference(&self) -> SessionRef {
        let session = &self.0.session;
        SessionRef {
            session: session.id,
            volume: session.volume.clone(),
            fence: session.fence,
        }
    }

    /// May the drive be touched? Asked before each positioning, each read and each write.
    ///
    /// # Errors
    /// `FenceLost` when somebody else holds drive or volume, `AgentLost` when the lease
    /// has run out. Once refused, always refused.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        if let Some(refusal) = self.lost() {
            return Err(refusal);
        }
        self.0
            .journal
            .still_highest(&self.0.session)
            .inspect_err(|refusal| self.lose(refusal))?;
        let (until, expires) = *self.0.until.lock();
        let now = (self.0.clock)();
        if Instant::now() < until && now < expires {
            return Ok(());
        }
        let refusal = Refusal::new(
            Code::AgentLost,
            format!(
                "session {}: the lease was not renewed in time, it is {now} and the agent had \
                 to stop by {expires}",
                self.0.session.id
            ),
        );
        self.lose(&refusal);
        Err(refusal)
    }

    /// Why the hold is over, if it is.
    pub(crate) fn lost(&self) -> Option<Refusal> {
        self.0.lost.lock().clone()
    }

    /// Ends the hold, for the first reason given.
    pub(crate) fn lose(&self, refusal: &Refusal) {
        if self.lost().is_none() {
            tracing::warn!(session = %self.0.session.id, fence = %self.0.session.fence, %refusal, "lost the session");
        }
        self.end(refusal);
    }

    /// Ends the hold in order: nothing was lost, but nothing may be touched any more.
    pub(crate) fn end(&self, why: &Refusal) {
        self.0.lost.lock().get_or_insert_with(|| why.clone());
        self.0.changed.notify_waiters();
    }

    /// Waits until the hold is over.
    pub(crate) async fn until_lost(&self) -> Refusal {
        loop {
            let woken = self.0.changed.notified();
            if let Some(refusal) = self.lost() {
                return refusal;
            }
            woken.await;
        }
    }

    /// True once the control plane wants the drive for something more urgent.
    pub(crate) fn is_yielding(&self) -> bool {
        self.0.yielding.load(Ordering::Relaxed)
    }

    /// Waits until the control plane wants the drive for something more urgent.
    pub(crate) async fn until_yielding(&self) {
        loop {
            let woken = self.0.changed.notified();
            if self.is_yielding() {
                return;
            }
            woken.await;
        }
    }

    /// Takes an answer that extends the hold.
    pub(crate) fn acknowledged(&self, ack: &Ack) {
        self.extend(ack.expires);
        if ack.yield_requested {
            self.0.yielding.store(true, Ordering::Relaxed);
            self.0.changed.notify_waiters();
        }
    }

    /// Holds until `expires`, less the skew. Never shortens the hold: answers may overtake
    /// one another.
    pub(crate) fn extend(&self, expires: Timestamp) {
        let left = expires.duration_since((self.0.clock)());
        let left = Duration::try_from(left)
            .unwrap_or(Duration::ZERO)
            .saturating_sub(self.0.skew);
        let stop = expires.checked_sub(self.0.skew).unwrap_or(Timestamp::MIN);
        let mut until = self.0.until.lock();
        if stop > until.1 {
            *until = (Instant::now() + left, stop);
        }
    }

    /// Adds to the bytes moved, for the humans who watch.
    pub(crate) fn moved(&self, bytes: u64) {
        self.0.moved.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Says what is being done, for the humans who watch.
    pub(crate) fn doing(&self, text: impl Into<String>) {
        *self.0.doing.lock() = text.into();
    }

    /// Renews the hold every third of what is left of it, until it is lost. Runs beside
    /// the work, through long commands too.
    pub(crate) async fn keep(self, control: Arc<dyn ControlPlane>) {
        loop {
            let until = self.0.until.lock().0;
            let left = until.saturating_duration_since(Instant::now());
            tokio::select! {
                _ = self.until_lost() => return,
                () = tokio::time::sleep((left / 3).max(Duration::from_millis(50))) => {}
            }
            if self.check().is_err() {
                return;
            }
            let question = Renew {
                session: self.reference(),
                moved: Bytes(self.0.moved.load(Ordering::Relaxed)),
                doing: self.0.doing.lock().clone(),
            };
            let answer = tokio::select! {
                answer = control.renew(&question) => answer,
                () = tokio::time::sleep_until(until) => continue,
            };
            match answer {
                Ok(ack) => self.acknowledged(&ack),
                Err(CallError::Refused(refusal)) if !refusal.code.is_retryable() => {
                    self.lose(&refusal);
                    return;
                }
                Err(error) => tracing::debug!(%error, "the lease was not renewed, trying again"),
            }
        }
    }
}
