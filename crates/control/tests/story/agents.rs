//! Agents enrol once, change keys without being locked out, and are revoked at once.

use std::time::Duration;

use control::testing::World;
use control::{Control, Principal};
use model::agents::{CodeText, Enrol, EnrolAnswer, Rotate};
use model::{AgentId, AgentKey, AgentState, Code, LibraryId, Refusal};

use crate::OPERATOR;

const ONE: AgentKey = AgentKey([1; 32]);
const TWO: AgentKey = AgentKey([2; 32]);
const THREE: AgentKey = AgentKey([3; 32]);

struct Stage {
    world: World,
    control: Control,
    agent: AgentId,
    library: LibraryId,
}

impl Stage {
    async fn new() -> Self {
        let world = World::new(11);
        let control = world.set_up(1, model::Bytes::gib(1), &["a"]).await.unwrap();
        let pool = control.pool(&OPERATOR, &"main".parse().unwrap()).await;
        Self {
            agent: "edge-1".parse().unwrap(),
            library: pool.unwrap().library,
            world,
            control,
        }
    }

    async fn code(&self) -> CodeText {
        let issued = self
            .control
            .issue_enrolment_code(&OPERATOR, &self.agent, &self.library)
            .await;
        issued.unwrap().code
    }

    async fn enrol(&self, code: &CodeText, key: AgentKey) -> Result<EnrolAnswer, Refusal> {
        let question = Enrol {
            agent: self.agent.clone(),
            code: code.clone(),
            key,
        };
        self.control.enrol(question).await
    }

    async fn rotate(&self, key: AgentKey, signed_by: AgentKey) -> Result<(), Refusal> {
        let question = Rotate {
            agent: self.agent.clone(),
            key,
            proof: String::new(),
        };
        let answer = self.control.rotate_agent(&question, &signed_by).await;
        answer.map(drop)
    }

    /// The keys that are good now, and the agent's state.
    async fn now(&self) -> (Vec<AgentKey>, AgentState) {
        let agent = self.control.agent_to_check(&self.agent).await;
        let agent = agent.unwrap().unwrap();
        let keys = agent.keys_at(self.control.time()).map(|held| held.key);
        (keys.collect(), agent.state)
    }

    /// What the ledger says of agents.
    async fn told(&self) -> Vec<String> {
        let leaves = self.control.ledger_leaves(0, 1000).await.unwrap();
        let leaves = leaves
            .iter()
            .map(|leaf| serde_json::from_str::<serde_json::Value>(leaf).unwrap());
        leaves
            .filter(|leaf| leaf["event"] == "agent")
            .map(|leaf| leaf["change"].as_str().unwrap().to_owned())
            .collect()
    }
}

#[tokio::test]
async fn a_code_lets_one_key_in_and_a_lost_answer_is_given_again() {
    let stage = Stage::new().await;
    let code = stage.code().await;
    assert_eq!(code.plain().len(), 32, "128 bits");
    assert_eq!(stage.now().await, (vec![], AgentState::Invited));
    let first = stage.enrol(&code, ONE).await.unwrap();
    assert_eq!(first.library, stage.library);
    assert_eq!(stage.enrol(&code, ONE).await.unwrap(), first);
    let replayed = stage.enrol(&code, TWO).await.unwrap_err();
    assert_eq!(replayed.code, Code::Unauthorized);
    assert!(
        replayed.message.contains("used with another key"),
        "{replayed}"
    );
    assert_eq!(stage.now().await, (vec![ONE], AgentState::Enrolled));
    assert_eq!(stage.told().await, ["invited", "enrolled"]);
    // The code itself is nowhere.
    for item in stage.world.table.dump() {
        assert!(!item.body.to_string().contains(code.plain()));
    }
}

#[tokio::test]
async fn a_code_ends_after_an_hour_or_when_the_next_is_issued() {
    let stage = Stage::new().await;
    let old = stage.code().await;
    let code = stage.code().await;
    assert_ne!(old, code);
    assert_eq!(
        stage.enrol(&old, ONE).await.unwrap_err().code,
        Code::Unauthorized
    );
    stage.world.clock.advance(Duration::from_secs(3600));
    let late = stage.enrol(&code, ONE).await.unwrap_err();
    assert!(late.message.contains("good until"), "{late}");
    assert!(late.message.contains("tapemark agent enrol-code edge-1"));
    let other = Enrol {
        agent: "nobody".parse().unwrap(),
        code: stage.code().await,
        key: ONE,
    };
    let other = stage.control.enrol(other).await.unwrap_err();
    assert_eq!(other.code, Code::Unauthorized, "bound to its agent");
}

