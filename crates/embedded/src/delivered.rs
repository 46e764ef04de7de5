//! Removes what was brought back once there was time to fetch it.
//!
//! A delivered restore is plaintext: what lies on tape is sealed, what lies here is not.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use control::{Control, Principal, RestoreState, RestoreView};
use jiff::{SignedDuration, Timestamp};
use model::{Code, Refusal, RestoreId};
use tokio_util::sync::CancellationToken;

/// For how long a delivered restore is kept. Shorter than a day, and who asks in the evening
/// finds nothing in the morning; longer, and plaintext piles up that nobody comes for.
pub(crate) const KEEP: SignedDuration = SignedDuration::from_hours(24);
/// How often to look: what is kept for a day may be kept for ten minutes more.
const LOOK_EVERY: Duration = Duration::from_secs(600);

/// The directories of deliveries.
#[derive(Clone)]
pub(crate) struct Deliveries {
    restores: PathBuf,
    unfinished: PathBuf,
}

impl Deliveries {
    /// Those of an installation.
    pub(crate) fn of(data_dir: &Path) -> Self {
        Self {
            restores: data_dir.join("restore"),
            unfinished: data_dir.join("tmp"),
        }
    }

    /// Requests made before a time whose directory is there. Their ids hold the time.
    fn made_before(&self, time: Timestamp) -> io::Result<Vec<RestoreId>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.restores)? {
            let name = entry?.file_name();
            let id = name
                .to_str()
                .and_then(|name| name.parse::<RestoreId>().ok());
            found.extend(id.filter(|id| requested_at(*id).is_some_and(|at| at <= time)));
        }
        Ok(found)
    }

    /// Takes the directory away in one step, so that no half of it is ever delivered, and
    /// then its files. What a crash leaves is removed with `tmp/` at the next start.
    fn remove(&self, id: RestoreId) -> io::Result<()> {
        let going = self.unfinished.join(format!("restore-{id}"));
        fs::rename(self.restores.join(id.to_string()), &going)?;
        fs::remove_dir_all(&going)
    }

    /// Removes what is over since `keep`, as `view` tells of each request; says how many.
    async fn expire<F>(
        &self,
        now: Timestamp,
        keep: SignedDuration,
        view: impl Fn(RestoreId) -> F,
    ) -> io::Result<usize>
    where
        F: Future<Output = Result<RestoreView, Refusal>>,
    {
        let Ok(before) = now.checked_sub(keep) else {
            return Ok(0);
        };
        let this = self.clone();
        let mut removed = 0;
        for id in blocking(move || this.made_before(before)).await? {
            if is_over(view(id).await, before) {
                let this = self.clone();
                match blocking(move || this.remove(id)).await {
                    Ok(()) => {
                        tracing::info!(restore = %id, "what was brought back is removed");
                        removed += 1;
                    }
                    // The others go all the same.
                    Err(error) => tracing::warn!(restore = %id, %error, "it cannot be removed"),
                }
            }
        }
        Ok(removed)
    }
}

/// Removes delivered restores after `keep` until cancelled.
pub(crate) async fn sweep(
    control: Control,
    deliveries: Deliveries,
    keep: SignedDuration,
    stop: CancellationToken,
) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let view = |id| {
            let control = control.clone();
            async move { control.restore_view(&Principal::Operator, id).await }
        };
        if let Err(error) = deliveries.expire(Timestamp::now(), keep, view).await {
            tracing::warn!(%error, "delivered restores could not be removed");
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}

fn requested_at(id: RestoreId) -> Option<Timestamp> {
    let (seconds, _) = id.0.get_timestamp()?.to_unix();
    Timestamp::from_second(i64::try_from(seconds).ok()?).ok()
}

