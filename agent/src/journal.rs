//! What the agent must not forget over a crash: the highest fence it has seen for each
//! drive and volume, where it last proved the end of a volume's data, and which session
//! it was in.
//!
//! An append-only file of lines `<crc32c, 8 hexadecimal digits> <JSON>`, each fsynced
//! before the agent acts on it. A line cut short by a crash can only be the last one; it
//! was never acted on and is cut off at the next start. A bad line anywhere else is rot
//! of the disk: the agent refuses to start rather than forget a fence. At start the file
//! is rewritten to what still counts (to a new file, fsync, rename, fsync of the
//! directory), so that it does not grow for ever. The file is locked: two agents with one
//! journal are one too many.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use model::{Barcode, DriveSerial, Fence, Refusal, SessionId, VolumePosition, VolumeUuid};
use model::{Code, WriteSession};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

const NAME: &str = "journal";

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    /// The disk.
    #[error("the agent's journal {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// Another agent has it.
    #[error("the agent's journal {path} is in use by another agent: stop that one first")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A line that is not the last one is damaged.
    #[error(
        "the agent's journal {path} is damaged in line {line}: restore it from a backup, or \
         remove it once you are sure that no other agent uses this library"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
    },
}

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
enum Entry {
    /// A session was granted; nothing has been done in it yet.
    Granted {
        session: SessionId,
        drive: DriveSerial,
        volume: Barcode,
        fence: Fence,
    },
    /// The end of a volume's data was proven behind a synchronous filemark.
    Proven {
        volume: Barcode,
        uuid: VolumeUuid,
        position: VolumePosition,
    },
    /// A session ended in order.
    Closed { session: SessionId },
    /// A fence without its session, written when the file is rewritten.
    Drive {
        drive: DriveSerial,
        fence: Fence,
        session: SessionId,
    },
    /// The same for a volume.
    Volume {
        volume: Barcode,
        fence: Fence,
        session: SessionId,
    },
}

/// What the lines add up to.
#[derive(Clone, Debug, Default, PartialEq)]
struct State {
    drives: BTreeMap<DriveSerial, (Fence, SessionId)>,
    volumes: BTreeMap<Barcode, (Fence, SessionId)>,
    proven: BTreeMap<Barcode, (VolumeUuid, VolumePosition)>,
    open: BTreeMap<SessionId, (DriveSerial, Barcode, Fence)>,
}

impl State {
    fn apply(&mut self, entry: &Entry) {
        match entry.clone() {
            Entry::Granted {
                session,
                drive,
                volume,
                fence,
            } => {
                self.drives.insert(drive.clone(), (fence, session));
                self.volumes.insert(volume.clone(), (fence, session));
                self.open.insert(session, (drive, volume, fence));
            }
            Entry::Proven {
                volume,
                uuid,
                position,
            } => {
                self.proven.insert(volume, (uuid, position));
            }
            Entry::Closed { session } => {
                self.open.remove(&session);
            }
            Entry::Drive {
                drive,
                fence,
                session,
            } => {
                self.drives.insert(drive, (fence, session));
            }
            Entry::Volume {
                volume,
                fence,
                session,
            } => {
                self.volumes.insert(volume, (fence, session));
            }
        }
    }

    /// The fewest lines that add up to this. Sessions left open by an earlier life are
    /// over by the protocol: their fences stay, they do not.
    fn entries(&self) -> Vec<Entry> {
        let drives = self
            .drives
            .iter()
            .map(|(drive, &(fence, session))| Entry::Drive {
                drive: drive.clone(),
                fence,
                session,
            });
        let volumes = self
            .volumes
            .iter()
            .map(|(volume, &(fence, session))| Entry::Volume {
                volume: volume.clone(),
                fence,
                session,
            });
        let proven = self
            .proven
            .iter()
            .map(|(volume, (uuid, position))| Entry::Proven {
                volume: volume.clone(),
                uuid: *uuid,
                position: position.clone(),
            });
        drives.chain(volumes).chain(proven).collect()
    }
}

/// The journal of one agent, open and locked.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    inner: Mutex<(File, State)>,
    _lock: File,
}

