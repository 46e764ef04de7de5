//! The requests of a set by group and by lineage.

use crate::intern::Names;
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
    /// One for each of `set.requests`, in their order.
    entries: Vec<Entry>,
    /// Places in `entries` by id, a list for each lineage.
    lineages: Vec<Vec<usize>>,
}

/// A request by numbers: comparing texts of 36 and 64 bytes over and over is what a
/// decision would spend most of its fuel on.
#[derive(Clone, Copy, Debug)]
struct Entry {
    group: usize,
    lineage: usize,
    parent: Option<usize>,
    content: usize,
}

impl<'a> Groups<'a> {
    /// The groups of a set.
    pub fn of(set: &'a ConflictSet) -> Self {
        let requests = &set.requests;
        // The host sorts them already; a test may not.
        let mut by_id: Vec<usize> = (0..requests.len()).collect();
        by_id.sort_by(|a, b| requests[*a].id.cmp(&requests[*b].id));
        let size = requests.len();
        let (mut ids, mut services, mut branches) =
            (Names::new(size), Names::new(size), Names::new(size));
        let (mut parents, mut contents) = (Names::new(size), Names::new(size));
        let mut entries: Vec<Entry> = requests
            .iter()
            .map(|c| Entry {
                group: ids.number(&c.group),
                lineage: services.number(&c.service),
                parent: c.parent.as_deref().map(|parent| parents.number(parent)),
                content: contents.number(&c.content),
            })
            .collect();
        // So far by service; those with a branch get a lineage of their own.
        let mut pairs: Vec<(usize, usize)> = Vec::new();
        for (entry, c) in entries.iter_mut().zip(requests) {
            if let Some(branch) = &c.branch {
                let pair = (entry.lineage, branches.number(branch));
                let known = pairs.iter().position(|known| *known == pair);
                entry.lineage = services.len()
                    + known.unwrap_or_else(|| {
                        pairs.push(pair);
                        pairs.len() - 1
                    });
            }
        }
        let mut lineages = vec![Vec::new(); services.len() + pairs.len()];
        let mut groups: Vec<Group<'_>> = (0..ids.len())
            .map(|index| Group {
                id: "",
                members: Vec::new(),
                index,
                submitted_at: 0,
                settled: false,
            })
            .collect();
        for n in by_id {
            let (c, entry) = (&requests[n], entries[n]);
            lineages[entry.lineage].push(n);
            let group = &mut groups[entry.group];
            if group.members.is_empty() {
                group.id = &c.group;
                group.submitted_at = c.submitted_at;
            }
            group.settled |= c.settled;
            group.members.push(c);
        }
        groups.sort_by_key(Group::age);
        let mut places = vec![0; groups.len()];
        for (place, group) in groups.iter_mut().enumerate() {
            places[group.index] = place;
            group.index = place;
        }
        for entry in &mut entries {
            entry.group = places[entry.group];
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
        self.others(of, |_, _| true)
    }

    /// The rivals with the same content, by id, each with its group.
    pub fn twins(&self, of: &Request) -> impl Iterator<Item = (&'a Request, &Group<'a>)> {
        self.others(of, |own, other| own.content == other.content)
    }

    /// The rivals that follow the same parent with other content, by id, each with its
    /// group.
    pub fn forks(&self, of: &Request) -> impl Iterator<Item = (&'a Request, &Group<'a>)> {
        self.others(of, |own, other| {
            own.parent.is_some() && own.parent == other.parent && own.content != other.content
        })
    }

    /// Whether a settled group has the content of this request in its lineage already.
    pub fn is_held(&self, request: &Request) -> bool {
        self.twins(request).any(|(_, group)| group.is_settled())
    }

    /// The bytes that the volumes have room for.
    pub fn room(&self) -> u64 {
        let free = self.set.volumes.iter().map(|volume| volume.free);
        free.fold(0, u64::saturating_add)
    }

    fn others(
        &self,
        of: &Request,
        like: impl Fn(&Entry, &Entry) -> bool,
    ) -> impl Iterator<Item = (&'a Request, &Group<'a>)> {
        let set = self.set;
        let own = self.place(of).map(|n| self.entries[n]);
        let places = own.map_or(&[][..], |own| &self.lineages[own.lineage][..]);
        places.iter().filter_map(move |n| {
            let (own, other) = (own.as_ref()?, &self.entries[*n]);
            let matches = own.group != other.group && like(own, other);
            matches.then(|| (&set.requests[*n], &self.groups[other.group]))
        })
    }

    /// Where a request is in the set. Most are references into it, which say so by their
    /// address.
    fn place(&self, request: &Request) -> Option<usize> {
        let requests = &self.set.requests;
        let start = requests.as_ptr().addr();
        let offset = std::ptr::from_ref(request).addr().checked_sub(start);
        let place = offset.map(|offset| offset / size_of::<Request>());
        let there = place.and_then(|n| requests.get(n));
        if there.is_some_and(|there| std::ptr::eq(there, request)) {
            return place;
        }
        requests.iter().position(|c| c.id == request.id)
    }
}

impl<'g, 'a> IntoIterator for &'g Groups<'a> {
    type Item = &'g Group<'a>;
    type IntoIter = std::slice::Iter<'g, Group<'a>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
