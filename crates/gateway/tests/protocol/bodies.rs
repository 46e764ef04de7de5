//! How much a question may hold, and how it is packed.

use std::time::Duration;

use reqwest::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{CALLS, Gateway, message, send};

#[tokio::test]
async fn a_question_that_is_none_is_refused_with_the_reason() {
    let gateway = Gateway::start().await;
    for call in CALLS {
        for body in ["", "{", "[]", "{\"agent\": 1}", "\u{0}"] {
            let request = gateway.post(&gateway.agent(1), call, body.as_bytes());
            let (status, no) = send(request).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{call}: {body:?}");
            assert_eq!(no["code"], "Tapemark.InvalidRequest");
            assert!(message(&no).starts_with("body: "), "{no}");
        }
    }
}

#[tokio::test]
async fn a_question_without_end_is_cut_off_packed_or_not() {
    let gateway = Gateway::start().await;
    let one = gateway.agent(1);
    let large = "x".repeat((4 << 20) + 1);
    let (status, no) = send(gateway.post(&one, "sessions/claim", large.as_bytes())).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(no["code"], "Tapemark.InvalidRequest");
    assert_eq!(
        message(&no),
        "body: expected at most 4194304 bytes, found more"
    );
    // 64 MiB of blanks, which are unpacked aside, and 5 MiB, which are unpacked at once.
    let bomb = wire::gzip(&vec![b' '; 64 << 20]);
    let small = wire::gzip(&vec![b' '; 5 << 20]);
    for packed in [bomb, small] {
        let request = gateway
            .post(&one, "sessions/claim", &packed)
            .header("content-encoding", "gzip");
        let (status, no) = send(request).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(
            message(&no),
            "body: expected at most 4194304 bytes once unpacked, found more"
        );
    }
}

#[tokio::test]
async fn questions_come_packed_and_answers_go_packed_where_asked_for() {
    let gateway = Gateway::start().await;
    let one = gateway.agent(1);
    let mut inventory = gateway.inventory("agent-1");
    let slots: Vec<_> = (0..2000)
        .map(|n| {
            serde_json::json!({
                "element": 1000 + n, "kind": "storage", "volume": format!("TM{n:04}L9"),
                "full": true,
            })
        })
        .collect();
    inventory["slots"] = slots.into();
    let packed = wire::gzip(inventory.to_string().as_bytes());
    let request = gateway
        .post(&one, "inventory", &packed)
        .header("content-encoding", "gzip")
        .header("accept-encoding", "br, gzip");
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["content-encoding"], "gzip");
    let body = wire::gunzip(&answer.bytes().await.unwrap(), 1 << 20).unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["registered"].as_array().unwrap().len(), 2000);

    for (coding, packed) in [("br", &b"{}"[..]), ("gzip", b"{}")] {
        let request = gateway
            .post(&one, "inventory", packed)
            .header("content-encoding", coding);
        assert_eq!(send(request).await.0, StatusCode::BAD_REQUEST, "{coding}");
    }
}

/// The time is virtual: it passes when nobody has anything to do but wait.
#[tokio::test]
async fn a_question_that_stands_still_is_given_up() {
    let gateway = Gateway::start().await;
    tokio::time::pause();
    for call in CALLS.into_iter().chain(["enrol", "rotate"]) {
        let begun = tokio::time::Instant::now();
        let signed = gateway.sign(&gateway.agent(1), call, b"{");
        let head = format!(
            "POST /agent/v1/{call} HTTP/1.1\r\nHost: tapemark\r\nContent-Digest: {}\r\n\
             Signature-Input: {}\r\nSignature: {}\r\nContent-Length: 100\r\n\r\n{{",
            signed.content_digest, signed.signature_input, signed.signature
        );
        let mut connection = TcpStream::connect(gateway.address).await.unwrap();
        connection.write_all(head.as_bytes()).await.unwrap();
        // To its end: the connection is closed too.
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{call}: {answer}");
        assert!(
            answer.contains("\"Tapemark.Transient\""),
            "{call}: {answer}"
        );
        assert!(begun.elapsed() >= Duration::from_secs(60), "{call}");
    }
}
