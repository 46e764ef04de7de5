//! One session: mount, prove, say so, then work until there is nothing left.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use model::work::{
    Ack, Claim, ClaimAnswer, Close, Complete, CompleteAnswer, MAX_WAIT_MS, Order, RestoreOrder,
    SessionReady, VerifyOrder, WorkKind, WorkResult, WriteOrder,
};
use model::{Bytes, Code, Refusal, VolumePosition, WorkKey};
use tokio::time::Instant;

use crate::agent::Context;
use crate::lease::Lease;
use crate::medium::{Medium, Proven};
use crate::policy::{self, Experience};
use crate::protocol::CallError;
use crate::trouble::{Strikes, Trouble};

/// The longest pause between two tries of a question.
const LONGEST_RETRY: Duration = Duration::from_secs(5);
/// How often letting go is tried: the lease would run out by itself.
const CLOSE_TRIES: u32 = 3;

/// A session under way.
pub(crate) struct Session<'a> {
    pub(crate) ctx: Arc<Context>,
    pub(crate) lease: Lease,
    pub(crate) strikes: &'a mut Strikes,
    pub(crate) experience: &'a mut Experience,
    /// Taken out while a blocking thread works with it.
    pub(crate) medium: Option<Medium>,
    /// Written in this session and not yet read back.
    pub(crate) unverified: Bytes,
}

/// A question on its way.
type Asking<'q, A> = Pin<Box<dyn Future<Output = Result<A, CallError>> + Send + 'q>>;

/// What one claim brought, by kind.
enum Claimed {
    Nothing,
    Write(Vec<(WorkKey, WriteOrder)>),
    Verify(Vec<(WorkKey, VerifyOrder)>),
    Restore(Vec<(WorkKey, RestoreOrder)>),
    Scan(Vec<WorkKey>),
}

impl<'a> Session<'a> {
    pub(crate) fn new(
        ctx: Arc<Context>,
        lease: Lease,
        strikes: &'a mut Strikes,
        experience: &'a mut Experience,
    ) -> Self {
        Self {
            ctx,
            lease,
            strikes,
            experience,
            medium: None,
            unverified: Bytes::ZERO,
        }
    }

    /// The whole session but for closing it.
    pub(crate) async fn work(mut self) -> Result<(), Trouble> {
        self.mount().await?;
        let proven = self.prove().await?;
        self.ready(proven).await?;
        let since = Instant::now();
        loop {
            if self.ctx.is_stopping() {
                return Ok(());
            }
            let (claimed, others_waiting) = self.claim_anything().await?;
            let idle = matches!(claimed, Claimed::Nothing);
            match claimed {
                Claimed::Nothing => {}
                Claimed::Write(items) => self.write_batch(items).await?,
                Claimed::Verify(items) => self.verify(items).await?,
                Claimed::Restore(items) => self.restore(items).await?,
                Claimed::Scan(keys) => self.scan(keys).await?,
            }
            let yielding = self.lease.is_yielding();
            let held = since.elapsed();
            if policy::let_go(idle, others_waiting, yielding, held, &self.ctx.pace) {
                tracing::info!(
                    idle,
                    others_waiting,
                    yielding,
                    ?held,
                    "letting the volume go"
                );
                return Ok(());
            }
        }
    }

    async fn mount(&mut self) -> Result<(), Trouble> {
        let (ctx, lease) = (Arc::clone(&self.ctx), self.lease.clone());
        let mounted = blocking(move || {
            let session = lease.session();
            ctx.library.mount(&session.drive, &session.volume, &lease)
        })
        .await;
        self.ctx.moved.notify_one();
        mounted
    }

    /// Proves that the tape is the one the catalogue means, and judges what stands behind
    /// the catalogued end of its data.
    async fn prove(&mut self) -> Result<Proven, Trouble> {
        self.lease.doing("proving the volume");
        let (ctx, lease) = (Arc::clone(&self.ctx), self.lease.clone());
        let (medium, proven) = blocking(move || {
            let drive = ctx.library.drive(&lease.session().drive)?;
            let medium = crate::medium::prove(&ctx, &lease, drive);
            // A hold that was lost under way explains every other failure.
            medium.map_err(|trouble| lease.lost().map_or(trouble, Trouble::Lost))
        })
        .await?;
        if let Some(took) = proven.sync_took {
            self.experience.synchronized(took);
        }
        self.medium = Some(medium);
        Ok(proven)
    }

