//! The place after a parent: one content holds it, so that no history ever forks.
//!
//! A decision is made on what a conflict set shows, and a set does not show everything: a
//! round may be decided in several sets, processes decide at the same time, and what was
//! placed since is not in it. So the transaction that places a group takes the place after
//! each parent that it names, on condition of what it saw there. Where that lies with
//! other content, the group goes ahead only where the decision ends whoever holds it, and
//! that happens in the same transaction.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};

use model::{Action, CheckpointId, Code, GroupId, LifecycleEvent, Refusal, Sha256};

use super::Plan;
use super::verdicts::{final_refusal, standing, superseder, took_its_place};
use crate::books::Accounts;
use crate::catalogue::Answer;
use crate::conflict::{Other, is_settled};
use crate::decide::Ruling;
use crate::finish::giving_up;
use crate::records::{GroupRecord, Holder, SuccessorRecord};
use crate::{Control, keys};

/// At most so many groups that are under way hold one place together, all with the same
/// content. An item has room for thousands; each one is read by whoever asks next.
const MAX_HOLDERS: usize = 16;

/// What became of the places that a group needs.
pub(super) enum Places {
    /// The plan takes them.
    Taken,
    /// Somebody has one who may yet lose it.
    Later(String),
    /// Somebody has one for good, or is about to.
    Never(Refusal),
}

impl Control {
    /// Adds to the plan what takes the places after all parents that a staged group names,
    /// and ends those who have to give way.
    pub(super) async fn take_places(
        &self,
        ruling: &Ruling,
        own: &GroupRecord,
        placed: &BTreeSet<GroupId>,
        accounts: &mut Accounts,
        plan: &mut Plan,
    ) -> Answer<Places> {
        let mut known: BTreeMap<GroupId, Other> = BTreeMap::new();
        let mut rivals: BTreeMap<GroupId, CheckpointId> = BTreeMap::new();
        for member in &own.members {
            let c = &member.checkpoint;
            let Some(parent) = c.parent else { continue };
            let key = keys::successor(&c.service, c.branch.as_ref(), parent);
            let seen = self.get::<SuccessorRecord>(&key).await?;
            let holders: Vec<(Holder, Sha256)> = match &seen {
                Some(seen) => {
                    let place = &seen.value;
                    place.holders.iter().map(|h| (*h, place.content)).collect()
                }
                None => Vec::new(),
            };
            let (mut same, mut mine, mut forever) = (Vec::new(), false, None);
            for (holder, content) in holders {
                if holder.group == own.group.id {
                    mine = content == c.content;
                    continue;
                }
                let other = self.known(&mut known, holder.group).await?;
                let record = &other.seen.value;
                let committed = *record.group.lifecycle.state() == model::State::Committed;
                if record.group.lifecycle.state().is_final() && !committed {
                    continue;
                }
                if content == c.content {
                    if committed {
                        forever = Some(holder);
                    }
                    same.push(holder);
                } else if is_settled(record, &other.work) {
                    return Ok(Places::Never(
                        Refusal::new(
                            Code::LineageFork,
                            format!(
                                "checkpoint {} follows {parent} with other content",
                                holder.checkpoint
                            ),
                        )
                        .at(format!("members[{}].parent", c.index)),
                    ));
                } else {
                    rivals.insert(holder.group, holder.checkpoint);
                }
            }
            // Where it is this group's already, or that content's for ever, nobody can have
            // taken it away meanwhile: this group would be final, or the other one not
            // committed.
            if seen.is_some() && (mine || forever.is_some()) {
                continue;
            }
            if let Some(forever) = forever {
                same = vec![forever];
            } else if same.len() >= MAX_HOLDERS {
                return Ok(Places::Later(format!(
                    "{MAX_HOLDERS} groups with the same content follow {parent} already"
                )));
            } else {
                same.push(Holder {
                    group: own.group.id,
                    checkpoint: c.id,
                });
            }
            let place = SuccessorRecord {
                service: c.service.clone(),
                branch: c.branch.clone(),
                parent,
                content: c.content,
                holders: same,
            };
            match seen {
                Some(seen) => plan.tx.replace(&place, seen.version),
                None => plan.tx.create(&place),
            }
        }
        for (id, checkpoint) in rivals {
            let rival = self.known(&mut known, id).await?;
            let Some((event, refusal)) = give_way(ruling, own, rival, placed, plan) else {
                return Ok(Places::Later(format!(
                    "checkpoint {checkpoint} is on its way to follow the same parent"
                )));
            };
            self.end_other(ruling, rival, event, &refusal, accounts, plan)
                .await?;
        }
        Ok(Places::Taken)
    }

    /// A group with its work, read once a plan.
    async fn known<'a>(
        &self,
        known: &'a mut BTreeMap<GroupId, Other>,
        id: GroupId,
    ) -> Answer<&'a Other> {
        Ok(match known.entry(id) {
            Entry::Occupied(found) => found.into_mut(),
            Entry::Vacant(free) => {
                let seen = self.group_record(id).await?;
                let work = self.work_of(&seen.value).await?;
                free.insert(Other { seen, work })
            }
        })
    }
}

/// How a rival that no agent has yet ends where the decision says that it does.
fn give_way(
    ruling: &Ruling,
    own: &GroupRecord,
    rival: &Other,
    placed: &BTreeSet<GroupId>,
    plan: &mut Plan,
) -> Option<(LifecycleEvent, Refusal)> {
    let verdicts = ruling.verdicts(&rival.seen.value);
    match &verdicts.first()?.action {
        Action::Supersede { by } => {
            let by = superseder(&verdicts, own).unwrap_or(*by);
            for (group, version) in standing(ruling, &verdicts, own, placed)? {
                plan.check(group, version);
            }
            Some((LifecycleEvent::Supersede(by), took_its_place(by)))
        }
        Action::Reject { refusal } => {
            let refusal = final_refusal(refusal);
            Some((giving_up(&rival.seen.value, &refusal)?, refusal))
        }
        _ => None,
    }
}
