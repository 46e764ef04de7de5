//! The requests of a set by group and by lineage.

use std::collections::BTreeMap;

use crate::{ConflictSet, Request};

/// A group: its members are decided as one, all the same way.
#[derive(Clone, Debug)]
pub struct Group<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its members by id; there is at least one.
    pub members: Vec<&'a Request>,
    /// Its place among the groups, oldest first.
    pub(crate) index: usize,
    submitted_at: u64,
    settled: bool,
}

impl<'a> Group<'a> {
    /// Whether one of its members is settled: then all of it must proceed.
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    /// The size of all members.
    pub fn bytes(&self) -> u64 {
        self.members
            .iter()
            .fold(0, |sum, c| sum.saturating_add(c.bytes))
    }

    /// When it was submitted, then its id: the smaller, the older.
    pub fn age(&self) -> (u64, &'a str) {
        (self.submitted_at, self.id)
    }

    /// Its place in line on the scale of the built-in resolvers: its first member's.
    pub fn standard_order(&self) -> u64 {
        let orders = self.members.iter().map(|c| c.standard_order());
        orders.min().unwrap_or(u64::MAX)
    }

    /// The deadline it has missed, where it has missed one.
    pub fn missed(&self, now: u64) -> Option<u64> {
        self.members
            .iter()
            .find_map(|c| c.deadline.filter(|deadline| *deadline <= now))
    }
}

/// A set by group and by lineage: a view that costs one pass over the requests.
///
/// ```
/// use tapemark_resolver::{Groups, testing};
///
/// let set = testing::set(1000, "1@10 pay x group=7\n2@10 shop y group=7\n3@20 pay z");
/// let groups = Groups::of(&set);
/// assert_eq!(groups.iter().map(|group| group.members.len()).collect::<Vec<_>>(), [2, 1]);
/// let (rival, group) = groups.rivals(&set.requests[0]).next().unwrap();
/// assert_eq!((rival.service.as_str(), group.members.len()), ("pay", 1));
/// ```
#[derive(Clone, Debug)]
pub struct Groups<'a> {
    set: &'a ConflictSet,
    /// Oldest first.
    groups: Vec<Group<'a>>,
    /// Requests by id.
    entries: Vec<Entry<'a>>,
    /// Places in `entries`, a list for each lineage.
    lineages: Vec<Vec<usize>>,
}

#[derive(Clone, Copy, Debug)]
struct Entry<'a> {
    request: &'a Request,
    group: usize,
    lineage: usize,
}

impl<'a> Groups<'a> {
    /// The groups of a set.
    pub fn of(set: &'a ConflictSet) -> Self {
        let mut requests: Vec<&Request> = set.requests.iter().collect();
        requests.sort_by(|a, b| a.id.cmp(&b.id));
        let mut members: BTreeMap<&str, Vec<&Request>> = BTreeMap::new();
        for request in &requests {
            members.entry(&request.group).or_default().push(request);
        }
        let mut groups: Vec<Group<'_>> = members
            .into_iter()
            .map(|(id, members)| Group {
                id,
                index: 0,
                submitted_at: members.first().map_or(0, |c| c.submitted_at),
                settled: members.iter().any(|c| c.settled),
                members,
            })
            .collect();
        groups.sort_by_key(Group::age);
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        for (index, group) in groups.iter_mut().enumerate() {
            group.index = index;
            places.insert(group.id, index);
        }
        let mut numbers: BTreeMap<(&str, Option<&str>), usize> = BTreeMap::new();
        let mut lineages: Vec<Vec<usize>> = Vec::new();
        let mut entries = Vec::with_capacity(requests.len());
        for request in requests {
            let lineage = *numbers.entry(request.lineage()).or_insert_with(|| {
                lineages.push(Vec::new());
                lineages.len() - 1
            });
            lineages[lineage].push(entries.len());
            entries.push(Entry {
                request,
                group: places[request.group.as_str()],
                lineage,
            });
        }
        Self {
            set,
            groups,
            entries,
            lineages,
        }
    }

    /// The set they are of.
    pub fn set(&self) -> &'a ConflictSet {
        self.set
    }

    /// The groups, oldest first.
    pub fn iter(&self) -> std::slice::Iter<'_, Group<'a>> {
        self.groups.iter()
    }

    /// How many groups.
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether there is nothing to decide.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// The requests of the same lineage in other groups, by id, each with its group.
    /// None for a request that is not of this set.
    pub fn rivals(&self, of: &Request) -> impl Iterator<Item = (&'a Request, &Group<'a>)> {
        let found = self
            .entries
            .binary_search_by(|entry| entry.request.id.as_str().cmp(&of.id))
            .ok()
            .map(|n| self.entries[n]);
        let places = found.map_or(&[][..], |own| &self.lineages[own.lineage][..]);
        places
            .iter()
            .map(|n| self.entries[*n])
            .filter(move |entry| found.is_some_and(|own| own.group != entry.group))
            .map(|entry| (entry.request, &self.groups[entry.group]))
    }

    /// Whether a settled group has the content of this request in its lineage already.
    pub fn is_held(&self, request: &Request) -> bool {
        self.rivals(request)
            .any(|(other, group)| group.is_settled() && other.content == request.content)
    }

    /// The requests that follow the same parent in the same lineage with other content, by
    /// id, each with its group.
    pub fn forks(&self, of: &'a Request) -> impl Iterator<Item = (&'a Request, &Group<'a>)> {
        self.rivals(of).filter(move |(other, _)| {
            of.parent.is_some() && other.parent == of.parent && other.content != of.content
        })
    }

    /// The bytes that the volumes have room for.
    pub fn room(&self) -> u64 {
        let free = self.set.volumes.iter().map(|volume| volume.free);
        free.fold(0, u64::saturating_add)
    }
}

impl<'g, 'a> IntoIterator for &'g Groups<'a> {
    type Item = &'g Group<'a>;
    type IntoIter = std::slice::Iter<'g, Group<'a>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
