//! Replaying on all cores, in bounded memory.
//!
//! One thread reads lines and hands them out in chunks; the others parse, decide and
//! count. What they counted is added up in the order of the file, so that a report does
//! not depend on how the threads ran.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Instant;

use super::{Settings, Summary, again};
use crate::generate;
use crate::records::{self, Reader, Recorded, RecordsError};
use crate::subject::Subject;

/// A chunk is full at so many records: enough that handing it out costs nothing beside
/// deciding it, few enough that all cores end at about the same time.
const CHUNK_RECORDS: usize = 256;

/// A chunk is full at so many bytes: with two chunks a thread under way, 8 threads hold
/// 64 MiB of lines at most, and one record of 8 MiB more each.
const CHUNK_BYTES: usize = 4 << 20;

/// Where records come from.
pub enum Source<R> {
    /// A file of them.
    Lines(R),
    /// Generated ones: [`generate::record`].
    Sampled {
        /// Which stream.
        seed: u64,
        /// How many.
        count: u64,
        /// How many requests each.
        size: usize,
    },
}

enum Chunk {
    Lines(Vec<(u64, Vec<u8>)>),
    Sampled {
        seed: u64,
        indices: Range<u64>,
        size: usize,
    },
}

impl Chunk {
    fn each(
        &self,
        mut act: impl FnMut(u64, Recorded) -> Result<(), RecordsError>,
    ) -> Result<(), RecordsError> {
        match self {
            Self::Lines(lines) => {
                for (line, text) in lines {
                    act(*line, records::parse(*line, text)?)?;
                }
            }
            Self::Sampled {
                seed,
                indices,
                size,
            } => {
                for index in indices.clone() {
                    act(index + 1, generate::record(*seed, index, *size))?;
                }
            }
        }
        Ok(())
    }
}

impl<R: BufRead> Source<R> {
    /// Hands out chunks until the source or the interest ends.
    ///
    /// # Errors
    /// [`RecordsError`], after everything before it was handed out.
    fn hand_out(self, mut to: impl FnMut(Chunk) -> bool) -> Result<(), RecordsError> {
        match self {
            Self::Lines(from) => {
                let mut reader = Reader::new(from);
                let mut chunk = Vec::new();
                let mut bytes = 0;
                loop {
                    let next = match reader.next_line() {
                        Ok(next) => next,
                        Err(error) => {
                            to(Chunk::Lines(chunk));
                            return Err(error);
                        }
                    };
                    let Some((line, text)) = next else {
                        to(Chunk::Lines(chunk));
                        return Ok(());
                    };
                    bytes += text.len();
                    chunk.push((line, text.to_vec()));
                    if chunk.len() == CHUNK_RECORDS || bytes >= CHUNK_BYTES {
                        bytes = 0;
                        if !to(Chunk::Lines(std::mem::take(&mut chunk))) {
                            return Ok(());
                        }
                    }
                }
            }
            Self::Sampled { seed, count, size } => {
                let mut from = 0;
                while from < count {
                    let until = count.min(from + CHUNK_RECORDS as u64);
                    let indices = from..until;
                    if !to(Chunk::Sampled {
                        seed,
                        indices,
                        size,
                    }) {
                        break;
                    }
                    from = until;
                }
                Ok(())
            }
        }
    }
}

type Counted = (u64, Result<Summary, RecordsError>);

/// Decides every record again. `progress` hears how many are done, now and then.
///
/// # Errors
/// The first [`RecordsError`] in the order of the file: nothing is reported then, because
/// a summary of half a file misleads.
pub fn replay<R: BufRead + Send>(
    source: Source<R>,
    subject: &dyn Subject,
    settings: &Settings,
    mut progress: impl FnMut(u64),
) -> Result<Summary, RecordsError> {
    let begun = Instant::now();
    let threads = settings.threads.get();
    let stop = AtomicBool::new(false);
    let stop = &stop;
    let (to_workers, chunks) = mpsc::sync_channel::<(u64, Chunk)>(threads);
    let chunks = Mutex::new(chunks);
    let (to_sum, counted) = mpsc::sync_channel::<Counted>(threads * 2);
    let mut summary = std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut number = 0;
            source.hand_out(|chunk| {
                number += 1;
                let wanted = !stop.load(Ordering::Relaxed);
                wanted && to_workers.send((number - 1, chunk)).is_ok()
            })
        });
        for _ in 0..threads {
            let (chunks, to_sum) = (&chunks, to_sum.clone());
            scope.spawn(move || {
                loop {
                    let next = chunks.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((number, chunk)) = next else { break };
                    let counted = count(&chunk, subject, settings);
                    let failed = counted.is_err();
                    if to_sum.send((number, counted)).is_err() || failed {
                        break;
                    }
                }
            });
        }
        drop(to_sum);
        let sum = add_up(counted, settings.keep, &mut progress);
        if sum.is_err() {
            // Nobody takes chunks any more: the reader ends when it finds that out.
            stop.store(true, Ordering::Relaxed);
            let chunks = chunks.lock().unwrap_or_else(PoisonError::into_inner);
            while chunks.recv().is_ok() {}
        }
        let read = reader.join();
        let sum = sum?;
        match read {
            Ok(read) => read.map(|()| sum),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })?;
    summary.seconds = begun.elapsed().as_secs_f64();
    summary.threads = threads;
    if summary.seconds > 0.0 {
        summary.per_second = summary.records as f64 / summary.seconds;
    }
    Ok(summary)
}

fn count(
    chunk: &Chunk,
    subject: &dyn Subject,
    settings: &Settings,
) -> Result<Summary, RecordsError> {
    let component = subject.component();
    let mut summary = Summary::default();
    chunk.each(|line, recorded| {
        let replayed = again(line, recorded, subject, component, settings)?;
        summary.count(replayed, settings.keep);
        Ok(())
    })?;
    Ok(summary)
}

/// Adds up in the order of the file. Chunks come out of order by at most as many as are
/// under way.
fn add_up(
    counted: mpsc::Receiver<Counted>,
    keep: usize,
    progress: &mut impl FnMut(u64),
) -> Result<Summary, RecordsError> {
    let mut sum = Summary::default();
    let mut early = BTreeMap::new();
    let mut next = 0;
    let mut failed: Option<(u64, RecordsError)> = None;
    for (number, result) in counted {
        match result {
            Ok(summary) => {
                early.insert(number, summary);
            }
            Err(error) => {
                // Chunks before it may still be under way, and fail earlier in the file.
                if failed.as_ref().is_none_or(|(first, _)| number < *first) {
                    failed = Some((number, error));
                }
            }
        }
        while let Some(summary) = early.remove(&next) {
            sum.add(summary, keep);
            next += 1;
            progress(sum.records);
        }
        if failed.as_ref().is_some_and(|(first, _)| *first == next) {
            break;
        }
    }
    match failed {
        Some((_, error)) => Err(error),
        None => Ok(sum),
    }
}
