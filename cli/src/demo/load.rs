//! What the demo submits, and when.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::{Value, json};

use super::files::{Deck, RealFile};
use crate::client::Client;
use crate::client::types::{Group, LedgerHead, Page, Submitted};
use crate::failure::{Failure, No};
use crate::out::Out;
use crate::submit::{group, poll, send};
use crate::up::Running;

/// How many submissions are under way at once.
const AT_ONCE: usize = 32;
/// How long one group may take.
const PATIENCE: SignedDuration = SignedDuration::from_secs(300);
/// For how long nothing may be committed before something must be wrong.
const STANDSTILL: Duration = Duration::from_secs(90);
/// How many services each story takes.
const PAIRS: usize = 3;
const FORKS: usize = 2;
const GROUP: usize = 3;

/// Who plays which part. Services are numbered; the first few have a story to tell.
pub(super) struct Plan {
    deck: Deck,
}

/// One submission's place in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Part {
    /// Which service.
    pub(super) service: usize,
    /// Which version of it, from 1.
    pub(super) version: usize,
}

impl Plan {
    /// A plan for these services.
    pub(super) fn new(deck: Deck) -> Self {
        Self { deck }
    }

    fn superseded(&self) -> std::ops::Range<usize> {
        0..PAIRS
    }

    fn duplicated(&self) -> std::ops::Range<usize> {
        PAIRS..2 * PAIRS
    }

    fn forked(&self) -> std::ops::Range<usize> {
        2 * PAIRS..2 * PAIRS + FORKS
    }

    fn good_group(&self) -> std::ops::Range<usize> {
        let first = 2 * PAIRS + FORKS;
        first..first + GROUP
    }

    fn bad_group(&self) -> std::ops::Range<usize> {
        let first = self.good_group().end;
        first..first + GROUP
    }

    fn others(&self) -> std::ops::Range<usize> {
        self.bad_group().end..self.deck.hands.len()
    }

    /// How many checkpoints must be committed in the end.
    pub(super) fn committed(&self) -> usize {
        self.deck.hands.len() - GROUP + FORKS
    }

    /// How many must be superseded, merged, and refused.
    pub(super) fn not_committed(&self) -> (usize, usize, usize) {
        (PAIRS, PAIRS, GROUP + FORKS)
    }

    /// How many submissions of several services must be committed.
    pub(super) fn groups(&self) -> usize {
        1
    }

    /// The name of a service.
    pub(super) fn name(service: usize) -> String {
        format!("team-{:02}/service-{service:04}", service % 40)
    }

    /// All services' names.
    pub(super) fn services(&self) -> impl Iterator<Item = String> {
        (0..self.deck.hands.len()).map(Self::name)
    }

    /// The files of a version. The first has the service's own hand; each later one has
    /// its neighbour's, which is other content.
    pub(super) fn files(&self, part: Part) -> &[RealFile] {
        let hands = &self.deck.hands;
        &hands[(part.service + (part.version - 1) * 17) % hands.len()]
    }

    /// A member as the API takes it.
    fn member(&self, part: Part, parent: Option<&str>) -> Value {
        let artifacts: Vec<Value> = self
            .files(part)
            .iter()
            .map(|file| {
                json!({
                    "name": file.name,
                    "source": format!("file://{}", file.path.display()),
                    "size": file.size,
                    "sha256": file.sha256,
                })
            })
            .collect();
        let mut member = json!({
            "service": Self::name(part.service),
            "version": format!("1.{}", part.version),
            "artifacts": artifacts,
        });
        if let Some(parent) = parent {
            member["parent"] = parent.into();
        }
        member
    }
}

/// What was submitted, and where it is found again.
#[derive(Default)]
pub(super) struct Sent {
    /// Which part each checkpoint plays.
    pub(super) parts: BTreeMap<String, Part>,
    /// The good group's id.
    pub(super) good_group: Option<String>,
    /// How often the agent was killed.
    pub(super) kills: u32,
}

impl Sent {
    fn note(&mut self, submitted: &Submitted, parts: &[Part]) {
        for (id, part) in submitted.checkpoints.iter().zip(parts) {
            self.parts.insert(id.clone(), *part);
        }
    }
}

async fn submit_one(
    client: &Client,
    plan: &Plan,
    part: Part,
    parent: Option<&str>,
    key: &str,
) -> Result<Submitted, Failure> {
    let input = json!({ "members": [plan.member(part, parent)] });
    send(
        client,
        &input,
        &format!("demo-{}-{}{key}", part.service, part.version),
    )
    .await
}

async fn ended(client: &Client, id: &str) -> Result<Group, Failure> {
    poll(
        &format!("group {id}"),
        PATIENCE,
        || group(client, id),
        |group: &Group| group.is_final || group.state == "parked",
    )
    .await
}

/// Submits what contends with one another, while no agent is there to claim it.
pub(super) async fn contend(client: &Client, plan: &Plan, sent: &mut Sent) -> Result<(), Failure> {
    for service in plan.superseded() {
        let (old, new) = (
            Part {
                service,
                version: 1,
            },
            Part {
                service,
                version: 2,
            },
        );
        let older = submit_one(client, plan, old, None, "").await?;
        waits_for_agent(client, &older.group).await?;
        let newer = submit_one(client, plan, new, None, "").await?;
        ended(client, &older.group).await?;
        sent.note(&older, &[old]);
        sent.note(&newer, &[new]);
    }
    for service in plan.duplicated() {
        let part = Part {
            service,
            version: 1,
        };
        let first = submit_one(client, plan, part, None, "").await?;
        waits_for_agent(client, &first.group).await?;
        // It waits for what becomes of the first one.
        let again = submit_one(client, plan, part, None, "-again").await?;
        sent.note(&first, &[part]);
        sent.note(&again, &[part]);
    }
    for (range, spoil) in [(plan.good_group(), false), (plan.bad_group(), true)] {
        let parts: Vec<Part> = range
            .map(|service| Part {
                service,
                version: 1,
            })
            .collect();
        let mut members: Vec<Value> = parts.iter().map(|part| plan.member(*part, None)).collect();
        if spoil {
            members[1]["artifacts"][0]["sha256"] = model::Sha256::EMPTY.to_hex().into();
        }
        let input = json!({ "members": members, "expectedMembers": parts.len() });
        let submitted = send(client, &input, &format!("demo-group-{spoil}")).await?;
        sent.note(&submitted, &parts);
        if spoil {
            ended(client, &submitted.group).await?;
        } else {
            sent.good_group = Some(submitted.group);
        }
    }
    Ok(())
}