    async fn ready(&mut self, proven: Proven) -> Result<(), Trouble> {
        let session = self.lease.session();
        if let Some(position) = &proven.position {
            self.ctx
                .journal
                .proven(&session.volume, session.uuid, position)
                .map_err(Trouble::Passing)?;
        }
        tracing::info!(
            next = proven.reported.next.0,
            manifests = proven.reported.manifests,
            labelled = proven.labelled,
            found = proven.found.len(),
            abandoned = proven.abandoned.0,
            "the volume is proven"
        );
        let question = SessionReady {
            session: self.lease.reference(),
            position: proven.reported,
            labelled: proven.labelled,
            found: proven.found,
            abandoned: proven.abandoned,
            used: proven.used,
        };
        let ack = self.insist(|| self.ctx.control.ready(&question)).await?;
        self.lease.acknowledged(&ack);
        Ok(())
    }

    /// Asks for work of any kind and waits for it.
    async fn claim_anything(&mut self) -> Result<(Claimed, bool), Trouble> {
        self.lease.doing("waiting for work");
        let writable = matches!(self.medium, Some(Medium::Writing(_)));
        let kinds = policy::kinds(self.unverified, writable, &self.ctx.pace);
        let items = policy::items_between_batches(self.experience, &self.ctx.batch);
        let wait = self.ctx.pace.poll;
        let asked = Instant::now();
        let answer = tokio::select! {
            answer = self.claim(kinds, items, self.ctx.batch.bytes, wait) => answer?,
            () = self.ctx.until_stopping() => return Ok((Claimed::Nothing, false)),
            () = self.lease.until_yielding() => return Ok((Claimed::Nothing, true)),
        };
        if answer.items.is_empty() && asked.elapsed() < Duration::from_millis(50) {
            self.ctx.pause(Duration::from_millis(50)).await;
        }
        let others_waiting = answer.others_waiting;
        Ok((self.sort(answer)?, others_waiting))
    }

    /// Asks for more to write, with a batch open.
    pub(crate) async fn claim_writes(
        &mut self,
        items: u32,
        bytes: Bytes,
        wait: Duration,
    ) -> Result<(Vec<(WorkKey, WriteOrder)>, bool), Trouble> {
        let answer = self
            .claim(vec![WorkKind::Write], items, bytes, wait)
            .await?;
        let others_waiting = answer.others_waiting;
        match self.sort(answer)? {
            Claimed::Nothing => Ok((Vec::new(), others_waiting)),
            Claimed::Write(items) => Ok((items, others_waiting)),
            _ => Err(not_as_agreed("asked for writes only, and got other work")),
        }
    }

    async fn claim(
        &self,
        kinds: Vec<WorkKind>,
        max_items: u32,
        max_bytes: Bytes,
        wait: Duration,
    ) -> Result<ClaimAnswer, Trouble> {
        let question = Claim {
            session: self.lease.reference(),
            kinds,
            max_items,
            max_bytes,
            wait_ms: poll_ms(wait),
        };
        self.insist(|| self.ctx.control.claim(&question)).await
    }

    fn sort(&mut self, answer: ClaimAnswer) -> Result<Claimed, Trouble> {
        let items = answer.items.len();
        let mut claimed = Claimed::Nothing;
        let mut artifacts = 0;
        for item in answer.items {
            match (&mut claimed, item.order) {
                (Claimed::Nothing, Order::Write(order)) => {
                    artifacts += order.artifacts.len();
                    claimed = Claimed::Write(vec![(item.key, order)]);
                }
                (Claimed::Write(list), Order::Write(order)) => {
                    artifacts += order.artifacts.len();
                    list.push((item.key, order));
                }
                (Claimed::Nothing, Order::Verify(order)) => {
                    claimed = Claimed::Verify(vec![(item.key, order)]);
                }
                (Claimed::Verify(list), Order::Verify(order)) => list.push((item.key, order)),
                (Claimed::Nothing, Order::Restore(order)) => {
                    claimed = Claimed::Restore(vec![(item.key, order)]);
                }
                (Claimed::Restore(list), Order::Restore(order)) => list.push((item.key, order)),
                (Claimed::Nothing, Order::Scan) => claimed = Claimed::Scan(vec![item.key]),
                (Claimed::Scan(list), Order::Scan) => list.push(item.key),
                _ => return Err(not_as_agreed("one answer holds two kinds of work")),
            }
        }
        if matches!(claimed, Claimed::Write(_)) {
            self.experience.claimed(items, artifacts);
        }
        Ok(claimed)
    }

