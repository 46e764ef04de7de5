//! Events are put in as few requests as there may be, and what is left behind is named.

use std::sync::Arc;

use aws::{BusEvent, EventBridge};
use serde_json::{Value, json};

use crate::script::{Answer, Server, client};

async fn start() -> (Arc<Server>, EventBridge) {
    let server = Server::start().await;
    let client = client!(aws_sdk_eventbridge, &server.endpoint);
    (server, EventBridge::with_client(client, "tm-events"))
}

fn event(n: usize) -> BusEvent {
    BusEvent {
        source: "tapemark".to_owned(),
        kind: "tapemark.checkpoint.committed.v1".to_owned(),
        time: "2026-11-22T22:00:00Z".parse().unwrap(),
        detail: json!({ "specversion": "1.0", "id": n.to_string() }),
    }
}

fn events(count: usize) -> Vec<BusEvent> {
    (0..count).map(event).collect()
}

/// An answer to so many entries, of which some failed.
fn answer(count: usize, failed: &[(usize, &str)]) -> Answer {
    let entries: Vec<Value> = (0..count)
        .map(|n| match failed.iter().find(|(at, _)| *at == n) {
            Some((_, code)) => json!({ "ErrorCode": code, "ErrorMessage": "as scripted" }),
            None => json!({ "EventId": n.to_string() }),
        })
        .collect();
    Answer::Ok(json!({ "FailedEntryCount": failed.len(), "Entries": entries }))
}

/// The ids of a request's events.
fn ids(question: &Value) -> Vec<String> {
    let entries = question["Entries"].as_array().unwrap();
    let detail = |entry: &Value| -> Value {
        serde_json::from_str(entry["Detail"].as_str().unwrap()).unwrap()
    };
    entries
        .iter()
        .map(|entry| detail(entry)["id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn twenty_five_events_take_three_requests() {
    let (server, bus) = start().await;
    for count in [10, 10, 5] {
        server.next("PutEvents", answer(count, &[]));
    }
    assert_eq!(bus.put(&events(25)).await, []);
    let asked = server.asked();
    assert_eq!(asked.len(), 3);
    let all: Vec<_> = asked
        .iter()
        .flat_map(|(_, question)| ids(question))
        .collect();
    assert_eq!(all, (0..25).map(|n| n.to_string()).collect::<Vec<_>>());
    let entry = &asked[0].1["Entries"][0];
    assert_eq!(entry["EventBusName"], "tm-events");
    assert_eq!(entry["DetailType"], "tapemark.checkpoint.committed.v1");
    assert_eq!(entry["Time"], 1_795_384_800);
    assert_eq!(bus.put(&[]).await, []);
}

#[tokio::test]
async fn what_a_request_leaves_behind_is_sent_again_and_then_named() {
    let (server, bus) = start().await;
    let failed = [
        (1, "ThrottlingException"),
        (2, "NotAuthorized"),
        (3, "InternalFailure"),
    ];
    server.next("PutEvents", answer(4, &failed));
    server.next("PutEvents", answer(2, &[(1, "InternalFailure")]));
    server.next("PutEvents", answer(1, &[(0, "InternalFailure")]));
    let not = bus.put(&events(4)).await;
    let asked: Vec<_> = server.asked().iter().map(|(_, q)| ids(q)).collect();
    assert_eq!(asked[1], ["1", "3"], "only those that may yet be taken");
    assert_eq!(asked[2], ["3"]);
    let named: Vec<_> = not
        .iter()
        .map(|not| (not.index, not.code.as_str(), not.is_retryable))
        .collect();
    let expected = [(2, "NotAuthorized", false), (3, "InternalFailure", true)];
    assert_eq!(named, expected);
}

#[tokio::test]
async fn a_bus_that_cannot_be_asked_leaves_all_of_a_request_and_nothing_else() {
    let (server, bus) = start().await;
    server.next("PutEvents", Answer::Lost);
    server.next("PutEvents", answer(10, &[]));
    for _ in 0..3 {
        server.next("PutEvents", Answer::No(400, "ThrottlingException"));
    }
    let not = bus.put(&events(12)).await;
    let named: Vec<_> = not
        .iter()
        .map(|not| (not.index, not.is_retryable))
        .collect();
    assert_eq!(named, [(10, true), (11, true)]);
    assert!(server.is_done());

    server.next("PutEvents", Answer::No(400, "ResourceNotFoundException"));
    let not = bus.put(&events(1)).await;
    assert_eq!(
        (not[0].code.as_str(), not[0].is_retryable),
        ("ResourceNotFoundException", false)
    );
}

#[tokio::test]
async fn an_event_that_is_too_large_is_named_and_the_others_are_put() {
    let (server, bus) = start().await;
    let mut all = events(3);
    all[1].detail = json!({ "id": "1", "text": "x".repeat(256 * 1024) });
    server.next("PutEvents", answer(2, &[]));
    let not = bus.put(&all).await;
    assert_eq!(not.len(), 1);
    assert_eq!((not[0].index, not[0].code.as_str()), (1, "TooLarge"));
    assert_eq!(ids(&server.asked()[0].1), ["0", "2"]);
}
