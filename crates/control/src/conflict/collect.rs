//! Who contends with a group: a few queries on its lineages, however many checkpoints
//! there are.

use std::collections::BTreeMap;

use model::{CheckpointId, Contender, GroupId, ServiceName, State, Version};

use crate::catalogue::{Answer, Seen, query};
use crate::ports::{Index, SortKeys};
use crate::records::{GroupRecord, LineageRecord, SuccessorRecord, WorkRecord, lineage_of};
use crate::{Control, keys};

/// At most so many open requests of one lineage are considered, the newest.
const OPEN: u32 = 64;
/// At most so many with the same content, or with the same parent; whoever holds the
/// parent's place is seen besides.
const SAME: u32 = 16;

/// A group and those it contends with.
pub(crate) struct Gathered {
    pub(crate) own: Seen<GroupRecord>,
    pub(crate) others: BTreeMap<GroupId, Other>,
    /// All contenders, its own included.
    pub(crate) contenders: Vec<Contender>,
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

impl Control {
    /// The contenders of a staged group.
    pub(crate) async fn gather(&self, own: Seen<GroupRecord>) -> Answer<Gathered> {
        let mut found: BTreeMap<CheckpointId, LineageRecord> = BTreeMap::new();
        for member in &own.value.members {
            let c = own.value.contender(member, false);
            for record in self.lineage(&c).await? {
                found.insert(record.contender.id, record);
            }
        }
        let mut contenders: Vec<_> = own
            .value
            .members
            .iter()
            .map(|member| own.value.contender(member, false))
            .collect();
        let mut others = BTreeMap::new();
        for record in found.into_values() {
            let group = record.contender.group;
            if group == own.value.group.id || others.contains_key(&group) {
                continue;
            }
            if record.committed {
                contenders.push(Contender {
                    settled: true,
                    ..record.contender
                });
                continue;
            }
            let seen = self.group_record(group).await?;
            if seen.value.group.lifecycle.state().is_final() {
                // Final since the index was read; a committed one is found next time.
                continue;
            }
            let work = self.work_of(&seen.value).await?;
            let settled = is_settled(&seen.value, &work);
            for member in &seen.value.members {
                contenders.push(seen.value.contender(member, settled));
            }
            others.insert(group, Other { seen, work });
        }
        Ok(Gathered {
            own,
            others,
            contenders,
        })
    }

    async fn lineage(&self, c: &Contender) -> Answer<Vec<LineageRecord>> {
        let (service, branch) = lineage_of(c);
        let mut open = query(
            Index::Gsi2,
            keys::lineage_index(service, branch, false),
            SortKeys::All,
            OPEN,
        );
        open.descending = true;
        let mut newest = query(
            Index::Gsi2,
            keys::lineage_index(service, branch, true),
            SortKeys::All,
            1,
        );
        newest.descending = true;
        let same = query(
            Index::Gsi1,
            keys::same_content(service, branch, c.content),
            SortKeys::All,
            SAME,
        );
        let mut records = Vec::new();
        for query in [open, newest, same] {
            let (found, _) = self.page::<LineageRecord>(query).await?;
            records.extend(found.into_iter().map(|seen| seen.value));
        }
        if let Some(parent) = c.parent {
            records.extend(self.successors(c, parent).await?);
        }
        Ok(records)
    }

    /// Those that follow a parent: whoever holds its place in any case, and some others.
    async fn successors(&self, c: &Contender, parent: CheckpointId) -> Answer<Vec<LineageRecord>> {
        let (service, branch) = lineage_of(c);
        let place = keys::successor(service, branch, parent);
        let Some(place) = self.get::<SuccessorRecord>(&place).await? else {
            let all = self.all_successors(service, branch, parent).await?;
            let (committed, mut open): (Vec<_>, Vec<_>) =
                all.into_iter().partition(|record| record.committed);
            open.truncate(SAME as usize);
            open.extend(committed);
            return Ok(open);
        };
        let some = query(
            Index::Main,
            keys::lineage_pk(service, branch),
            SortKeys::Prefix(keys::successors(Some(parent))),
            SAME,
        );
        let (some, _) = self.page::<LineageRecord>(some).await?;
        let holders = place.value.holders.iter();
        let holders = holders
            .map(|holder| keys::lineage(service, branch, Some(parent), holder.checkpoint))
            .collect();
        // One that ended is not there any more.
        let holders = self.get_all::<LineageRecord>(holders).await?;
        let found = some.into_iter().chain(holders.into_iter().flatten());
        Ok(found.map(|seen| seen.value).collect())
    }

    /// All that follow a parent, staged or committed. To be asked where nobody holds the
    /// parent's place: nobody was placed after it, or somebody was before places were held.
    pub(crate) async fn all_successors(
        &self,
        service: &ServiceName,
        branch: Option<&Version>,
        parent: CheckpointId,
    ) -> Answer<Vec<LineageRecord>> {
        let mut query = query(
            Index::Main,
            keys::lineage_pk(service, branch),
            SortKeys::Prefix(keys::successors(Some(parent))),
            1000,
        );
        let mut all = Vec::new();
        loop {
            let (found, next) = self.page::<LineageRecord>(query.clone()).await?;
            all.extend(found.into_iter().map(|seen| seen.value));
            if next.is_none() {
                return Ok(all);
            }
            query.after = next;
        }
    }

    /// The work items of a group that are not done.
    pub(crate) async fn work_of(&self, record: &GroupRecord) -> Answer<Vec<Seen<WorkRecord>>> {
        if !matches!(
            record.group.lifecycle.state(),
            State::Executing | State::Written
        ) {
            return Ok(Vec::new());
        }
        self.first(
            Index::Main,
            keys::run(&record.group.run),
            SortKeys::Prefix(keys::WORK_PREFIX.to_owned()),
            1000,
        )
        .await
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
