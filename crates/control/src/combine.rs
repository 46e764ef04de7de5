//! Combining: callers that come while a transaction is under way share the next one.
//!
//! Allocation and commit both change records that everybody shares (a volume's account,
//! the ledger's head). One transaction a caller would make them fail one another's
//! conditions; one transaction for all who wait costs one. Between processes the
//! conditions alone keep it correct: combining only spares conflicts.

use std::collections::VecDeque;
use std::future::Future;

use tokio::sync::{Mutex, oneshot};

/// At most so many questions are answered together.
pub(crate) const AT_ONCE: usize = 64;

/// Questions that wait for the next round.
pub(crate) struct Combiner<Q, A> {
    waiting: std::sync::Mutex<VecDeque<(Q, oneshot::Sender<A>)>>,
}

impl<Q, A> Default for Combiner<Q, A> {
    fn default() -> Self {
        Self {
            waiting: std::sync::Mutex::default(),
        }
    }
}

impl<Q, A> Combiner<Q, A> {
    /// Answers `question`, together with others that wait. `work` gives one answer a
    /// question, in order. None where the caller who did the work was dropped half way:
    /// the transaction may or may not have happened.
    pub(crate) async fn ask<W, F>(&self, turn: &Mutex<()>, question: Q, work: W) -> Option<A>
    where
        W: Fn(Vec<Q>) -> F,
        F: Future<Output = Vec<A>>,
    {
        let (sender, mut receiver) = oneshot::channel();
        self.queue().push_back((question, sender));
        let _turn = turn.lock().await;
        loop {
            match receiver.try_recv() {
                Ok(answer) => return Some(answer),
                Err(oneshot::error::TryRecvError::Closed) => return None,
                Err(oneshot::error::TryRecvError::Empty) => {}
            }
            let (questions, senders): (Vec<_>, Vec<_>) = {
                let mut queue = self.queue();
                let count = queue.len().min(AT_ONCE);
                queue.drain(..count).unzip()
            };
            for (sender, answer) in senders.into_iter().zip(work(questions).await) {
                // A caller who went away needs no answer.
                let _ = sender.send(answer);
            }
        }
    }

    fn queue(&self) -> std::sync::MutexGuard<'_, VecDeque<(Q, oneshot::Sender<A>)>> {
        self.waiting
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn those_who_wait_share_a_round_and_each_gets_its_own_answer() {
        let combiner = Combiner::default();
        let turn = Mutex::new(());
        let rounds = AtomicUsize::new(0);
        let asked = (0..200).map(|n| {
            combiner.ask(&turn, n, |questions: Vec<usize>| {
                rounds.fetch_add(1, Ordering::Relaxed);
                async move {
                    tokio::task::yield_now().await;
                    questions.into_iter().map(|n| n * 2).collect()
                }
            })
        });
        let answers = futures::future::join_all(asked).await;
        assert_eq!(answers, (0..200).map(|n| Some(n * 2)).collect::<Vec<_>>());
        assert!(rounds.load(Ordering::Relaxed) <= 5);
    }
}