/// Waits until a group's work waits for the agent.
async fn waits_for_agent(client: &Client, id: &str) -> Result<(), Failure> {
    let group = poll(
        &format!("group {id}"),
        PATIENCE,
        || group(client, id),
        |group: &Group| group.is_final || group.state == "executing",
    )
    .await?;
    if group.is_final {
        Err(Failure::Refused(group.refusals))
    } else {
        Ok(())
    }
}

/// Submits all the others at once, begins two histories that fork, and kills the agent
/// when 40 % are on tape.
pub(super) async fn everything(
    out: &Out,
    client: &Client,
    running: &Running,
    plan: &Plan,
    sent: &mut Sent,
) -> Result<(), Failure> {
    let total = plan.committed() as u64;
    let bar = out.count_bar("on tape", total);
    let submitting = out.count_bar("submitted", plan.others().len() as u64);
    let others = async {
        let submitted: Vec<(Submitted, Part)> = stream::iter(plan.others())
            .map(|service| {
                let submitting = submitting.clone();
                async move {
                    let part = Part {
                        service,
                        version: 1,
                    };
                    let submitted = submit_one(client, plan, part, None, "").await?;
                    submitting.inc(1);
                    Ok::<_, Failure>((submitted, part))
                }
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        Ok::<_, Failure>(submitted)
    };
    let forks = stream::iter(plan.forked())
        .map(|service| fork(client, plan, service))
        .buffer_unordered(FORKS)
        .try_collect::<Vec<_>>();
    let watch = async {
        let mut killed = 0;
        let mut last = (0, Instant::now());
        loop {
            let head: LedgerHead = client
                .ask(
                    "ledgerHead",
                    "{ ledgerHead { size root committed } }",
                    json!({}),
                )
                .await?;
            bar.set_position(head.committed);
            if head.committed != last.0 {
                last = (head.committed, Instant::now());
            }
            if killed == 0 && head.committed >= total * 2 / 5 && running.agent.kill().is_some() {
                killed += 1;
                bar.set_message("agent killed; another one takes over");
            }
            // Where something goes wrong, the report says what, and there is no point in
            // waiting for it here.
            if head.committed >= total || last.1.elapsed() > STANDSTILL {
                return Ok::<_, Failure>(killed);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let (submitted, forked, kills) = tokio::try_join!(others, forks, watch)?;
    bar.finish_and_clear();
    submitting.finish_and_clear();
    for (submitted, part) in submitted.iter().chain(forked.iter().flatten()) {
        sent.note(submitted, &[*part]);
    }
    sent.kills = kills;
    Ok(())
}

/// One history, and then a second successor of its first checkpoint, which must not be.
async fn fork(
    client: &Client,
    plan: &Plan,
    service: usize,
) -> Result<Vec<(Submitted, Part)>, Failure> {
    let mut done: Vec<(Submitted, Part)> = Vec::new();
    for version in 1..=3 {
        let part = Part { service, version };
        let parent = done
            .first()
            .and_then(|(first, _)| first.checkpoints.first())
            .cloned();
        let submitted = submit_one(client, plan, part, parent.as_deref(), "").await?;
        ended(client, &submitted.group).await?;
        done.push((submitted, part));
    }
    Ok(done)
}

/// A checkpoint at the end.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Settled {
    pub(super) id: String,
    pub(super) service: String,
    pub(super) state: String,
    pub(super) refusals: Vec<No>,
    pub(super) bytes: u64,
    pub(super) submitted_at: jiff::Timestamp,
    pub(super) staged_at: Option<jiff::Timestamp>,
    pub(super) committed_at: Option<jiff::Timestamp>,
    pub(super) group: InGroup,
}

/// The group of a checkpoint at the end.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct InGroup {
    pub(super) id: String,
    #[serde(rename = "final")]
    pub(super) is_final: bool,
}

/// Waits until nothing changes any more, and gives every checkpoint as it is.
pub(super) async fn settle(client: &Client, sent: &Sent) -> Result<Vec<Settled>, Failure> {
    poll(
        "the demo",
        PATIENCE,
        || all(client),
        |list: &Vec<Settled>| {
            list.len() >= sent.parts.len()
                && list
                    .iter()
                    .all(|one| one.group.is_final || one.state == "PARKED")
        },
    )
    .await
}

async fn all(client: &Client) -> Result<Vec<Settled>, Failure> {
    let query = "query($after: String) { checkpoints(first: 200, after: $after) { nodes { \
                 id service state refusals { code message hint field } bytes submittedAt \
                 stagedAt committedAt group { id final } } \
                 pageInfo { hasNextPage endCursor } } }";
    let mut list = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page: Page<Settled> = client
            .ask("checkpoints", query, json!({ "after": after }))
            .await?;
        list.extend(page.nodes);
        if !page.page_info.has_next_page {
            return Ok(list);
        }
        after = page.page_info.end_cursor;
    }
}
