//! How a key becomes an agent's: codes, lost answers, rotation.

use model::agents::{CodeText, rotation_text};
use reqwest::StatusCode;
use serde_json::{Value, json};
use wire::SecretKey;

use crate::{Gateway, OPERATOR, Signer, message};

impl Gateway {
    async fn code(&self, agent: &str) -> CodeText {
        let issued = self
            .control
            .issue_enrolment_code(&OPERATOR, &agent.parse().unwrap(), &self.library)
            .await;
        issued.unwrap().code
    }

    async fn works(&self, signer: &Signer) -> bool {
        let inventory = self.inventory(&signer.id);
        self.ask(signer, "inventory", &inventory).await.0 == StatusCode::OK
    }
}

fn signer(id: &str) -> Signer {
    Signer {
        id: id.to_owned(),
        key: SecretKey::generate(),
        ahead: 0,
    }
}

fn enrol(signer: &Signer, code: &str) -> Value {
    json!({ "agent": signer.id, "code": code, "key": signer.key.public() })
}

fn rotate(agent: &str, new: &SecretKey) -> Value {
    let key = new.public();
    let text = rotation_text(&agent.parse().unwrap(), &key);
    let proof: String = new
        .sign(text.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    json!({ "agent": agent, "key": key, "proof": proof })
}

#[tokio::test]
async fn an_agent_enrols_with_a_code_and_works_at_once() {
    let gateway = Gateway::start().await;
    let edge = signer("edge");
    assert!(!gateway.works(&edge).await, "unknown, and remembered so");
    let code = gateway.code("edge").await.grouped().to_uppercase();
    let (status, answer) = gateway.ask(&edge, "enrol", &enrol(&edge, &code)).await;
    assert_eq!(
        (status, answer),
        (
            StatusCode::OK,
            json!({ "agent": "edge", "library": gateway.library })
        )
    );
    assert!(gateway.works(&edge).await);
    // The answer was lost: the same question again.
    let (status, _) = gateway.ask(&edge, "enrol", &enrol(&edge, &code)).await;
    assert_eq!(status, StatusCode::OK);
    // Somebody found the note with the code.
    let thief = signer("edge");
    let (status, no) = gateway.ask(&thief, "enrol", &enrol(&thief, &code)).await;
    assert_eq!(
        (status, &no["field"]),
        (StatusCode::UNAUTHORIZED, &json!("code"))
    );
    assert!(message(&no).contains("used with another key"), "{no}");
    assert!(gateway.works(&edge).await && !gateway.works(&thief).await);
}

#[tokio::test]
async fn nobody_enrols_a_key_that_is_not_his_or_under_another_name() {
    let gateway = Gateway::start().await;
    let (edge, thief) = (signer("edge"), signer("edge"));
    let code = gateway.code("edge").await;
    let question = enrol(&edge, code.plain());
    let (status, no) = gateway.ask(&thief, "enrol", &question).await;
    assert_eq!(
        (status, &no["field"]),
        (StatusCode::UNAUTHORIZED, &json!("key"))
    );
    let renamed = Signer {
        id: "another".to_owned(),
        ..edge.clone()
    };
    let (status, _) = gateway.ask(&renamed, "enrol", &question).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let late = Signer {
        ahead: -600,
        ..edge.clone()
    };
    let (status, no) = gateway.ask(&late, "enrol", &question).await;
    assert_eq!(
        (status, &no["field"]),
        (StatusCode::UNAUTHORIZED, &json!("created"))
    );
    let wrong = enrol(&edge, "0000");
    assert_eq!(
        gateway.ask(&edge, "enrol", &wrong).await.0,
        StatusCode::UNAUTHORIZED
    );
    let mut long = question.clone();
    long["code"] = json!("0".repeat(17 << 10));
    assert_eq!(
        gateway.ask(&edge, "enrol", &long).await.0,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    assert_eq!(
        gateway.ask(&edge, "enrol", &question).await.0,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_key_is_changed_although_the_answer_is_lost() {
    let gateway = Gateway::start().await;
    let old = gateway.agent(1);
    let new = signer("agent-1");
    let question = rotate("agent-1", &new.key);
    let (status, answer) = gateway.ask(&old, "rotate", &question).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    // The agent did not hear it: it goes on with the old key, and asks again.
    assert!(gateway.works(&old).await);
    assert_eq!(
        gateway.ask(&old, "rotate", &question).await,
        (status, answer)
    );
    assert!(gateway.works(&new).await);
    // A thief with the old key pushes nobody out.
    let thief = signer("agent-1");
    let stolen = rotate("agent-1", &thief.key);
    assert_eq!(
        gateway.ask(&old, "rotate", &stolen).await.0,
        StatusCode::FORBIDDEN
    );
    gateway.pass(24 * 3600);
    assert!(gateway.works(&new).await && !gateway.works(&old).await);
}

#[tokio::test]
async fn a_rotation_needs_the_new_secret_and_the_agents_own_name() {
    let gateway = Gateway::start().await;
    let one = gateway.agent(1);
    let new = SecretKey::generate();
    let mut unproven = rotate("agent-1", &new);
    unproven["key"] = json!(SecretKey::generate().public());
    let (status, no) = gateway.ask(&one, "rotate", &unproven).await;
    assert_eq!(
        (status, &no["field"]),
        (StatusCode::UNAUTHORIZED, &json!("proof"))
    );
    let others = rotate("agent-2", &new);
    let (status, no) = gateway.ask(&one, "rotate", &others).await;
    assert_eq!(
        (status, &no["field"]),
        (StatusCode::FORBIDDEN, &json!("agent"))
    );
    assert!(gateway.works(&one).await && gateway.works(&gateway.agent(2)).await);
}