    /// Reports results, together with the proven end of data where something was written.
    pub(crate) async fn complete(
        &self,
        results: Vec<WorkResult>,
        written: Option<(VolumePosition, Bytes)>,
    ) -> Result<CompleteAnswer, Trouble> {
        let (position, used) = written.unzip();
        let question = Complete {
            session: self.lease.reference(),
            position,
            used,
            results,
        };
        let answer = self.insist(|| self.ctx.control.complete(&question)).await?;
        self.lease.extend(answer.expires);
        for (work, refusal) in &answer.refused {
            tracing::warn!(%work, %refusal, "a result was not taken");
        }
        Ok(answer)
    }

    /// Works with the medium on a thread that may block. Nothing else has it meanwhile.
    pub(crate) async fn on_medium<R: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Medium, &Context) -> R + Send + 'static,
    ) -> R {
        let mut medium = self
            .medium
            .take()
            .expect("set by prove, and put back below");
        let ctx = Arc::clone(&self.ctx);
        let span = tracing::Span::current();
        let (medium, result) = blocking(move || {
            let _entered = span.enter();
            let result = work(&mut medium, &ctx);
            (medium, result)
        })
        .await;
        self.medium = Some(medium);
        result
    }

    /// Asks until there is an answer or the hold is over.
    async fn insist<'q, A>(&self, ask: impl Fn() -> Asking<'q, A>) -> Result<A, Trouble> {
        let mut pause = Duration::from_millis(100);
        loop {
            let answer = tokio::select! {
                answer = ask() => answer,
                refusal = self.lease.until_lost() => return Err(Trouble::Lost(refusal)),
            };
            match answer {
                Ok(answer) => return Ok(answer),
                Err(error) if error.is_retryable() => {
                    self.lease.check().map_err(Trouble::Lost)?;
                    tracing::warn!(%error, "asking again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_RETRY);
                }
                Err(CallError::Refused(refusal)) => {
                    return Err(match refusal.code {
                        Code::FenceLost
                        | Code::AgentLost
                        | Code::Unauthorized
                        | Code::Forbidden => Trouble::Lost(refusal),
                        _ => Trouble::Passing(refusal),
                    });
                }
                Err(CallError::Unreachable(text)) => return Err(not_as_agreed(&text)),
            }
        }
    }
}

/// Lets drive and volume go, saying what was wrong. Tried a few times only.
pub(crate) async fn close(
    ctx: &Context,
    lease: &Lease,
    volume_fault: Option<Refusal>,
    drive_fault: Option<Refusal>,
) {
    let question = Close {
        session: lease.reference(),
        volume_fault,
        drive_fault,
    };
    for attempt in 1..=CLOSE_TRIES {
        match ctx.control.close(&question).await {
            Ok(Ack { .. }) => break,
            Err(error) if error.is_retryable() && attempt < CLOSE_TRIES => {
                tokio::time::sleep(Duration::from_millis(200) * attempt).await;
            }
            Err(error) => tracing::warn!(%error, "the session was not closed, it will run out"),
        }
    }
    if let Err(refusal) = ctx.journal.closed(lease.session().id) {
        tracing::error!(%refusal, "the journal");
    }
    let over = Refusal::new(Code::FenceLost, "the session is closed");
    lease.end(&over);
}

/// Runs something that blocks beside the runtime; a panic goes on here.
pub(crate) async fn blocking<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> R {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that is going away cancels a blocking task before it began.
            Err(_) => std::future::pending().await,
        },
    }
}

/// A time as `wait_ms`.
pub(crate) fn poll_ms(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).map_or(MAX_WAIT_MS, |ms| ms.min(MAX_WAIT_MS))
}

fn not_as_agreed(text: &str) -> Trouble {
    Trouble::Passing(Refusal::new(
        Code::Internal,
        format!("agent protocol: {text}"),
    ))
}
