//! Orders that are carried out once however often they are sent: an order comes with a key
//! of its caller's, and its answer is kept under that key.
//!
//! Two times bound a record, both looked at when it is read, never left to the table's own
//! deletion. An attempt counts as under way until the time that its function has left is
//! over: what was killed in the middle may be tried again. An answer is kept as long as
//! the keys of submissions. It costs two writes: one before, one after.

use std::time::Duration;

use jiff::Timestamp;
use model::{Code, Refusal, Sha256};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::catalogue::{Answer, Record, TRIES, Tx, from_item, later};
use crate::ports::{Condition, Item, Key, TableError};
use crate::{Control, digest};

/// The longest key in bytes.
const MAX_KEY_BYTES: usize = 255;
/// The largest answer that is kept, as JSON: within an item's 400 KB.
const MAX_KEPT_BYTES: usize = 300_000;

/// An order that may come again.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// Whose key it is: keys of different callers never meet.
    pub caller: &'a str,
    /// The caller's key, 1 to 255 bytes.
    pub key: &'a str,
    /// The digest of everything that the order says.
    pub payload: Sha256,
    /// How long this attempt may take at most.
    pub within: Duration,
}

/// What is to be done with an order.
#[derive(Clone, Debug, PartialEq)]
pub enum Begun {
    /// It is new: carry it out, and then say [`Control::finish_order`], or
    /// [`Control::forget_order`] where nothing was done.
    New(Attempt),
    /// It was carried out: this was the answer.
    Done(Value),
}

/// The right to carry out an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    key: Key,
    version: u64,
    record: OrderRecord,
}

/// An order as it lies in the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct OrderRecord {
    id: Sha256,
    payload: Sha256,
    /// Until when an attempt is under way; none where it is done.
    under_way_until: Option<Timestamp>,
    expires: Timestamp,
    answer: Option<Value>,
}

impl Record for OrderRecord {
    fn key(&self) -> Key {
        Key::new(format!("ORDER#{}", self.id), "META")
    }

    fn expires_at(&self) -> Option<Timestamp> {
        Some(self.expires)
    }
}

impl Control {
    /// Takes the right to carry out an order, or finds what became of it.
    ///
    /// # Errors
    /// `IdempotencyMismatch` where the key was used for another order; `Conflict` while
    /// another attempt is under way: it is refused, never queued; `InvalidRequest` for a key
    /// that is none; `Transient` where the catalogue could not be asked.
    pub async fn begin_order(&self, order: Order<'_>) -> Answer<Begun> {
        if order.key.is_empty() || order.key.len() > MAX_KEY_BYTES {
            return Err(Refusal::new(
                Code::InvalidRequest,
                format!(
                    "expected 1 to {MAX_KEY_BYTES} bytes, found {}",
                    order.key.len()
                ),
            )
            .at("Idempotency-Key"));
        }
        let mut over = Condition::Absent;
        for _ in 0..TRIES {
            let now = self.now();
            let record = self.order_record(&order, now);
            let mut tx = Tx::new();
            match over {
                Condition::Version(version) => tx.replace(&record, version),
                _ => tx.create(&record),
            }
            let key = record.key();
            let old = match self.ports.table.transact(tx.writes).await {
                Ok(()) => {
                    let version = match over {
                        Condition::Version(version) => version + 1,
                        _ => 1,
                    };
                    return Ok(Begun::New(Attempt {
                        key,
                        version,
                        record,
                    }));
                }
                Err(TableError::Conflict { old: Some(old), .. }) => Some(*old),
                Err(TableError::Conflict { old: None, .. }) => self.ports.table.get(&key).await?,
                Err(error) => return Err(error.into()),
            };
            let Some(old) = old else {
                over = Condition::Absent;
                continue;
            };
            match judge(old, &order, now)? {
                Judged::Done(answer) => return Ok(Begun::Done(answer)),
                Judged::Free(version) => over = Condition::Version(version),
            }
        }
        Err(under_way())
    }

