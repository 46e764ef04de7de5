//! Who is not let in, and what he is told.

use reqwest::StatusCode;
use serde_json::json;
use wire::SecretKey;

use crate::{CALLS, Gateway, OPERATOR, Signer, message, send, with};

#[tokio::test]
async fn strangers_get_nothing_whatever_they_sign() {
    let gateway = Gateway::start().await;
    let stolen_name = Signer {
        key: SecretKey::generate(),
        ..gateway.agent(1)
    };
    let nobody = Signer {
        id: "nobody".to_owned(),
        ..gateway.agent(1)
    };
    for call in CALLS.into_iter().chain(["rotate"]) {
        let body = b"not even JSON";
        let elsewhere = gateway.sign(&gateway.agent(1), "elsewhere", body);
        for (what, request) in [
            ("unsigned", gateway.unsigned(call, body)),
            (
                "a bearer token",
                gateway.unsigned(call, body).bearer_auth("x"),
            ),
            ("an unknown key", gateway.post(&stolen_name, call, body)),
            ("an unknown agent", gateway.post(&nobody, call, body)),
            (
                "a signature of another call",
                with(gateway.unsigned(call, body), &elsewhere),
            ),
            (
                "half of a signature",
                gateway.unsigned(call, body).header("signature", "sig1=::"),
            ),
        ] {
            let (status, no) = send(request).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{call}: {what}: {no}");
            assert_eq!(no["code"], "Tapemark.Unauthorized", "{call}: {what}");
        }
    }
    let answer = gateway.unsigned("inventory", b"").send().await.unwrap();
    assert_eq!(answer.headers()["www-authenticate"], "Signature");
    assert!(answer.headers().contains_key("accept-signature"));
    let old = gateway.unsigned("inventory", b"").bearer_auth("old token");
    let (_, no) = send(old).await;
    assert!(message(&no).contains("tapemark-agent enrol"), "{no}");
}

#[tokio::test]
async fn a_clock_that_is_off_is_told_the_time() {
    let gateway = Gateway::start().await;
    for (ahead, taken) in [
        (0, true),
        (299, true),
        (-300, true),
        (301, false),
        (-600, false),
    ] {
        let signer = Signer {
            ahead,
            ..gateway.agent(1)
        };
        let (status, no) = gateway
            .ask(&signer, "inventory", &gateway.inventory("agent-1"))
            .await;
        assert_eq!(status.is_success(), taken, "{ahead} s: {no}");
        if !taken {
            assert_eq!(status, StatusCode::UNAUTHORIZED);
            let side = if ahead > 0 { "ahead" } else { "behind" };
            let now = gateway.control.time().to_string();
            for part in [
                format!("{} s {side}", ahead.abs()),
                "set the agent's clock (NTP)".to_owned(),
                now[..19].to_owned(),
            ] {
                assert!(message(&no).contains(&part), "{part}: {no}");
            }
        }
    }
}

#[tokio::test]
async fn a_body_that_was_changed_on_its_way_is_refused() {
    let gateway = Gateway::start().await;
    let one = gateway.agent(1);
    let signed = gateway.sign(
        &one,
        "inventory",
        gateway.inventory("agent-1").to_string().as_bytes(),
    );
    let mut other = gateway.inventory("agent-1");
    other["slots"] = json!([]);
    let request = with(
        gateway.unsigned("inventory", other.to_string().as_bytes()),
        &signed,
    );
    let (status, no) = send(request).await;
    assert_eq!(
        (status, &no["field"]),
        (StatusCode::UNAUTHORIZED, &json!("content-digest"))
    );
    // Nor does it help to send the digest of the new body along.
    let mut forged = signed;
    forged.content_digest = wire::content_digest(other.to_string().as_bytes());
    let request = with(
        gateway.unsigned("inventory", other.to_string().as_bytes()),
        &forged,
    );
    assert_eq!(send(request).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_revoked_agent_is_out_within_five_seconds() {
    let gateway = Gateway::start().await;
    let (one, two) = (gateway.agent(1), gateway.agent(2));
    let inventory = gateway.inventory("agent-1");
    assert_eq!(
        gateway.ask(&one, "inventory", &inventory).await.0,
        StatusCode::OK
    );
    let id = "agent-1".parse().unwrap();
    gateway.control.revoke_agent(&OPERATOR, &id).await.unwrap();
    gateway.pass(5);
    for call in CALLS.into_iter().chain(["rotate"]) {
        let (status, no) = gateway.ask(&one, call, &inventory).await;
        assert_eq!(
            (status, &no["code"]),
            (StatusCode::FORBIDDEN, &json!("Tapemark.Forbidden")),
            "{call}"
        );
        assert!(message(&no).contains("revoked"), "{no}");
    }
    let others = gateway.inventory("agent-2");
    assert_eq!(
        gateway.ask(&two, "inventory", &others).await.0,
        StatusCode::OK
    );
}

/// What an agent costs: its keys are read every five seconds, not at every question.
#[tokio::test]
async fn keys_are_not_read_at_every_question() {
    let gateway = Gateway::start().await;
    let one = gateway.agent(1);
    let session = json!({
        "session": "01890a5d-ac96-774b-bcce-b302099a8057", "volume": "NONE01L9", "fence": 1,
        "moved": 0, "doing": "writing",
    });
    let ask = || gateway.ask(&one, "sessions/renew", &session);
    ask().await;
    let before = gateway.world.table.reads();
    ask().await;
    let a_question = gateway.world.table.reads() - before;
    gateway.pass(6);
    let before = gateway.world.table.reads();
    ask().await;
    assert_eq!(gateway.world.table.reads() - before, a_question + 1);
    // Strangers under its name make for one read a second, however many they are.
    let stranger = Signer {
        key: SecretKey::generate(),
        ..gateway.agent(1)
    };
    let before = gateway.world.table.reads();
    for _ in 0..20 {
        gateway.ask(&stranger, "sessions/renew", &session).await;
    }
    assert!(gateway.world.table.reads() - before <= 1);
}
