//! Rings wake those who wait, once, and cost little.

use std::sync::Arc;
use std::time::Duration;

use aws::SqsBell;
use control::ports::WorkQueue;
use model::LibraryId;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::script::{Answer, Server, client};

const LONG: Duration = Duration::from_secs(3_600);

async fn start() -> (Arc<Server>, SqsBell, LibraryId) {
    let server = Server::start().await;
    let client = client!(aws_sdk_sqs, &server.endpoint);
    let bell = SqsBell::with_client(client, format!("{}/123/bell", server.endpoint));
    (server, bell, "lib-1".parse().unwrap())
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// As a queue gives a message.
fn message(library: &str, ring: &str, sent: i64) -> Answer {
    let body = json!({ "library": library, "ring": ring }).to_string();
    Answer::Ok(json!({ "Messages": [{
        "MessageId": "1", "ReceiptHandle": format!("receipt-{ring}"),
        "Body": body, "Attributes": { "SentTimestamp": sent.to_string() },
    }] }))
}

fn sent() -> Value {
    let entry = |id: &str| json!({ "Id": id, "MessageId": id, "MD5OfMessageBody": "" });
    json!({ "Successful": [entry("0"), entry("1"), entry("2"), entry("3")], "Failed": [] })
}

#[tokio::test]
async fn a_ring_is_one_request_for_all_who_wait() {
    let (server, bell, library) = start().await;
    // No digests of bodies in these answers: the bell must not mind.
    server.next("SendMessageBatch", Answer::Ok(sent()));
    bell.ring(&library).await;
    let asked = server.asked();
    assert_eq!(asked.len(), 1);
    let entries = asked[0].1["Entries"].as_array().unwrap();
    assert_eq!(entries.len(), 4);
    let body = entries[0]["MessageBody"].as_str().unwrap();
    let ring: Value = serde_json::from_str(body).unwrap();
    assert_eq!(ring["library"], "lib-1");
    assert!(entries.iter().all(|entry| entry["MessageBody"] == body));
}

#[tokio::test]
async fn forty_submissions_at_once_ring_twice() {
    let (server, bell, library) = start().await;
    let first = Arc::new(Notify::new());
    server.next("SendMessageBatch", Answer::Held(first.clone()));
    server.next("SendMessageBatch", Answer::Ok(sent()));
    let ring = || {
        let (bell, library) = (bell.clone(), library.clone());
        tokio::spawn(async move { bell.ring(&library).await })
    };
    let mut rings = vec![ring()];
    server.until(1).await;
    // While the first one is under way.
    rings.extend((0..39).map(|_| ring()));
    tokio::task::yield_now().await;
    first.notify_one();
    for ring in rings {
        ring.await.unwrap();
    }
    assert_eq!(server.operations(), ["SendMessageBatch"; 2]);
}

#[tokio::test]
async fn a_queue_that_cannot_be_asked_costs_the_ring_and_nothing_else() {
    let (server, bell, library) = start().await;
    for _ in 0..3 {
        server.next("SendMessageBatch", Answer::No(403, "AccessDenied"));
    }
    bell.ring(&library).await;
    server.asked();
    // Whoever rings next is heard.
    let (server, bell, library) = start().await;
    server.next("SendMessageBatch", Answer::No(503, "ServiceUnavailable"));
    server.next("SendMessageBatch", Answer::Lost);
    server.next("SendMessageBatch", Answer::Ok(sent()));
    bell.ring(&library).await;
    assert!(server.is_done());
}

#[tokio::test]
async fn a_new_ring_wakes_and_its_copies_do_not() {
    let (server, bell, library) = start().await;
    let ticket = bell.ticket(&library);
    server.next("ReceiveMessage", message("lib-1", "a", now_ms()));
    server.next("DeleteMessage", Answer::Ok(json!({})));
    bell.wait(&library, ticket, LONG).await;
    let asked = server.asked();
    assert_eq!(asked[0].1["WaitTimeSeconds"], 20);
    assert_eq!(
        asked[0].1["MaxNumberOfMessages"], 1,
        "the others are for the others"
    );
    assert_eq!(asked[1].1["ReceiptHandle"], "receipt-a");

    // A copy, one from long before the look, nonsense, and then a new one.
    let ticket = bell.ticket(&library);
    let odd = json!({ "Messages": [{ "ReceiptHandle": "receipt-odd", "Body": "hello" }] });
    for answer in [
        message("lib-1", "a", now_ms()),
        message("lib-1", "old", now_ms() - 60_000),
        Answer::Ok(odd),
        message("lib-1", "b", now_ms()),
    ] {
        server.next("ReceiveMessage", answer);
        server.next("DeleteMessage", Answer::Ok(json!({})));
    }
    bell.wait(&library, ticket, LONG).await;
    assert!(server.is_done());
    let deleted: Vec<_> = server
        .asked()
        .into_iter()
        .filter(|(operation, _)| operation == "DeleteMessage")
        .map(|(_, question)| question["ReceiptHandle"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        deleted,
        ["receipt-a", "receipt-old", "receipt-odd", "receipt-b"]
    );
}

#[tokio::test]
async fn a_ring_for_another_library_is_left_to_it_until_nobody_can_want_it() {
    let (server, bell, library) = start().await;
    let ticket = bell.ticket(&library);
    server.next("ReceiveMessage", message("lib-2", "x", now_ms()));
    server.next("ReceiveMessage", message("lib-2", "y", now_ms() - 31_000));
    server.next("DeleteMessage", Answer::Ok(json!({})));
    server.next("ReceiveMessage", message("lib-1", "z", now_ms()));
    server.next("DeleteMessage", Answer::Ok(json!({})));
    bell.wait(&library, ticket, LONG).await;
    let asked = server.asked();
    let receipts: Vec<_> = asked.iter().map(|(_, q)| &q["ReceiptHandle"]).collect();
    assert_eq!(receipts[2], "receipt-y");
    assert_eq!(receipts[4], "receipt-z");
    assert_eq!(receipts.len(), 5);
}

#[tokio::test]
async fn silence_ends_in_time() {
    let (server, bell, library) = start().await;
    let began = std::time::Instant::now();
    let held = Arc::new(Notify::new());
    server.next("ReceiveMessage", Answer::Held(held.clone()));
    let ticket = bell.ticket(&library);
    let waits = tokio::spawn({
        let (bell, library) = (bell.clone(), library.clone());
        async move {
            bell.wait(&library, ticket, Duration::from_millis(1_200))
                .await;
        }
    });
    server.until(1).await;
    assert_eq!(server.asked()[0].1["WaitTimeSeconds"], 1, "whole seconds");
    // The long poll comes back empty, and the queue cannot be asked again.
    held.notify_one();
    waits.await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(1_200));
}