    fn order_record(&self, order: &Order<'_>, now: Timestamp) -> OrderRecord {
        let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        // A separator that neither half can have keeps pairs apart.
        let id =
            digest(format!("{}\n{}{}", order.caller.len(), order.caller, order.key).as_bytes());
        OrderRecord {
            id,
            payload: order.payload,
            under_way_until: Some(later(now, seconds(order.within).saturating_add(1))),
            expires: later(now, seconds(self.settings.idempotency)),
            answer: None,
        }
    }

    /// Keeps the answer of an order that was carried out. Where the attempt took longer than
    /// it said and another one began, that one's answer stands.
    ///
    /// # Errors
    /// `Conflict` in that case; `Transient` where the catalogue could not be asked.
    pub async fn finish_order(&self, attempt: Attempt, answer: Value) -> Answer<()> {
        let mut record = attempt.record;
        record.under_way_until = None;
        // What is too large to be kept was done all the same, and must not be done again.
        record.answer = (answer.to_string().len() <= MAX_KEPT_BYTES).then_some(answer);
        let mut tx = Tx::new();
        tx.replace(&record, attempt.version);
        self.transact(tx).await
    }

    /// Lets an order be tried again that was not carried out.
    ///
    /// # Errors
    /// As [`Control::finish_order`].
    pub async fn forget_order(&self, attempt: Attempt) -> Answer<()> {
        let mut tx = Tx::new();
        tx.delete(attempt.key, Condition::Version(attempt.version));
        self.transact(tx).await
    }
}

/// What an earlier record leaves to do.
enum Judged {
    Done(Value),
    /// Nothing stands in the way: take its place.
    Free(u64),
}

fn judge(old: Item, order: &Order<'_>, now: Timestamp) -> Answer<Judged> {
    let seen = from_item::<OrderRecord>(old)?;
    let record = seen.value;
    if record.expires <= now {
        return Ok(Judged::Free(seen.version));
    }
    if record.payload != order.payload {
        return Err(Refusal::new(
            Code::IdempotencyMismatch,
            "expected the order that the key was first used with, found another one",
        )
        .at("Idempotency-Key"));
    }
    match (record.under_way_until, record.answer) {
        (Some(until), _) if until > now => Err(under_way()),
        (Some(_), _) => Ok(Judged::Free(seen.version)),
        (None, Some(answer)) => Ok(Judged::Done(answer)),
        (None, None) => Err(Refusal::new(
            Code::AnswerTooLarge,
            format!("it was carried out; an answer over {MAX_KEPT_BYTES} bytes was not kept"),
        )),
    }
}