/// True where nobody fills the directory any more and the time to fetch it has passed. A
/// request that the catalogue does not have was never made whole.
fn is_over(found: Result<RestoreView, Refusal>, before: Timestamp) -> bool {
    match found {
        Ok(view) if view.state == RestoreState::Waiting => false,
        Ok(view) => view.finished_at.unwrap_or(view.requested_at) <= before,
        Err(refusal) => refusal.code == Code::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use control::ports::Clock;
    use control::testing::ManualClock;
    use model::{Bytes, CheckpointId};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    struct Place {
        data: tempfile::TempDir,
        clock: ManualClock,
        catalogue: BTreeMap<RestoreId, RestoreView>,
    }

    impl Place {
        fn new() -> Self {
            let data = tempfile::tempdir().unwrap();
            fs::create_dir(data.path().join("restore")).unwrap();
            fs::create_dir(data.path().join("tmp")).unwrap();
            Self {
                data,
                clock: ManualClock::default(),
                catalogue: BTreeMap::new(),
            }
        }

        /// A request made now, with a file in its directory.
        fn ask(&mut self, n: u8) -> RestoreId {
            let now = self.clock.now();
            let millis = u64::try_from(now.as_millisecond()).unwrap();
            let id = RestoreId::from_parts(millis, &[n; 10]);
            let directory = self.directory(id).join("bin");
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join("app"), "plaintext").unwrap();
            let view = RestoreView {
                id,
                checkpoint: CheckpointId::from_parts(1, &[1; 10]),
                state: RestoreState::Waiting,
                requested_at: now,
                finished_at: None,
                delivered: None,
                artifacts: 1,
                bytes: Bytes(9),
            };
            self.catalogue.insert(id, view);
            id
        }

        fn end(&mut self, id: RestoreId, state: RestoreState) {
            let view = self.catalogue.get_mut(&id).unwrap();
            view.state = state;
            view.finished_at = Some(self.clock.now());
        }

        fn directory(&self, id: RestoreId) -> PathBuf {
            self.data.path().join("restore").join(id.to_string())
        }

        async fn expire(&self) -> usize {
            let view = async |id| {
                let unknown = || Refusal::new(Code::NotFound, "no such request");
                self.catalogue.get(&id).cloned().ok_or_else(unknown)
            };
            let deliveries = Deliveries::of(self.data.path());
            let now = self.clock.now();
            deliveries.expire(now, KEEP, view).await.unwrap()
        }
    }

    #[tokio::test]
    async fn what_was_brought_back_is_kept_for_a_day_after_it_is_whole() {
        let mut place = Place::new();
        let (slow, quick, failed) = (place.ask(1), place.ask(2), place.ask(3));
        place.end(quick, RestoreState::Done);
        let refusal = Refusal::new(Code::MediaError, "a bad record");
        place.end(failed, RestoreState::Failed { refusal });
        place.clock.advance(24 * HOUR - Duration::from_secs(1));
        assert_eq!(place.expire().await, 0, "a day is not over");

        place.clock.advance(Duration::from_secs(1));
        assert_eq!(place.expire().await, 2);
        assert!(!place.directory(quick).exists() && !place.directory(failed).exists());
        assert!(
            place.directory(slow).join("bin/app").exists(),
            "being filled"
        );
        let left = fs::read_dir(place.data.path().join("tmp")).unwrap().count();
        assert_eq!(left, 0, "nothing remains elsewhere");

        place.clock.advance(100 * HOUR);
        place.end(slow, RestoreState::Done);
        place.clock.advance(23 * HOUR);
        assert_eq!(place.expire().await, 0, "the day begins when it is whole");
        place.clock.advance(HOUR);
        assert_eq!(place.expire().await, 1);
        assert!(!place.directory(slow).exists());
    }

    #[tokio::test]
    async fn only_what_is_certainly_over_is_removed() {
        let mut place = Place::new();
        let unknown = place.ask(1);
        place.catalogue.clear();
        let foreign = place.data.path().join("restore/notes");
        fs::create_dir(&foreign).unwrap();
        place.clock.advance(25 * HOUR);
        let deliveries = Deliveries::of(place.data.path());
        let silent = async |_| Err(Refusal::new(Code::Transient, "the catalogue is away"));
        let now = place.clock.now();
        assert_eq!(deliveries.expire(now, KEEP, silent).await.unwrap(), 0);
        assert!(place.directory(unknown).exists());
        assert_eq!(
            place.expire().await,
            1,
            "a request that was never made whole"
        );
        assert!(!place.directory(unknown).exists() && foreign.exists());
    }
}
