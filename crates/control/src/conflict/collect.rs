//! Who contends with a group: a few queries on its lineages, however many checkpoints
//! there are.
//!
//! All of them read the table itself. A group is in its lineages before it asks who else is
//! there, so of two that contend at least the one that came later sees the other, in
//! whatever processes they are decided. What became of somebody who is mentioned there is
//! read in its own group's record: so nobody is missed who is committed meanwhile, although
//! what a query shows is not of one moment. The one thing that may be missed for the
//! milliseconds in which somebody's commit is being written is that it is the newest of its
//! lineage; then something older is written as well, which is no harm.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};

use model::{CheckpointId, Contender, GroupId, State};

use crate::catalogue::{Answer, Record as _, Seen, query};
use crate::ports::{Index, Key, SortKeys};
use crate::records::{
    ContentRecord, GroupRecord, LineageRecord, StepKind, SuccessorRecord, WorkRecord, lineage_of,
};
use crate::{Control, keys};

/// At most so many open requests of one lineage are considered, the newest.
const OPEN: usize = 64;
/// How much of a lineage is read at once: the open ones that are considered, and those that
/// were committed lately.
const PAGE: u32 = 72;
/// So many with the same content are looked for at once, the oldest first.
const SAME: u32 = 16;

/// A group and those it contends with.
pub(crate) struct Gathered {
    pub(crate) own: Seen<GroupRecord>,
    pub(crate) others: BTreeMap<GroupId, Other>,
    /// All contenders, its own included.
    pub(crate) contenders: Vec<Contender>,
    /// What was found in the lineages and means nothing any more.
    pub(crate) obsolete: BTreeSet<Key>,
}

/// Another group that is not final.
#[derive(Clone)]
pub(crate) struct Other {
    pub(crate) seen: Seen<GroupRecord>,
    pub(crate) work: Vec<Seen<WorkRecord>>,
}

impl Other {
    /// True where the group has a place on volumes: it has gone ahead, and is not final.
    pub(crate) fn was_placed(&self) -> bool {
        let record = &self.seen.value;
        match record.group.lifecycle.state() {
            State::Submitted => false,
            // Resumed by an operator, with what is written already.
            State::Staged => record.parts().next().is_some(),
            state => !state.is_final(),
        }
    }
}

/// Who was found so far.
struct Found {
    own: GroupId,
    groups: BTreeMap<GroupId, Seen<GroupRecord>>,
    committed: BTreeMap<CheckpointId, Contender>,
    obsolete: BTreeSet<Key>,
}

impl Control {
    /// The contenders of a staged group.
    pub(crate) async fn gather(&self, own: Seen<GroupRecord>) -> Answer<Gathered> {
        let mut found = Found {
            own: own.value.group.id,
            groups: BTreeMap::new(),
            committed: BTreeMap::new(),
            obsolete: BTreeSet::new(),
        };
        let members = own.value.members.iter();
        let mut contenders: Vec<_> = members.map(|m| own.value.contender(m, false)).collect();
        for c in &contenders {
            self.of_lineage(c, &mut found).await?;
            self.of_content(c, &mut found).await?;
            self.of_parent(c, &mut found).await?;
        }
        contenders.extend(found.committed.into_values());
        let mut others = BTreeMap::new();
        for (id, seen) in found.groups {
            if seen.value.group.lifecycle.state().is_final() {
                continue;
            }
            let work = self.work_of(&seen.value).await?;
            let settled = is_settled(&seen.value, &work);
            for member in &seen.value.members {
                contenders.push(seen.value.contender(member, settled));
            }
            others.insert(id, Other { seen, work });
        }
        Ok(Gathered {
            own,
            others,
            contenders,
            obsolete: found.obsolete,
        })
    }