impl Journal {
    /// Opens the journal in `dir`, which is created where it is missing. Returns the
    /// sessions that an earlier life left open, too.
    ///
    /// # Errors
    /// [`JournalError`].
    pub(crate) fn open(dir: &Path) -> Result<(Self, Vec<SessionId>), JournalError> {
        let path = dir.join(NAME);
        let io = |source| JournalError::Io {
            path: path.clone(),
            source,
        };
        std::fs::create_dir_all(dir).map_err(io)?;
        let lock = dir.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(lock)
            .map_err(io)?;
        let operation = rustix::fs::FlockOperation::NonBlockingLockExclusive;
        if rustix::fs::flock(&lock, operation).is_err() {
            return Err(JournalError::InUse { path });
        }
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(io(error)),
        };
        let state = replay(&text).map_err(|line| JournalError::Damaged {
            path: path.clone(),
            line,
        })?;
        let left_open = state.open.keys().copied().collect();
        let fresh = dir.join("journal.new");
        let mut file = File::create(&fresh).map_err(io)?;
        for entry in state.entries() {
            file.write_all(&line(&entry)).map_err(io)?;
        }
        file.sync_all().map_err(io)?;
        std::fs::rename(&fresh, &path).map_err(io)?;
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(io)?;
        let inner = Mutex::new((
            file,
            State {
                open: BTreeMap::new(),
                ..state
            },
        ));
        Ok((
            Self {
                path,
                inner,
                _lock: lock,
            },
            left_open,
        ))
    }

    /// Notes a granted session, after checking that its fence is higher than every fence
    /// seen for its drive and its volume. On the disk when this returns.
    ///
    /// # Errors
    /// `FenceLost` for a fence that is not higher, `Internal` when the disk fails.
    pub(crate) fn grant(&self, session: &WriteSession) -> Result<(), Refusal> {
        let mut inner = self.inner.lock();
        let state = &inner.1;
        let seen = [
            (
                "drive",
                session.drive.as_str(),
                state.drives.get(&session.drive),
            ),
            (
                "volume",
                session.volume.as_str(),
                state.volumes.get(&session.volume),
            ),
        ];
        for (kind, name, highest) in seen {
            if let Some((fence, _)) = highest
                && session.fence <= *fence
            {
                return Err(Refusal::new(
                    Code::FenceLost,
                    format!(
                        "{kind} {name}: expected a fence above {fence}, found {}",
                        session.fence
                    ),
                ));
            }
        }
        self.append(
            &mut inner,
            Entry::Granted {
                session: session.id,
                drive: session.drive.clone(),
                volume: session.volume.clone(),
                fence: session.fence,
            },
        )
    }

    /// Checks that no higher fence has been seen since: asked before each positioning and
    /// each write. A look into memory.
    ///
    /// # Errors
    /// `FenceLost`.
    pub(crate) fn still_highest(&self, session: &WriteSession) -> Result<(), Refusal> {
        let inner = self.inner.lock();
        let drive = inner.1.drives.get(&session.drive);
        let volume = inner.1.volumes.get(&session.volume);
        for (_, holder) in [drive, volume].into_iter().flatten() {
            if *holder != session.id {
                return Err(Refusal::new(
                    Code::FenceLost,
                    format!("session {}: a newer one is {holder}", session.id),
                ));
            }
        }
        Ok(())
    }

    /// Notes where the end of a volume's data was proven. On the disk when this returns.
    ///
    /// # Errors
    /// `Internal` when the disk fails.
    pub(crate) fn proven(
        &self,
        volume: &Barcode,
        uuid: VolumeUuid,
        position: &VolumePosition,
    ) -> Result<(), Refusal> {
        let entry = Entry::Proven {
            volume: volume.clone(),
            uuid,
            position: position.clone(),
        };
        self.append(&mut self.inner.lock(), entry)
    }

    /// Where the end of this volume's data was last proven by this agent, if it ever was.
    pub(crate) fn last_proven(&self, volume: &Barcode, uuid: VolumeUuid) -> Option<VolumePosition> {
        let inner = self.inner.lock();
        let (seen, position) = inner.1.proven.get(volume)?;
        (*seen == uuid).then(|| position.clone())
    }

    /// Notes that a session ended in order.
    ///
    /// # Errors
    /// `Internal` when the disk fails.
    pub(crate) fn closed(&self, session: SessionId) -> Result<(), Refusal> {
        self.append(&mut self.inner.lock(), Entry::Closed { session })
    }

    fn append(&self, inner: &mut (File, State), entry: Entry) -> Result<(), Refusal> {
        let (file, state) = inner;
        file.write_all(&line(&entry))
            .and_then(|()| file.sync_data())
            .map_err(|source| {
                let error = JournalError::Io {
                    path: self.path.clone(),
                    source,
                };
                Refusal::new(Code::Internal, error.to_string())
            })?;
        state.apply(&entry);
        Ok(())
    }
}

fn line(entry: &Entry) -> Vec<u8> {
    let json = serde_json::to_string(entry).expect("an entry has no map keys but text");
    format!("{:08x} {json}\n", crc32c::crc32c(json.as_bytes())).into_bytes()
}

