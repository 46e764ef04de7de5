//! Who asks: the signature, the agent behind it, and what it may speak for.

use std::collections::HashMap;
use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::request::Parts;
use control::Control;
use jiff::{SignedDuration, Timestamp};
use model::work::SessionRef;
use model::{Agent, AgentId, AgentKey, AgentState, Code, LibraryId, Refusal, SessionId};
use parking_lot::Mutex;
use wire::Presented;

/// How far the time of a signature may be from the control plane's clock, either way.
pub const WINDOW: SignedDuration = SignedDuration::from_secs(300);
/// How long an agent's keys are taken from memory: within this time a revocation takes
/// effect. An agent that works asks a few times a second; so it costs a read every 5 s.
pub const CACHE_FOR: SignedDuration = SignedDuration::from_secs(5);
/// How old a record must be to be read again because a signature does not fit it: a
/// stranger who uses an agent's name costs a read a second, not one a question.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(1);
/// After which time an agent is noted again as seen.
const SEEN_EVERY: SignedDuration = SignedDuration::from_hours(1);
/// The most names, and the most sessions, that are kept in memory.
const MAX_KEPT: usize = 4096;

/// An agent whose signature was checked.
#[derive(Clone, Debug)]
pub(crate) struct Speaker {
    pub(crate) agent: Arc<Agent>,
    /// The key that signed.
    pub(crate) key: AgentKey,
}