    /// Open requests of the lineage, and the newest that is committed.
    async fn of_lineage(&self, c: &Contender, found: &mut Found) -> Answer<()> {
        let (service, branch) = lineage_of(c);
        let mut question = query(
            Index::Main,
            keys::lineage_pk(service, branch),
            SortKeys::Prefix(keys::LINEAGE_PREFIX.to_owned()),
            PAGE,
        );
        question.descending = true;
        let mut open = 0;
        let mut newest = false;
        loop {
            let (records, next) = self.page::<LineageRecord>(question.clone()).await?;
            for Seen { value, .. } in records {
                if !value.committed {
                    open += 1;
                    if open <= OPEN {
                        let o = &value.contender;
                        self.mentioned(o.group, o.id, found).await?;
                    }
                } else if newest {
                    // A newer one is committed, and stays so.
                    found.obsolete.insert(value.key());
                } else {
                    newest = true;
                    let settled = Contender {
                        settled: true,
                        ..value.contender
                    };
                    found.committed.insert(settled.id, settled);
                }
            }
            question.after = next;
            if question.after.is_none() || (newest && open >= OPEN) {
                return Ok(());
            }
        }
    }

    /// Those with the same content, as far as the first that are not over.
    async fn of_content(&self, c: &Contender, found: &mut Found) -> Answer<()> {
        let (service, branch) = lineage_of(c);
        let mut question = query(
            Index::Main,
            keys::lineage_pk(service, branch),
            SortKeys::Prefix(keys::same_content(c.content)),
            SAME,
        );
        loop {
            let (records, next) = self.page::<ContentRecord>(question.clone()).await?;
            let mut others = false;
            for Seen { value, .. } in records {
                if value.group == found.own {
                    continue;
                }
                if self.mentioned(value.group, value.checkpoint, found).await? {
                    others = true;
                } else {
                    found.obsolete.insert(value.key());
                }
            }
            question.after = next;
            if others || question.after.is_none() {
                return Ok(());
            }
        }
    }

    /// Whoever holds the place after the parent.
    async fn of_parent(&self, c: &Contender, found: &mut Found) -> Answer<()> {
        let (service, branch) = lineage_of(c);
        let Some(parent) = c.parent else {
            return Ok(());
        };
        let place = keys::successor(service, branch, parent);
        if let Some(place) = self.get::<SuccessorRecord>(&place).await? {
            for holder in place.value.holders {
                self.mentioned(holder.group, holder.checkpoint, found)
                    .await?;
            }
        }
        Ok(())
    }

    /// Notes a group that contends. False where it ended without being committed.
    async fn mentioned(
        &self,
        group: GroupId,
        checkpoint: CheckpointId,
        found: &mut Found,
    ) -> Answer<bool> {
        if group == found.own {
            return Ok(true);
        }
        let seen = match found.groups.entry(group) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => free.insert(self.group_record(group).await?),
        };
        let record = &seen.value;
        if *record.group.lifecycle.state() != State::Committed {
            return Ok(!record.group.lifecycle.state().is_final());
        }
        let mut members = record.members.iter();
        if let Some(member) = members.find(|member| member.checkpoint.id == checkpoint) {
            let contender = record.contender(member, true);
            found.committed.insert(checkpoint, contender);
        }
        Ok(true)
    }

    /// The work items of a group that are not done: those of the step that it waits for.
    pub(crate) async fn work_of(&self, record: &GroupRecord) -> Answer<Vec<Seen<WorkRecord>>> {
        let Some(step) = &record.step else {
            return Ok(Vec::new());
        };
        let state = record.group.lifecycle.state();
        if !matches!(state, State::Executing | State::Written)
            || !matches!(step.kind, StepKind::Write | StepKind::Verify)
        {
            return Ok(Vec::new());
        }
        let keys = crate::phases::work_keys(record, step)?;
        let found = self.get_all::<WorkRecord>(keys).await?;
        Ok(found.into_iter().flatten().collect())
    }
}

/// True once an agent has had a hand in it.
pub(crate) fn is_settled(record: &GroupRecord, work: &[Seen<WorkRecord>]) -> bool {
    match record.group.lifecycle.state() {
        State::Submitted | State::Staged | State::Allocated => {
            record.parts().any(|part| part.written.is_some())
        }
        State::Executing => {
            record.parts().any(|part| part.written.is_some())
                || work.iter().any(|seen| seen.value.claimed.is_some())
        }
        _ => true,
    }
}
