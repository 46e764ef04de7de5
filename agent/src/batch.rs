//! Writing: many checkpoints back to back, one synchronous filemark, one report.
//!
//! The ladder of a batch: records and buffered filemarks → one synchronous filemark →
//! READ POSITION equals what was counted → journal → report. What fails before the
//! filemark takes the whole batch with it, because nothing since the last proof is known
//! to be on the medium; what fails within one checkpoint's artifacts takes only that one.

use std::time::{Duration, Instant};

use model::work::{Outcome, WorkResult, WriteOrder};
use model::{Code, Placement, Refusal, WorkKey};
use stream::{Flow, StreamError, Written, write_batch};

use crate::agent::Context;
use crate::kill::KillPoints;
use crate::lease::Lease;
use crate::medium::Medium;
use crate::policy::Batch;
use crate::session::Session;
use crate::trouble::Trouble;

/// A batch that no synchronous filemark has made durable yet.
#[derive(Default)]
struct Open {
    size: Batch,
    written: Vec<(WorkKey, Placement)>,
    failed: Vec<WorkResult>,
    returned: Vec<WorkKey>,
    /// The volume takes no more.
    full: bool,
}

/// What became of the items of one claim.
#[derive(Default)]
struct Wrote {
    written: Vec<(WorkKey, Written)>,
    failed: Vec<(WorkKey, Refusal)>,
    /// Not begun.
    rest: Vec<(WorkKey, WriteOrder)>,
    full: bool,
    /// What ended the writing, and the item under which it did.
    broken: Option<Trouble>,
}

impl Session<'_> {
    /// Writes a batch that begins with `items`, and reports it.
    pub(crate) async fn write_batch(
        &mut self,
        items: Vec<(WorkKey, WriteOrder)>,
    ) -> Result<(), Trouble> {
        let mut open = Open::default();
        let mut items = items;
        loop {
            items = self.write_some(&mut open, items).await?;
            let ends = open.full || self.ctx.is_stopping() || self.lease.is_yielding();
            let room = open.size.room(&self.ctx.batch).filter(|_| !ends);
            let Some((room, bytes)) = room else {
                break;
            };
            if !items.is_empty() {
                continue;
            }
            self.lease.doing(format!(
                "{} checkpoints written, waiting for more",
                open.size.checkpoints
            ));
            let room = self.experience.claim_items(room);
            // An empty queue is seen without waiting first: most batches end there.
            (items, _) = self.claim_writes(room, bytes, Duration::ZERO).await?;
            let patience = self.experience.patience(&self.ctx.batch);
            if items.is_empty() && patience >= Duration::from_millis(1) {
                (items, _) = self.claim_writes(room, bytes, patience).await?;
            }
            if items.is_empty() {
                break;
            }
        }
        for (key, _) in items {
            if open.full {
                open.failed.push(failed(key, volume_full()));
            } else {
                open.returned.push(key);
            }
        }
        self.end_batch(open).await
    }

    /// Writes what the batch has room for; returns what it has not.
    async fn write_some(
        &mut self,
        open: &mut Open,
        items: Vec<(WorkKey, WriteOrder)>,
    ) -> Result<Vec<(WorkKey, WriteOrder)>, Trouble> {
        self.lease
            .doing(format!("writing {} checkpoints", items.len()));
        let lease = self.lease.clone();
        let size = open.size;
        let wrote = self
            .on_medium(move |medium, ctx| write_items(medium, ctx, &lease, size, items))
            .await;
        for (key, written) in wrote.written {
            open.size.add(written.placement.bytes());
            self.unverified = self.unverified.plus(written.placement.bytes());
            open.written.push((key, written.placement));
        }
        for (key, refusal) in wrote.failed {
            tracing::warn!(work = %key, %refusal, "the checkpoint is not written");
            // Counts as an item, so that one report holds the batch.
            open.size.checkpoints += 1;
            open.failed.push(failed(key, refusal));
        }
        open.full |= wrote.full;
        match wrote.broken {
            None => Ok(wrote.rest),
            Some(trouble) => {
                let rest = wrote.rest.into_iter().map(|(key, _)| key).collect();
                Err(self.give_up(std::mem::take(open), rest, trouble).await)
            }
        }
    }

    /// Makes the batch durable, proves it, reports it.
    async fn end_batch(&mut self, open: Open) -> Result<(), Trouble> {
        let checkpoints = open.written.len();
        if checkpoints == 0 && !open.full {
            return self.complete(results(open), None).await.map(drop);
        }
        self.lease
            .doing(format!("making {checkpoints} checkpoints durable"));
        let lease = self.lease.clone();
        let synced = self
            .on_medium(move |medium, ctx| {
                ctx.kill.reach(KillPoints::AFTER_RECORDS);
                let Medium::Writing(writer) = medium else {
                    return Err(not_writable());
                };
                let began = Instant::now();
                let position = writer.sync().map_err(|error| trouble_of(&lease, &error))?;
                Ok((position, writer.used(), began.elapsed()))
            })
            .await;
        let (position, used, took) = match synced {
            Ok(synced) => synced,
            Err(trouble) => return Err(self.give_up(open, Vec::new(), trouble).await),
        };
        self.experience.synchronized(took);
        self.strikes.clear();
        let session = self.lease.session();
        self.ctx
            .journal
            .proven(&session.volume, session.uuid, &position)
            .map_err(Trouble::Passing)?;
        self.ctx.kill.reach(KillPoints::AFTER_FILEMARK);
        let full = open.full;
        let bytes = open.size.bytes;
        self.complete(results(open), Some((position, used))).await?;
        self.ctx.kill.reach(KillPoints::AFTER_REPORT);
        tracing::info!(
            checkpoints,
            bytes = bytes.0,
            ?took,
            full,
            "a batch is on tape"
        );
        if full {
            return Err(self.finish_volume().await);
        }
        Ok(())
    }

    /// Ends a full volume with an index. Without one the volume is read just as well, so
    /// that no failure here counts.
    async fn finish_volume(&mut self) -> Trouble {
        self.lease.doing("writing the index of a full volume");
        let indexed = self
            .on_medium(move |medium, ctx| match medium {
                Medium::Writing(writer) => {
                    let position = writer.write_index((ctx.clock)())?;
                    Ok(Some((position, writer.used())))
                }
                Medium::Reading(_) => Ok::<_, volume::VolumeError>(None),
            })
            .await;
        match indexed {
            Ok(Some(written)) => {
                if let Err(trouble) = self.complete(Vec::new(), Some(written)).await {
                    return trouble;
                }
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "the full volume has no index"),
        }
        self.lease
            .lost()
            .map_or_else(|| Trouble::Volume(volume_full()), Trouble::Lost)
    }

    /// Nothing of the batch counts. A fault of the volume is told for each item, so that
    /// it is placed elsewhere; after anything else the next session looks at what is on
    /// the tape before anybody decides.
    async fn give_up(&mut self, open: Open, rest: Vec<WorkKey>, trouble: Trouble) -> Trouble {
        let Trouble::Volume(refusal) = &trouble else {
            return trouble;
        };
        let lost = open.written.into_iter().map(|(key, _)| key).chain(rest);
        let mut results = open.failed;
        results.extend(lost.map(|key| failed(key, refusal.clone())));
        match self.complete(results, None).await {
            Ok(_) => trouble,
            Err(worse) => worse,
        }
    }
}