#[tokio::test]
async fn of_many_that_use_a_code_at_once_one_wins() {
    let stage = Stage::new().await;
    let code = stage.code().await;
    let all = (1..=20).map(|n| stage.enrol(&code, AgentKey([n; 32])));
    let won = futures::future::join_all(all).await;
    assert_eq!(won.iter().filter(|answer| answer.is_ok()).count(), 1);
}

#[tokio::test]
async fn keys_change_without_a_moment_between_them() {
    let stage = Stage::new().await;
    let code = stage.code().await;
    stage.enrol(&code, ONE).await.unwrap();
    stage.rotate(TWO, ONE).await.unwrap();
    assert_eq!(stage.now().await.0, [TWO, ONE]);
    // The answer was lost: the agent still signs with the old key, and asks for the same.
    stage.rotate(TWO, ONE).await.unwrap();
    assert_eq!(stage.now().await.0, [TWO, ONE]);
    // A stolen old key cannot push the new one out.
    let stolen = stage.rotate(THREE, ONE).await.unwrap_err();
    assert_eq!(stolen.code, Code::Forbidden);
    stage.world.clock.advance(Duration::from_secs(24 * 3600));
    assert_eq!(stage.now().await.0, [TWO]);
    assert_eq!(stage.told().await, ["invited", "enrolled", "rotated"]);
}

#[tokio::test]
async fn a_revoked_agent_comes_back_with_a_new_code_only() {
    let stage = Stage::new().await;
    let code = stage.code().await;
    stage.enrol(&code, ONE).await.unwrap();
    let agent = stage.control.revoke_agent(&OPERATOR, &stage.agent).await;
    assert_eq!(agent.unwrap().state, AgentState::Revoked);
    assert_eq!(
        stage.rotate(TWO, ONE).await.unwrap_err().code,
        Code::Forbidden
    );
    assert_eq!(
        stage.enrol(&code, ONE).await.unwrap_err().code,
        Code::Unauthorized
    );
    // Nor does a start of the stack undo it.
    let registered = stage
        .control
        .register_agent(&OPERATOR, &stage.agent, &stage.library, ONE)
        .await;
    assert_eq!(registered.unwrap().state, AgentState::Revoked);
    let again = stage.code().await;
    assert_eq!(stage.now().await.1, AgentState::Revoked);
    stage.enrol(&again, THREE).await.unwrap();
    assert_eq!(stage.now().await, (vec![THREE], AgentState::Enrolled));
    assert_eq!(
        stage.told().await,
        ["invited", "enrolled", "revoked", "invited", "enrolled"]
    );
}

#[tokio::test]
async fn a_code_that_is_open_when_an_agent_is_revoked_is_void() {
    let stage = Stage::new().await;
    let code = stage.code().await;
    stage
        .control
        .revoke_agent(&OPERATOR, &stage.agent)
        .await
        .unwrap();
    assert_eq!(
        stage.enrol(&code, ONE).await.unwrap_err().code,
        Code::Unauthorized
    );
}

#[tokio::test]
async fn only_operators_manage_agents_and_only_where_there_is_a_library() {
    let stage = Stage::new().await;
    let service = Principal::Services(vec!["a".parse().unwrap()]);
    let (control, agent, library) = (&stage.control, &stage.agent, &stage.library);
    let codes = [
        control
            .issue_enrolment_code(&service, agent, library)
            .await
            .map(drop),
        control.revoke_agent(&service, agent).await.map(drop),
        control.agents(&service).await.map(drop),
        control
            .register_agent(&service, agent, library, ONE)
            .await
            .map(drop),
    ]
    .map(|answer| answer.unwrap_err().code);
    assert_eq!(codes, [Code::Forbidden; 4]);
    let nowhere = control
        .issue_enrolment_code(&OPERATOR, agent, &"nowhere".parse().unwrap())
        .await
        .unwrap_err();
    assert_eq!(nowhere.code, Code::NotFound);
    assert_eq!(nowhere.field.as_deref(), Some("library"));
    let unknown = control.revoke_agent(&OPERATOR, agent).await.unwrap_err();
    assert_eq!(unknown.code, Code::NotFound);
}

#[tokio::test]
async fn it_is_known_to_the_hour_when_an_agent_was_heard() {
    let stage = Stage::new().await;
    let code = stage.code().await;
    stage.enrol(&code, ONE).await.unwrap();
    for _ in 0..3 {
        stage.control.note_agent(&stage.agent).await.unwrap();
    }
    let first = stage.control.agents(&OPERATOR).await.unwrap()[0].last_seen;
    assert!(first.is_some());
    stage.world.clock.advance(Duration::from_secs(3600));
    stage.control.note_agent(&stage.agent).await.unwrap();
    assert!(stage.control.agents(&OPERATOR).await.unwrap()[0].last_seen > first);
}