/// Whom a question speaks for.
pub(crate) enum Says<'a> {
    /// An agent.
    Agent(&'a AgentId),
    /// An agent and the library it drives.
    Library(&'a AgentId, &'a LibraryId),
    /// A session.
    Session(&'a SessionRef),
}

struct Kept {
    at: Timestamp,
    agent: Option<Arc<Agent>>,
}

/// Knows the agents.
pub(crate) struct Speakers {
    control: Control,
    agents: Mutex<HashMap<AgentId, Kept>>,
    /// Whose a session is. That never changes.
    sessions: Mutex<HashMap<SessionId, AgentId>>,
}

impl Speakers {
    pub(crate) fn new(control: Control) -> Self {
        Self {
            control,
            agents: Mutex::default(),
            sessions: Mutex::default(),
        }
    }

    /// What a request says of its signature, if it says it within the window.
    pub(crate) fn presented(&self, parts: &Parts) -> Result<Presented, Refusal> {
        let (Some(input), Some(signature), Some(digest)) = (
            field(&parts.headers, "signature-input"),
            field(&parts.headers, "signature"),
            field(&parts.headers, "content-digest"),
        ) else {
            let text = if parts.headers.contains_key("authorization") {
                "expected a request signed with the agent's key, found a bearer token: agents \
                 have none any more; enrol this one: tapemark-agent enrol"
            } else {
                "expected a request signed with the agent's key: Signature-Input, Signature \
                 and Content-Digest"
            };
            return Err(Refusal::new(Code::Unauthorized, text));
        };
        let presented = Presented::parse(input, signature, digest)
            .map_err(|error| Refusal::new(Code::Unauthorized, error.to_string()))?;
        self.check_time(presented.created())?;
        Ok(presented)
    }

    fn check_time(&self, created: i64) -> Result<(), Refusal> {
        let now = self.control.time();
        let signed = Timestamp::from_second(created).ok();
        let age = signed.map(|signed| now.duration_since(signed));
        if age.is_some_and(|age| age.abs() <= WINDOW) {
            return Ok(());
        }
        let found = match (signed, age) {
            (Some(signed), Some(age)) => {
                let side = if age.is_negative() { "ahead" } else { "behind" };
                format!("{signed:.0}, {} s {side}", age.as_secs().abs())
            }
            _ => "a time that is none".to_owned(),
        };
        let text = format!(
            "expected a signature made within {} s of the control plane's clock, {now:.0}, \
             found {found}: set the agent's clock (NTP)",
            WINDOW.as_secs()
        );
        Err(Refusal::new(Code::Unauthorized, text).at("created"))
    }

    /// The agent that signed a request.
    pub(crate) async fn of(&self, parts: &Parts) -> Result<(Speaker, Presented), Refusal> {
        let presented = self.presented(parts)?;
        let no = || {
            Refusal::new(
                Code::Unauthorized,
                "expected a signature with a key of an enrolled agent, found another",
            )
            .at("keyid")
        };
        let id: AgentId = presented.key_id().parse().map_err(|_| no())?;
        let by = |agent: &Agent, now: Timestamp| {
            agent
                .keys_at(now)
                .map(|held| held.key)
                .find(|key| presented.is_by(key, parts.method.as_str(), parts.uri.path()))
        };
        for at_most in [CACHE_FOR, LOOK_AGAIN] {
            let Some(agent) = self.agent(&id, at_most).await? else {
                continue;
            };
            let now = self.control.time();
            let Some(key) = by(&agent, now) else {
                continue;
            };
            if agent.state != AgentState::Enrolled {
                let text = format!(
                    "expected agent {id} to be enrolled, found it revoked; an operator lets it \
                     in again: tapemark agent enrol-code {id}"
                );
                return Err(Refusal::new(Code::Forbidden, text));
            }
            self.note(&agent, now).await;
            return Ok((Speaker { agent, key }, presented));
        }
        Err(no())
    }

    /// The agent, as it was at most so long ago.
    async fn agent(
        &self,
        id: &AgentId,
        at_most: SignedDuration,
    ) -> Result<Option<Arc<Agent>>, Refusal> {
        let now = self.control.time();
        if let Some(kept) = self.agents.lock().get(id) {
            let age = now.duration_since(kept.at);
            if !age.is_negative() && age < at_most {
                return Ok(kept.agent.clone());
            }
        }
        let agent = self.control.agent_to_check(id).await?.map(Arc::new);
        self.keep(id, agent.clone(), now);
        Ok(agent)
    }

    fn keep(&self, id: &AgentId, agent: Option<Arc<Agent>>, at: Timestamp) {
        let mut agents = self.agents.lock();
        if agents.len() >= MAX_KEPT {
            agents.clear();
        }
        agents.insert(id.clone(), Kept { at, agent });
    }

    /// Reads this agent anew at its next question.
    pub(crate) fn forget(&self, id: &AgentId) {
        self.agents.lock().remove(id);
    }

    /// Notes once an hour that the agent was heard. Awaited: a function may be frozen once
    /// it has answered. Its failure is no reason not to answer.
    async fn note(&self, agent: &Arc<Agent>, now: Timestamp) {
        let recent = |last: Timestamp| now.duration_since(last) < SEEN_EVERY;
        if agent.last_seen.is_some_and(recent) {
            return;
        }
        if let Err(refusal) = self.control.note_agent(&agent.id).await {
            tracing::warn!(agent = %agent.id, %refusal, "not noted as seen");
        }
        let seen = Agent {
            last_seen: Some(now),
            ..Agent::clone(agent)
        };
        let mut agents = self.agents.lock();
        if let Some(kept) = agents.get_mut(&agent.id)
            && kept
                .agent
                .as_ref()
                .is_some_and(|kept| Arc::ptr_eq(kept, agent))
        {
            kept.agent = Some(Arc::new(seen));
        }
    }

    /// Refuses a question that speaks for somebody else.
    pub(crate) async fn check(&self, speaker: &Speaker, says: Says<'_>) -> Result<(), Refusal> {
        let own = &speaker.agent;
        match says {
            Says::Agent(agent) | Says::Library(agent, _) if *agent != own.id => Err(wrong(
                format!(
                    "expected agent {}, whose key this is, found {agent}",
                    own.id
                ),
                "agent",
            )),
            Says::Library(_, library) if *library != own.library => Err(wrong(
                format!(
                    "expected library {}, which agent {} was enrolled for, found {library}",
                    own.library, own.id
                ),
                "library",
            )),
            Says::Agent(_) | Says::Library(..) => Ok(()),
            Says::Session(session) => self.check_session(&own.id, session).await,
        }
    }

    async fn check_session(&self, own: &AgentId, session: &SessionRef) -> Result<(), Refusal> {
        let known = self.sessions.lock().get(&session.session).cloned();
        if known.is_some_and(|agent| agent == *own) {
            return Ok(());
        }
        if self.control.speaks_for(own, session).await? {
            let mut sessions = self.sessions.lock();
            if sessions.len() >= MAX_KEPT {
                sessions.clear();
            }
            sessions.insert(session.session, own.clone());
        }
        Ok(())
    }
}

fn wrong(text: String, field: &str) -> Refusal {
    Refusal::new(Code::Forbidden, text).at(field)
}

fn field<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut all = headers.get_all(name).iter();
    // Two fields of one name would be one list, of which only a part is looked at.
    match (all.next(), all.next()) {
        (Some(only), None) => only.to_str().ok(),
        _ => None,
    }
}

/// Refuses a body that is not the one that was signed.
pub(crate) fn same_body(presented: &Presented, body: &[u8]) -> Result<(), Refusal> {
    if presented.is_of(body) {
        return Ok(());
    }
    let text = "expected the body whose digest was signed, found another: it was changed, or \
                cut, on its way";
    Err(Refusal::new(Code::Unauthorized, text).at("content-digest"))
}
