//! Agents: who may speak the agent protocol, and with which keys.
//!
//! An operator issues a code; the agent enrols with it and a key of its own making; it
//! changes the key by itself; an operator revokes it. Each change is a leaf of the ledger.
//!
//! A revoked agent is refused from its next question on. Its sessions are *not* ended at
//! that moment: it may still be writing, and its drive is given to another only when its
//! lease has run out, which it cannot renew any more (one writer, whatever it does).

use jiff::{SignedDuration, Timestamp};
use model::agents::{CodeText, Enrol, EnrolAnswer, EnrolmentCode, HeldKey, Rotate, RotateAnswer};
use model::work::SessionRef;
use model::{
    Agent, AgentId, AgentKey, AgentState, Code, LibraryId, Refusal, Sha256, canonical_json,
};
use serde_json::json;

use crate::authority::{Action, Resource};
use crate::catalogue::{Answer, TRIES, Tx, lost_race};
use crate::ports::{Index, SortKeys};
use crate::records::{AgentRecord, LibraryRecord, OpenCode, UsedCode, VolumeLease};
use crate::{Control, Principal, digest, keys};

/// How long a code is good: long enough to walk to the machine, too short to lie around.
pub const CODE_LIFETIME: SignedDuration = SignedDuration::from_hours(1);
/// How long the key before is good after a rotation: a daemon that holds it in memory, and
/// one whose answer was lost, go on with it. A day bridges a night.
pub const ROTATION_OVERLAP: SignedDuration = SignedDuration::from_hours(24);
/// How exactly it is known when an agent was last seen: one write an hour and agent.
const SEEN_EVERY: SignedDuration = SignedDuration::from_hours(1);
/// The most agents of an installation. A library has one; one query reads all of them.
pub const MAX_AGENTS: u32 = 1000;
/// A code has 128 bits: nobody guesses it, however often he asks within its hour.
const CODE_BYTES: usize = 16;

