//! The bell that wakes agents, on SQS.
//!
//! One standard queue for an installation. A ring is a message; a function that waits for
//! work holds a long poll of the queue. Which work there is stands in the table: a lost ring
//! costs the time until the waiting ends and the agent asks again, at most 20 s by default,
//! and a ring too many costs a look into the table.
//!
//! A queue gives each message to one of those who wait, and a ring is for all of them. So a
//! ring is a batch of [`COPIES`] messages: one request, as many waiters woken as an
//! installation has drives that wait at once (the others wait their poll out). Who gets a
//! copy of a ring that it heard already, or one from before it looked, deletes it and waits
//! on. A message for another library is left to its own waiters for [`OTHERS_TIME`].
//!
//! # What it costs
//!
//! A waiting drive asks three times a minute: 129,600 requests in 30 days. At 8,470
//! checkpoints a week some 110,000 rings a month (dispatched, read back, ended) with four
//! deletes each and the polls that they end: a million. Four drives and that are 1.5 million
//! requests a month, of which the first million is free, at USD 0.40 a million: **USD 0.20
//! to 0.60**.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName, SendMessageBatchRequestEntry};
use control::ports::WorkQueue;
use jiff::Timestamp;
use model::LibraryId;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::Connection;
use crate::client::listening_timeouts;

/// Messages of one ring, 1 to 10 (API reference, SendMessageBatch).
const COPIES: usize = 4;
/// The longest long poll in seconds (API reference, ReceiveMessage).
const MAX_POLL: u64 = 20;
/// For how long a received message is hidden from the others: what a delete takes, with room.
const HIDDEN_SECONDS: i32 = 2;
/// How old a message for another library gets before it is deleted: the longest wait of an
/// agent, so that whoever was there has looked since.
const OTHERS_TIME: Duration = Duration::from_secs(30);
/// How much earlier than a look a message may have been sent and still count: what clocks
/// of AWS differ by, with room.
const SKEW_MS: u64 = 1_000;
/// Rings that are remembered as heard.
const HEARD: usize = 64;
/// Libraries whose rings are joined; more is no installation.
const BELLS: usize = 64;
/// The pause after the queue could not be asked.
const PAUSE: Duration = Duration::from_secs(1);

/// The bell of an installation, on a standard queue of SQS.
///
/// Needs `sqs:SendMessage` where work is made, and `sqs:ReceiveMessage` and
/// `sqs:DeleteMessage` where agents wait. The queue should keep messages for 60 s, the least
/// there is: a ring that nobody heard within that time means nothing.
#[derive(Clone)]
pub struct SqsBell(Arc<Inner>);

struct Inner {
    client: aws_sdk_sqs::Client,
    queue: String,
    bells: Mutex<HashMap<LibraryId, Arc<Bell>>>,
    heard: Mutex<VecDeque<String>>,
}

/// The rings of a library within this process.
#[derive(Default)]
struct Bell {
    asked: AtomicU64,
    /// The last one that a message stands for. Held while one is sent.
    sent: tokio::sync::Mutex<u64>,
}

/// What a message says.
#[derive(Serialize, Deserialize)]
struct Ring {
    library: LibraryId,
    /// The same in all copies.
    ring: String,
}

/// What to do about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Look into the table.
    Wake,
    /// It says nothing new.
    Drop,
    /// Somebody else's.
    Leave,
}

impl SqsBell {
    /// The bell on the queue of that URL, through a client built from the environment.
    pub async fn connect(connection: &Connection, queue: impl Into<String>) -> Self {
        Self::with_client(connection.sqs().await, queue)
    }

