//! Who contends with a group: a few queries on its lineages, however many checkpoints
//! there are.

use std::collections::BTreeMap;

use model::{CheckpointId, Contender, GroupId, State};

use crate::catalogue::{Answer, Seen, query};
use crate::ports::{Index, SortKeys};
use crate::records::{GroupRecord, LineageRecord, WorkRecord, lineage_of};
use crate::{Control, keys};

/// At most so many open requests of one lineage are considered, the newest.
const OPEN: u32 = 64;
/// At most so many with the same content, or with the same parent.
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
        let mut queries = vec![open, newest, same];
        if c.parent.is_some() {
            queries.push(query(
                Index::Main,
                keys::lineage_pk(service, branch),
                SortKeys::Prefix(keys::successors(c.parent)),
                SAME,
            ));
        }
        let mut records = Vec::new();
        for query in queries {
            let (found, _) = self.page::<LineageRecord>(query).await?;
            records.extend(found.into_iter().map(|seen| seen.value));
        }
        Ok(records)
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