/// What a change makes of an agent, and its name in the ledger; none where nothing changes.
type Change = Option<(AgentRecord, &'static str)>;

impl Control {
    /// The time by which signatures and codes are judged.
    pub fn time(&self) -> Timestamp {
        self.now()
    }

    /// Issues a code with which an agent enrols, once, within [`CODE_LIFETIME`]. Only its
    /// digest is kept. A code issued before is void. The agent may be new, enrolled (its
    /// keys are replaced when the code is used) or revoked.
    ///
    /// # Errors
    /// `Forbidden`; `NotFound` for a library that does not exist;
    /// `Busy` with [`MAX_AGENTS`] agents.
    pub async fn issue_enrolment_code(
        &self,
        who: &Principal,
        agent: &AgentId,
        library: &LibraryId,
    ) -> Answer<EnrolmentCode> {
        self.authorize(who, Action::EnrolAgent, Resource::Agent(agent))?;
        self.check_library(library).await?;
        let mut random = [0; CODE_BYTES];
        self.ports.randomness.fill(&mut random);
        let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let code = CodeText::new(&text);
        let kept = digest(code.plain().as_bytes());
        let record = self
            .change_agent(agent, |record, now| {
                let expires = after(now, CODE_LIFETIME);
                let mut next = record
                    .cloned()
                    .unwrap_or_else(|| AgentRecord::new(agent, library, now));
                next.agent.code_expires = Some(expires);
                next.code = Some(OpenCode {
                    digest: kept,
                    library: library.clone(),
                    expires,
                });
                Ok(Some((next, "invited")))
            })
            .await?;
        let expires = record.code.map_or(self.now(), |code| code.expires);
        Ok(EnrolmentCode {
            agent: agent.clone(),
            library: library.clone(),
            code,
            expires,
        })
    }

    /// Enrols an agent with its key. The caller has checked that the key signed the
    /// question. Asked again with the same code and key, the answer is the same: an answer
    /// that was lost locks nobody out.
    ///
    /// # Errors
    /// `Unauthorized` for a code that is unknown, used, expired, or another agent's.
    pub async fn enrol(&self, question: Enrol) -> Answer<EnrolAnswer> {
        let shown = digest(question.code.plain().as_bytes());
        let agent = &question.agent;
        let no = |found: &str| {
            let text = format!(
                "expected a code that is open for agent {agent}, found {found}; an operator \
                 issues a new one: tapemark agent enrol-code {agent}"
            );
            Refusal::new(Code::Unauthorized, text).at("code")
        };
        let record = self
            .change_agent(agent, |record, now| {
                let record = record.ok_or_else(|| no("another"))?;
                if let Some(used) = record.used.as_ref().filter(|u| same(&u.digest, &shown)) {
                    let again = used.key == question.key
                        && record.agent.state == AgentState::Enrolled
                        && record.agent.keys.iter().any(|h| h.key == question.key);
                    return if again {
                        Ok(None)
                    } else {
                        Err(no("one that was used with another key"))
                    };
                }
                let code = record.code.as_ref().filter(|c| same(&c.digest, &shown));
                let code = code.ok_or_else(|| no("another"))?;
                if now >= code.expires {
                    return Err(no(&format!("one that was good until {}", code.expires)));
                }
                let mut next = record.clone();
                next.agent.library = code.library.clone();
                next.used = Some(UsedCode {
                    digest: shown,
                    key: question.key,
                });
                next.enrolled(question.key, now);
                Ok(Some((next, "enrolled")))
            })
            .await?;
        Ok(EnrolAnswer {
            agent: record.agent.id,
            library: record.agent.library,
        })
    }

    /// Registers an agent whose key the operator has at hand, without a code: as
    /// `tapemark up` does with its own. Nothing changes where the agent has this key, and
    /// where it was revoked.
    ///
    /// # Errors
    /// `Forbidden`; `NotFound` for a library that does not exist;
    /// `Busy` with [`MAX_AGENTS`] agents.
    pub async fn register_agent(
        &self,
        who: &Principal,
        agent: &AgentId,
        library: &LibraryId,
        key: AgentKey,
    ) -> Answer<Agent> {
        self.authorize(who, Action::EnrolAgent, Resource::Agent(agent))?;
        self.check_library(library).await?;
        let record = self
            .change_agent(agent, |record, now| {
                let known = record.is_some_and(|record| {
                    let agent = &record.agent;
                    let has = agent.keys_at(now).any(|held| held.key == key);
                    agent.state == AgentState::Revoked || (has && agent.library == *library)
                });
                if known {
                    return Ok(None);
                }
                let mut next = record
                    .cloned()
                    .unwrap_or_else(|| AgentRecord::new(agent, library, now));
                next.agent.library = library.clone();
                next.enrolled(key, now);
                Ok(Some((next, "registered")))
            })
            .await?;
        Ok(record.agent)
    }

    /// Puts a new key in place of the newest one, which stays good for
    /// [`ROTATION_OVERLAP`]. `signed_by` is the key that signed the question, as the caller
    /// has checked, and that the new key's proof holds. Asked again, also under the key
    /// before, the answer is the same.
    ///
    /// # Errors
    /// `Forbidden` for a key that is not the newest, and for a revoked agent.
    pub async fn rotate_agent(
        &self,
        question: &Rotate,
        signed_by: &AgentKey,
    ) -> Answer<RotateAnswer> {
        let record = self
            .change_agent(&question.agent, |record, now| {
                let agent = record.map(|record| &record.agent);
                let newest = agent
                    .filter(|agent| agent.state == AgentState::Enrolled)
                    .and_then(|agent| agent.keys.first());
                let (Some(record), Some(newest)) = (record, newest) else {
                    let text = format!("expected agent {} to be enrolled", question.agent);
                    return Err(Refusal::new(Code::Forbidden, text));
                };
                if newest.key == question.key {
                    return Ok(None);
                }
                if newest.key != *signed_by {
                    let text = format!(
                        "expected a rotation signed by the newest key, {}, found one before it",
                        newest.key
                    );
                    return Err(Refusal::new(Code::Forbidden, text));
                }
                let before = HeldKey {
                    until: Some(after(now, ROTATION_OVERLAP)),
                    ..*newest
                };
                let mut next = record.clone();
                next.agent.changed = now;
                next.agent.keys = vec![held(question.key, now), before];
                Ok(Some((next, "rotated")))
            })
            .await?;
        let before = record.agent.keys.get(1).and_then(|held| held.until);
        Ok(RotateAnswer {
            previous_until: before.unwrap_or(record.agent.changed),
        })
    }

    /// Takes an agent's right to speak. What it was doing ends when its lease runs out.
    ///
    /// # Errors
    /// `Forbidden`; `NotFound`.
    pub async fn revoke_agent(&self, who: &Principal, agent: &AgentId) -> Answer<Agent> {
        self.authorize(who, Action::RevokeAgent, Resource::Agent(agent))?;
        let record = self
            .change_agent(agent, |record, now| {
                let Some(record) = record else {
                    let text = format!("no agent {agent}");
                    return Err(Refusal::new(Code::NotFound, text));
                };
                if record.agent.state == AgentState::Revoked && record.code.is_none() {
                    return Ok(None);
                }
                let mut next = record.clone();
                (next.code, next.used, next.agent.code_expires) = (None, None, None);
                next.agent.state = AgentState::Revoked;
                next.agent.changed = now;
                Ok(Some((next, "revoked")))
            })
            .await?;
        Ok(record.agent)
    }

    /// All agents, by name.
    ///
    /// # Errors
    /// `Forbidden`; `Transient`.
    pub async fn agents(&self, who: &Principal) -> Answer<Vec<Agent>> {
        self.authorize(who, Action::ViewAgent, Resource::Installation)?;
        let found = self.agent_records().await?;
        Ok(found.into_iter().map(|record| record.agent).collect())
    }

    /// One agent, for the gateway that checks its signature.
    ///
    /// # Errors
    /// `Transient` where the catalogue could not be asked.
    pub async fn agent_to_check(&self, id: &AgentId) -> Answer<Option<Agent>> {
        let seen = self.get::<AgentRecord>(&keys::agent(id)).await?;
        Ok(seen.map(|seen| seen.value.agent))
    }

    /// Notes that an agent was heard, at most once an hour.
    ///
    /// # Errors
    /// `Transient` where the catalogue could not be asked.
    pub async fn note_agent(&self, id: &AgentId) -> Answer<()> {
        let Some(seen) = self.get::<AgentRecord>(&keys::agent(id)).await? else {
            return Ok(());
        };
        let now = self.now();
        let due = |last: Timestamp| after(last, SEEN_EVERY) <= now;
        if !seen.value.agent.last_seen.is_none_or(due) {
            return Ok(());
        }
        let mut next = seen.value;
        next.agent.last_seen = Some(now);
        let mut tx = Tx::new();
        tx.replace(&next, seen.version);
        let answer = self.transact(tx).await;
        // Somebody else noted it, or changed the agent: the next question notes it.
        if lost_race(&answer) { Ok(()) } else { answer }
    }

    /// True where the agent holds this session. False where nobody does: the call itself
    /// says why.
    ///
    /// # Errors
    /// `Forbidden` where it is another agent's.
    pub async fn speaks_for(&self, agent: &AgentId, session: &SessionRef) -> Answer<bool> {
        let lease = self
            .get::<VolumeLease>(&keys::volume_lease(&session.volume))
            .await?;
        let hold = lease
            .and_then(|seen| seen.value.hold)
            .filter(|hold| hold.session == session.session);
        match hold {
            Some(hold) if hold.agent == *agent => Ok(true),
            Some(_) => Err(Refusal::new(
                Code::Forbidden,
                format!(
                    "expected a session of agent {agent}, found another agent's: {}",
                    session.session
                ),
            )
            .at("session")),
            None => Ok(false),
        }
    }

    async fn check_library(&self, library: &LibraryId) -> Answer<()> {
        let seen = self.get::<LibraryRecord>(&keys::library(library)).await?;
        seen.map(drop).ok_or_else(|| {
            Refusal::new(Code::NotFound, format!("no library {library}")).at("library")
        })
    }

    async fn agent_records(&self) -> Answer<Vec<AgentRecord>> {
        let found = self
            .first::<AgentRecord>(
                Index::Main,
                keys::AGENTS.to_owned(),
                SortKeys::All,
                MAX_AGENTS,
            )
            .await?;
        Ok(found.into_iter().map(|seen| seen.value).collect())
    }

    /// Changes an agent and says so in the ledger, in one transaction.
    async fn change_agent(
        &self,
        id: &AgentId,
        change: impl Fn(Option<&AgentRecord>, Timestamp) -> Answer<Change> + Send + Sync,
    ) -> Answer<AgentRecord> {
        // The ledger's head is not fought over within a process.
        let _turn = self.combined.turn.lock().await;
        for _ in 0..TRIES {
            let seen = self.get::<AgentRecord>(&keys::agent(id)).await?;
            let now = self.now();
            let Some((next, what)) = change(seen.as_ref().map(|seen| &seen.value), now)? else {
                return seen.map(|seen| seen.value).ok_or_else(|| {
                    Refusal::new(Code::Internal, format!("agent {id} is not there to stay"))
                });
            };
            if seen.is_none() && self.agent_records().await?.len() >= MAX_AGENTS as usize {
                let text = format!("expected fewer than {MAX_AGENTS} agents");
                return Err(Refusal::new(Code::Busy, text));
            }
            let mut tx = Tx::new();
            match &seen {
                Some(seen) => tx.replace(&next, seen.version),
                None => tx.create(&next),
            }
            let head = self.seen_head().await?;
            self.append_leaves(&mut tx, &head, vec![leaf(&next.agent, what, now)], 0);
            let answer = self.transact(tx).await;
            if !lost_race(&answer) {
                tracing::info!(agent = %id, change = what, "agent");
                return answer.map(|()| next);
            }
        }
        Err(Refusal::new(Code::Conflict, "others were faster each time"))
    }
}

impl AgentRecord {
    fn new(id: &AgentId, library: &LibraryId, now: Timestamp) -> Self {
        Self {
            agent: Agent {
                id: id.clone(),
                library: library.clone(),
                state: AgentState::Invited,
                keys: Vec::new(),
                created: now,
                changed: now,
                last_seen: None,
                code_expires: None,
            },
            code: None,
            used: None,
        }
    }

    /// This key and no other from now on.
    fn enrolled(&mut self, key: AgentKey, now: Timestamp) {
        self.code = None;
        self.agent.code_expires = None;
        self.agent.state = AgentState::Enrolled;
        self.agent.changed = now;
        self.agent.keys = vec![held(key, now)];
    }
}

const fn held(key: AgentKey, since: Timestamp) -> HeldKey {
    HeldKey {
        key,
        since,
        until: None,
    }
}

fn after(time: Timestamp, span: SignedDuration) -> Timestamp {
    time.checked_add(span).unwrap_or(Timestamp::MAX)
}

/// True where both are the same. Takes the same time wherever they differ.
fn same(a: &Sha256, b: &Sha256) -> bool {
    let differing = a.0.iter().zip(&b.0).fold(0, |sum, (a, b)| sum | (a ^ b));
    std::hint::black_box(differing) == 0
}

/// What the ledger says of a change. Public keys are no secrets.
fn leaf(agent: &Agent, change: &str, now: Timestamp) -> String {
    canonical_json(&json!({
        "event": "agent",
        "change": change,
        "at": now,
        "agent": agent.id,
        "library": agent.library,
        "keys": agent.keys.iter().map(|held| held.key).collect::<Vec<_>>(),
    }))
}