fn parse(line: &[u8]) -> Option<Entry> {
    let (crc, json) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    let crc = u32::from_str_radix(crc, 16).ok()?;
    if crc != crc32c::crc32c(json.as_bytes()) {
        return None;
    }
    serde_json::from_str(json).ok()
}

/// The state after all lines, without a last one that was cut short. `Err` is the number
/// of a damaged line that is not the last.
fn replay(text: &[u8]) -> Result<State, usize> {
    let mut state = State::default();
    let mut lines = text
        .split_inclusive(|byte| *byte == b'\n')
        .enumerate()
        .peekable();
    while let Some((index, line)) = lines.next() {
        match line.strip_suffix(b"\n").and_then(parse) {
            Some(entry) => state.apply(&entry),
            None if lines.peek().is_none() => {}
            None => return Err(index + 1),
        }
    }
    Ok(state)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn session(n: u8, drive: &str, volume: &str, fence: u64) -> WriteSession {
        WriteSession {
            id: SessionId::from_parts(u64::from(n), &[n; 10]),
            fence: Fence(fence),
            library: "lib".parse().unwrap(),
            drive: drive.parse().unwrap(),
            volume: volume.parse().unwrap(),
            pool: "main".parse().unwrap(),
            writable: true,
            uuid: VolumeUuid::from_parts(1, &[1; 10]),
            position: None,
            capacity: model::Bytes::gib(1),
            expires: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_fence_is_remembered_over_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(dir.path()).unwrap();
        journal.grant(&session(1, "D1", "V1", 7)).unwrap();
        drop(journal);
        let (journal, left_open) = Journal::open(dir.path()).unwrap();
        assert_eq!(left_open, [session(1, "D1", "V1", 7).id]);
        for stale in [session(2, "D1", "V2", 7), session(2, "D2", "V1", 6)] {
            assert_eq!(journal.grant(&stale).unwrap_err().code, Code::FenceLost);
        }
        journal.grant(&session(2, "D2", "V1", 8)).unwrap();
    }

    #[test]
    fn a_newer_session_ends_the_older_one() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(dir.path()).unwrap();
        let (old, new) = (session(1, "D1", "V1", 1), session(2, "D2", "V1", 2));
        journal.grant(&old).unwrap();
        journal.still_highest(&old).unwrap();
        journal.grant(&new).unwrap();
        assert_eq!(
            journal.still_highest(&old).unwrap_err().code,
            Code::FenceLost
        );
        journal.still_highest(&new).unwrap();
    }

    #[test]
    fn two_agents_cannot_share_a_journal() {
        let dir = tempfile::tempdir().unwrap();
        let first = Journal::open(dir.path()).unwrap();
        assert!(matches!(
            Journal::open(dir.path()),
            Err(JournalError::InUse { .. })
        ));
        drop(first);
        Journal::open(dir.path()).unwrap();
    }

    #[test]
    fn rot_before_the_last_line_is_not_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(dir.path()).unwrap();
        journal.grant(&session(1, "D1", "V1", 7)).unwrap();
        journal.closed(session(1, "D1", "V1", 7).id).unwrap();
        drop(journal);
        let path = dir.path().join(NAME);
        let mut text = std::fs::read(&path).unwrap();
        text[20] ^= 1;
        std::fs::write(&path, text).unwrap();
        assert!(matches!(
            Journal::open(dir.path()),
            Err(JournalError::Damaged { line: 1, .. })
        ));
    }

    proptest! {
        /// Cut anywhere, the journal holds a prefix of what was noted, and the rewritten
        /// one the same.
        #[test]
        fn a_cut_anywhere_forgets_only_the_line_it_cuts(fences in prop::collection::vec(1_u64..9, 1..8), cut: prop::sample::Index) {
            let entries: Vec<_> = fences.iter().enumerate().map(|(n, fence)| Entry::Granted {
                session: SessionId::from_parts(n as u64, &[0; 10]),
                drive: "D".parse().unwrap(),
                volume: "V".parse().unwrap(),
                fence: Fence(*fence),
            }).collect();
            let mut ends = vec![0];
            let mut text = Vec::new();
            for entry in &entries {
                text.extend(line(entry));
                ends.push(text.len());
            }
            let cut = cut.index(text.len() + 1);
            let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
            let mut expected = State::default();
            entries[..whole].iter().for_each(|entry| expected.apply(entry));
            let state = replay(&text[..cut]).unwrap();
            prop_assert_eq!(&state, &expected);
            let rewritten: Vec<u8> = state.entries().iter().flat_map(line).collect();
            let again = replay(&rewritten).unwrap();
            prop_assert_eq!(again, State { open: BTreeMap::new(), ..expected });
        }
    }
}
