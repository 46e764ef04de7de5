//! One drive's life: ask for a session, work in it, let it go, ask again.

use std::sync::Arc;
use std::time::Duration;

use model::work::OpenSession;
use model::{Code, DriveSerial, Refusal, WriteSession};
use tracing::Instrument as _;

use crate::agent::Context;
use crate::lease::Lease;
use crate::policy::Experience;
use crate::session::{self, Session};
use crate::trouble::{Strikes, Trouble};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Works with one drive until the agent stops or the drive is out of service.
pub(crate) async fn drive_worker(ctx: Arc<Context>, drive: DriveSerial) {
    let mut strikes = Strikes::default();
    let mut experience = Experience::default();
    let mut pause = FIRST_PAUSE;
    while !ctx.is_stopping() {
        if let Some(fault) = ctx.library.fault(&drive) {
            tracing::warn!(%drive, refusal = %fault, "idle until the agent is started again");
            ctx.until_stopping().await;
            return;
        }
        let well = match open(&ctx, &drive).await {
            Ok(None) => true,
            Ok(Some(granted)) => {
                let span = tracing::info_span!(
                    "session", session = %granted.id, %drive, volume = %granted.volume,
                    fence = %granted.fence
                );
                in_session(&ctx, granted, &mut strikes, &mut experience)
                    .instrument(span)
                    .await
            }
            Err(refusal) => {
                tracing::warn!(%drive, %refusal, "no session");
                false
            }
        };
        if well {
            pause = FIRST_PAUSE;
        } else {
            ctx.pause(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

async fn open(ctx: &Context, drive: &DriveSerial) -> Result<Option<WriteSession>, Refusal> {
    let question = OpenSession {
        agent: ctx.agent.clone(),
        instance: ctx.instance.clone(),
        library: ctx.library.id().clone(),
        drive: drive.clone(),
        mounted: ctx.library.mounted(drive),
        wait_ms: session::poll_ms(ctx.pace.poll),
    };
    let asked = tokio::time::Instant::now();
    let answer = tokio::select! {
        answer = ctx.control.open(&question) => answer,
        () = ctx.until_stopping() => return Ok(None),
    };
    match answer {
        Ok(answer) => {
            if answer.session.is_none() && asked.elapsed() < FIRST_PAUSE {
                // A control plane that does not hold the poll must not be asked in a ring.
                ctx.pause(FIRST_PAUSE).await;
            }
            Ok(answer.session)
        }
        Err(error) => Err(Refusal::new(Code::Transient, error.to_string())),
    }
}

/// One session from grant to close. True when it ended well.
async fn in_session(
    ctx: &Arc<Context>,
    granted: WriteSession,
    strikes: &mut Strikes,
    experience: &mut Experience,
) -> bool {
    if let Err(refusal) = ctx.journal.grant(&granted) {
        tracing::error!(%refusal, "the session is not begun");
        return false;
    }
    let lease = Lease::new(
        granted,
        Arc::clone(&ctx.journal),
        Arc::clone(&ctx.clock),
        ctx.pace.skew,
    );
    let keeper = AbortOnDrop(tokio::spawn(lease.clone().keep(Arc::clone(&ctx.control))));
    let session = Session::new(Arc::clone(ctx), lease.clone(), strikes, experience);
    let result = session.work().await;
    let (volume_fault, drive_fault, well) = match result {
        Ok(()) => (None, None, true),
        Err(Trouble::Lost(refusal)) => {
            lease.lose(&refusal);
            return false;
        }
        Err(trouble) => {
            tracing::warn!(refusal = %trouble.refusal(), ?trouble, "the session cannot go on");
            let drive_fault = strikes.count(&trouble);
            match trouble {
                Trouble::Volume(refusal) => {
                    let well = refusal.code == Code::VolumeFull;
                    (Some(refusal), drive_fault, well)
                }
                _ => (None, drive_fault, false),
            }
        }
    };
    if let Some(fault) = &drive_fault {
        ctx.library.take_down(&lease.session().drive, fault);
        ctx.moved.notify_one();
    }
    session::close(ctx, &lease, volume_fault, drive_fault).await;
    drop(keeper);
    well
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