    /// The bell on the queue of that URL, through a client that somebody else set up.
    pub fn with_client(client: aws_sdk_sqs::Client, queue: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            client,
            queue: queue.into(),
            bells: Mutex::default(),
            heard: Mutex::default(),
        }))
    }

    fn bell(&self, library: &LibraryId) -> Arc<Bell> {
        let mut bells = unpoisoned(&self.0.bells);
        if let Some(bell) = bells.get(library) {
            return bell.clone();
        }
        if bells.len() >= BELLS {
            bells.clear();
        }
        bells.entry(library.clone()).or_default().clone()
    }

    async fn send(&self, library: &LibraryId) -> Result<(), String> {
        let mut id = [0; 12];
        getrandom::fill(&mut id).map_err(|error| error.to_string())?;
        let ring = Ring {
            library: library.clone(),
            ring: hex::encode(id),
        };
        let body = serde_json::to_string(&ring).map_err(|error| error.to_string())?;
        let entries = (0..COPIES)
            .map(|n| {
                SendMessageBatchRequestEntry::builder()
                    .id(n.to_string())
                    .message_body(&body)
                    .build()
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| error.to_string())?;
        let request = self.0.client.send_message_batch();
        let answer = request
            .queue_url(&self.0.queue)
            .set_entries(Some(entries))
            .send()
            .await
            .map_err(|error| DisplayErrorContext(&error).to_string())?;
        match answer.failed() {
            failed if failed.len() < COPIES => Ok(()),
            failed => Err(failed
                .first()
                .map(|entry| entry.code().to_owned())
                .unwrap_or_default()),
        }
    }

    /// One message, waited for at most so many seconds.
    async fn receive(&self, seconds: u64) -> Result<Option<Message>, String> {
        let limits =
            aws_sdk_sqs::config::Builder::new().timeout_config(listening_timeouts(seconds));
        let answer = self
            .0
            .client
            .receive_message()
            .queue_url(&self.0.queue)
            // One at a time: the other copies are for the others.
            .max_number_of_messages(1)
            .visibility_timeout(HIDDEN_SECONDS)
            .wait_time_seconds(i32::try_from(seconds).unwrap_or(0))
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .customize()
            .config_override(limits)
            .send()
            .await
            .map_err(|error| DisplayErrorContext(&error).to_string())?;
        Ok(answer.messages.unwrap_or_default().into_iter().next())
    }

    async fn delete(&self, message: &Message) {
        let Some(receipt) = message.receipt_handle() else {
            return;
        };
        let request = self.0.client.delete_message();
        let deleted = request
            .queue_url(&self.0.queue)
            .receipt_handle(receipt)
            .send()
            .await;
        if let Err(error) = deleted {
            // It comes again, and is known then.
            tracing::debug!(error = %DisplayErrorContext(&error), "a ring was not deleted");
        }
    }

    fn judge(&self, message: &Message, library: &LibraryId, ticket: u64) -> Verdict {
        let ring = message.body().map(serde_json::from_str::<Ring>);
        let Some(Ok(ring)) = ring else {
            return Verdict::Drop;
        };
        let sent = message
            .attributes()
            .and_then(|all| all.get(&MessageSystemAttributeName::SentTimestamp))
            .and_then(|at| at.parse::<u64>().ok())
            // A ring without a time may be new.
            .unwrap_or(u64::MAX);
        if ring.library != *library {
            let age = now_ms().saturating_sub(sent);
            return if u128::from(age) > OTHERS_TIME.as_millis() {
                Verdict::Drop
            } else {
                Verdict::Leave
            };
        }
        let mut heard = unpoisoned(&self.0.heard);
        if heard.contains(&ring.ring) {
            return Verdict::Drop;
        }
        if heard.len() >= HEARD {
            heard.pop_front();
        }
        heard.push_back(ring.ring);
        if sent.saturating_add(SKEW_MS) < ticket {
            return Verdict::Drop;
        }
        Verdict::Wake
    }
}

/// A list or a map of handles: whoever panicked left it whole.
fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now_ms() -> u64 {
    u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0)
}

#[async_trait]
impl WorkQueue for SqsBell {
    /// Rings that are asked for while one is sent become one more message.
    async fn ring(&self, library: &LibraryId) {
        let bell = self.bell(library);
        let mine = bell.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut sent = bell.sent.lock().await;
        if *sent >= mine {
            return;
        }
        let all = bell.asked.load(Ordering::SeqCst);
        if let Err(error) = self.send(library).await {
            tracing::warn!(%library, error, "the bell could not be rung");
        }
        *sent = all;
    }

    fn ticket(&self, _library: &LibraryId) -> u64 {
        now_ms()
    }

    async fn wait(&self, library: &LibraryId, ticket: u64, at_most: Duration) {
        let until = Instant::now() + at_most;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            // A long poll has whole seconds.
            if left < Duration::from_secs(1) {
                tokio::time::sleep(left).await;
                return;
            }
            let received = self.receive(left.as_secs().min(MAX_POLL)).await;
            let message = match received {
                Ok(Some(message)) => message,
                Ok(None) => continue,
                Err(error) => {
                    tracing::warn!(%library, error, "the bell could not be heard");
                    tokio::time::sleep(left.min(PAUSE)).await;
                    continue;
                }
            };
            match self.judge(&message, library, ticket) {
                Verdict::Wake => return self.delete(&message).await,
                Verdict::Drop => self.delete(&message).await,
                Verdict::Leave => {}
            }
        }
    }
}