fn under_way() -> Refusal {
    Refusal::new(
        Code::Conflict,
        "expected no other attempt with this key under way, found one",
    )
    .at("Idempotency-Key")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::World;

    const FIVE: Duration = Duration::from_secs(5);

    fn order<'a>(caller: &'a str, key: &'a str, payload: &str) -> Order<'a> {
        Order {
            caller,
            key,
            payload: digest(payload.as_bytes()),
            within: FIVE,
        }
    }

    async fn new(control: &Control, order: Order<'_>) -> Attempt {
        match control.begin_order(order).await.unwrap() {
            Begun::New(attempt) => attempt,
            Begun::Done(answer) => panic!("expected a new order, found {answer}"),
        }
    }

    async fn code(control: &Control, order: Order<'_>) -> Code {
        control.begin_order(order).await.unwrap_err().code
    }

    #[tokio::test]
    async fn the_first_carries_out_and_the_second_hears_the_same() {
        let control = World::new(1).control();
        let attempt = new(&control, order("ci", "k", "p")).await;
        control
            .finish_order(attempt, json!({"id": 1}))
            .await
            .unwrap();
        let again = control.begin_order(order("ci", "k", "p")).await;
        assert_eq!(again, Ok(Begun::Done(json!({"id": 1}))));
    }

    #[tokio::test]
    async fn a_key_stands_for_one_order_of_one_caller() {
        let control = World::new(1).control();
        let attempt = new(&control, order("ci", "k", "p")).await;
        let other = order("ci", "k", "another");
        assert_eq!(code(&control, other).await, Code::IdempotencyMismatch);
        control.finish_order(attempt, json!(1)).await.unwrap();
        assert_eq!(code(&control, other).await, Code::IdempotencyMismatch);
        new(&control, order("somebody else", "k", "another")).await;
        // Neither do pairs meet that read alike when joined.
        new(&control, order("c", "ik", "p")).await;
    }

    #[tokio::test]
    async fn a_duplicate_of_what_is_under_way_is_refused_at_once() {
        let control = World::new(1).control();
        let _under_way = new(&control, order("ci", "k", "p")).await;
        assert_eq!(code(&control, order("ci", "k", "p")).await, Code::Conflict);
    }

    #[tokio::test]
    async fn what_was_killed_in_the_middle_may_be_tried_again_after_its_time() {
        let world = World::new(1);
        let control = world.control();
        let killed = new(&control, order("ci", "k", "p")).await;
        world.clock.advance(FIVE);
        assert_eq!(code(&control, order("ci", "k", "p")).await, Code::Conflict);
        world.clock.advance(FIVE);
        let second = new(&control, order("ci", "k", "p")).await;
        // It was not killed but slow: the second attempt's answer stands.
        let late = control.finish_order(killed, json!("first")).await;
        assert_eq!(late.unwrap_err().code, Code::Conflict);
        control.finish_order(second, json!("second")).await.unwrap();
        let again = control.begin_order(order("ci", "k", "p")).await;
        assert_eq!(again, Ok(Begun::Done(json!("second"))));
    }

    #[tokio::test]
    async fn an_answer_is_kept_for_the_time_that_is_set_whatever_the_table_deletes() {
        let world = World::new(1);
        let control = world.control();
        let attempt = new(&control, order("ci", "k", "p")).await;
        control.finish_order(attempt, json!(1)).await.unwrap();
        let week = Duration::from_secs(7 * 24 * 3600);
        world
            .clock
            .advance(week.checked_sub(Duration::from_secs(1)).unwrap());
        let again = control.begin_order(order("ci", "k", "p")).await;
        assert_eq!(again, Ok(Begun::Done(json!(1))));
        world.clock.advance(Duration::from_secs(1));
        // Even for another order: the key is free.
        new(&control, order("ci", "k", "another")).await;
    }

    #[tokio::test]
    async fn what_failed_is_forgotten() {
        let control = World::new(1).control();
        let attempt = new(&control, order("ci", "k", "p")).await;
        control.forget_order(attempt).await.unwrap();
        new(&control, order("ci", "k", "another")).await;
    }

    #[tokio::test]
    async fn of_eight_at_once_one_carries_out() {
        let control = World::new(1).control();
        let asked = (0..8).map(|_| control.begin_order(order("ci", "k", "p")));
        let answers = futures::future::join_all(asked).await;
        let new = answers.iter().filter(|answer| answer.is_ok()).count();
        assert_eq!(new, 1);
    }

    #[tokio::test]
    async fn an_answer_too_large_to_keep_is_still_done_once() {
        let control = World::new(1).control();
        let attempt = new(&control, order("ci", "k", "p")).await;
        let large = json!("x".repeat(MAX_KEPT_BYTES));
        control.finish_order(attempt, large).await.unwrap();
        assert_eq!(
            code(&control, order("ci", "k", "p")).await,
            Code::AnswerTooLarge
        );
    }

    #[tokio::test]
    async fn a_key_that_is_none_is_refused() {
        let control = World::new(1).control();
        for key in ["", "k".repeat(256).as_str()] {
            assert_eq!(
                code(&control, order("ci", key, "p")).await,
                Code::InvalidRequest
            );
        }
    }
}
