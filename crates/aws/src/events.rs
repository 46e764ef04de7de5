//! Events on a bus of EventBridge.

use aws_sdk_eventbridge::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_eventbridge::primitives::DateTime;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use jiff::Timestamp;
use serde_json::Value;

use crate::Connection;

/// The most entries of a request (API reference, PutEvents).
const MAX_ENTRIES: usize = 10;
/// The most bytes of a request's entries together, as EventBridge counts them. 256 KB is
/// what every region and emulator takes; where a larger limit holds, ours are some
/// kilobytes all the same.
const MAX_BYTES: usize = 256 * 1024;
/// What a time counts (user guide, *Calculating PutEvents event entry size*).
const TIME_BYTES: usize = 14;
/// Rounds in which entries are sent again that EventBridge took no part of.
const ROUNDS: u32 = 3;

/// An event for the bus.
#[derive(Clone, Debug, PartialEq)]
pub struct BusEvent {
    /// Where it comes from, such as `tapemark`.
    pub source: String,
    /// Its kind (`detail-type`), such as `tapemark.checkpoint.committed.v1`.
    pub kind: String,
    /// When it happened.
    pub time: Timestamp,
    /// What happened, a JSON object: a CloudEvent.
    pub detail: Value,
}

impl BusEvent {
    fn bytes(&self, detail: &str) -> usize {
        TIME_BYTES + self.source.len() + self.kind.len() + detail.len()
    }
}

/// An event that is not on the bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotPut {
    /// Which one, from 0.
    pub index: usize,
    /// EventBridge's word, such as `ThrottlingException`; `TooLarge` and `Unavailable` are
    /// ours.
    pub code: String,
    /// What happened.
    pub message: String,
    /// True where the same event may be taken later.
    pub is_retryable: bool,
}

/// A bus of EventBridge. Needs `events:PutEvents` on it.
#[derive(Clone, Debug)]
pub struct EventBridge {
    client: aws_sdk_eventbridge::Client,
    bus: String,
}

impl EventBridge {
    /// The bus of that name, through a client built from the environment.
    pub async fn connect(connection: &Connection, bus: impl Into<String>) -> Self {
        Self::with_client(connection.event_bridge().await, bus)
    }

    /// The bus of that name, through a client that somebody else set up.
    pub fn with_client(client: aws_sdk_eventbridge::Client, bus: impl Into<String>) -> Self {
        Self {
            client,
            bus: bus.into(),
        }
    }

    /// Puts events onto the bus, in requests of at most 10 entries and 256 KB. What a
    /// request leaves behind is sent again up to three times. Says which are not there, by
    /// their index, lowest first; none is well. An event may come twice on the bus.
    pub async fn put(&self, events: &[BusEvent]) -> Vec<NotPut> {
        let mut failed = Vec::new();
        let mut waiting = Vec::new();
        for (index, event) in events.iter().enumerate() {
            let detail = event.detail.to_string();
            let bytes = event.bytes(&detail);
            if bytes <= MAX_BYTES {
                waiting.push((index, bytes, self.entry(event, detail)));
                continue;
            }
            failed.push(NotPut {
                index,
                code: "TooLarge".to_owned(),
                message: format!("expected at most {MAX_BYTES} bytes, found {bytes}"),
                is_retryable: false,
            });
        }
        for round in 1..=ROUNDS {
            let mut left = Vec::new();
            for some in batches(&waiting) {
                left.extend(self.put_some(some).await);
            }
            let again = |not: &NotPut| round < ROUNDS && not.is_retryable && is_partial(not);
            let (repeat, over): (Vec<_>, Vec<_>) = left.into_iter().partition(again);
            failed.extend(over);
            waiting.retain(|(index, ..)| repeat.iter().any(|not| not.index == *index));
            if waiting.is_empty() {
                break;
            }
        }
        failed.sort_unstable_by_key(|not| not.index);
        failed
    }

    fn entry(&self, event: &BusEvent, detail: String) -> PutEventsRequestEntry {
        PutEventsRequestEntry::builder()
            .event_bus_name(&self.bus)
            .source(&event.source)
            .detail_type(&event.kind)
            .time(DateTime::from_millis(event.time.as_millisecond()))
            .detail(detail)
            .build()
    }

    async fn put_some(&self, some: &[Waiting]) -> Vec<NotPut> {
        let entries = some.iter().map(|(.., entry)| entry.clone()).collect();
        let request = self.client.put_events().set_entries(Some(entries));
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => {
                let (code, is_retryable) = classify(&error);
                let message = DisplayErrorContext(&error).to_string();
                return some
                    .iter()
                    .map(|(index, ..)| NotPut {
                        index: *index,
                        code: code.clone(),
                        message: message.clone(),
                        is_retryable,
                    })
                    .collect();
            }
        };
        // In the order of the entries; what has no answer is not known to be there.
        let mut answers = answer.entries.unwrap_or_default().into_iter();
        some.iter()
            .filter_map(|(index, ..)| {
                let Some(entry) = answers.next() else {
                    return Some(NotPut {
                        index: *index,
                        code: "Unavailable".to_owned(),
                        message: "expected an answer for each entry, found fewer".to_owned(),
                        is_retryable: true,
                    });
                };
                let code = entry.error_code?;
                Some(NotPut {
                    index: *index,
                    is_retryable: is_passing(&code),
                    code,
                    message: entry.error_message.unwrap_or_default(),
                })
            })
            .collect()
    }
}

/// An event's index, its size, and its entry.
type Waiting = (usize, usize, PutEventsRequestEntry);

/// As few requests as the two limits allow, in order.
fn batches(waiting: &[Waiting]) -> Vec<&[Waiting]> {
    let mut all = Vec::new();
    let (mut from, mut bytes) = (0, 0);
    for (at, (_, size, _)) in waiting.iter().enumerate() {
        if at - from == MAX_ENTRIES || (at > from && bytes + size > MAX_BYTES) {
            all.push(&waiting[from..at]);
            (from, bytes) = (at, 0);
        }
        bytes += size;
    }
    if from < waiting.len() {
        all.push(&waiting[from..]);
    }
    all
}

/// Whole requests are repeated by the SDK already.
fn is_partial(not: &NotPut) -> bool {
    not.code != "Unavailable"
}

fn is_passing(code: &str) -> bool {
    matches!(
        code,
        "ThrottlingException" | "InternalFailure" | "InternalException" | "ServiceUnavailable"
    )
}

fn classify<E>(error: &SdkError<E>) -> (String, bool)
where
    E: ProvideErrorMetadata,
{
    let refused = matches!(error, SdkError::ServiceError(context)
        if !context.raw().status().is_server_error());
    match error.code() {
        Some(code) if is_passing(code) => ("Unavailable".to_owned(), true),
        Some(code) if refused => (code.to_owned(), false),
        _ => ("Unavailable".to_owned(), true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(sizes: &[usize]) -> Vec<usize> {
        let entry = PutEventsRequestEntry::builder().build();
        let waiting: Vec<Waiting> = sizes.iter().map(|n| (0, *n, entry.clone())).collect();
        batches(&waiting).iter().map(|some| some.len()).collect()
    }

    #[test]
    fn requests_keep_both_limits() {
        assert_eq!(sizes(&[]), [0; 0]);
        assert_eq!(sizes(&[1; 25]), [10, 10, 5]);
        assert_eq!(sizes(&[MAX_BYTES, MAX_BYTES, 1]), [1, 1, 1]);
        assert_eq!(sizes(&[MAX_BYTES / 2, MAX_BYTES / 2, 1]), [2, 1]);
    }
}