fn write_items(
    medium: &mut Medium,
    ctx: &Context,
    lease: &Lease,
    mut size: Batch,
    items: Vec<(WorkKey, WriteOrder)>,
) -> Wrote {
    let mut wrote = Wrote::default();
    let Medium::Writing(writer) = medium else {
        return Wrote {
            rest: items,
            broken: Some(not_writable()),
            ..wrote
        };
    };
    if let Err(error) = writer.resume() {
        return Wrote {
            rest: items,
            broken: Some(trouble_of(lease, &error)),
            ..wrote
        };
    }
    let mut done = 0;
    let mut broken = None;
    write_batch(
        writer,
        items.iter().map(|(key, order)| (key, order)),
        &ctx.data.source,
        &ctx.data.keys.sealer,
        &ctx.data.options,
        &mut || (ctx.clock)(),
        &mut |at, result| {
            let (key, order) = &items[at];
            done = at + 1;
            match result {
                Ok(written) => {
                    tracing::debug!(
                        run = %order.run, checkpoint = %order.checkpoint, work = %key,
                        bytes = written.placement.bytes().0, "written"
                    );
                    size.add(written.placement.bytes());
                    wrote.full |= written.early_warning;
                    wrote.written.push((key.clone(), written));
                }
                Err(StreamError::Volume(error)) if error.ends_writing() => {
                    broken = Some(trouble_of(lease, &error));
                    done = at;
                }
                Err(StreamError::NotBegun(_)) => done = at,
                Err(error) => {
                    size.checkpoints += 1;
                    wrote.failed.push((key.clone(), error.refusal()));
                }
            }
            let goes_on = broken.is_none()
                && done > at
                && !wrote.full
                && size.room(&ctx.batch).is_some()
                && !ctx.is_stopping();
            if goes_on { Flow::Continue } else { Flow::Stop }
        },
    );
    wrote.full |= writer.early_warning();
    wrote.rest = items.into_iter().skip(done).collect();
    wrote.broken = broken;
    wrote
}

fn results(open: Open) -> Vec<WorkResult> {
    let written = open.written.into_iter().map(|(key, placement)| WorkResult {
        key,
        outcome: Outcome::Written { placement },
    });
    let returned = open.returned.into_iter().map(|key| WorkResult {
        key,
        outcome: Outcome::Returned,
    });
    written.chain(open.failed).chain(returned).collect()
}

fn failed(key: WorkKey, refusal: Refusal) -> WorkResult {
    WorkResult {
        key,
        outcome: Outcome::Failed { refusal },
    }
}

/// What a failure means; a hold that was lost under way explains all of them.
pub(crate) fn trouble_of(lease: &Lease, error: &volume::VolumeError) -> Trouble {
    lease
        .lost()
        .map_or_else(|| Trouble::of_volume(error), Trouble::Lost)
}

fn volume_full() -> Refusal {
    Refusal::new(
        Code::VolumeFull,
        "the drive gave warning of the end of the medium",
    )
}

fn not_writable() -> Trouble {
    Trouble::Passing(Refusal::new(
        Code::Internal,
        "asked to write in a session for reading",
    ))
}
