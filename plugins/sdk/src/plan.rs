//! Deciding group by group, so that no group is ever split.

use crate::{Decision, Group, Groups, Request, ResolverError, Verdict};

/// A decision in the making. A group is *open* until something decides it; deciding it
/// again replaces what was decided.
///
/// The steps ([`Plan::reject_late`] and others) each decide some of the open groups by
/// one rule of the built-in resolvers; between them, decide what your policy decides
/// otherwise. Any order of steps keeps the invariants as long as
/// [`Plan::proceed_settled`] and [`Plan::reject_forks_of_settled`] run, forks among the
/// open are decided ([`Plan::supersede_older`] does), [`Plan::fit`] comes last, and
/// nothing that others were handed on to is rejected afterwards.
#[derive(Clone, Debug)]
pub struct Plan<'g, 'a> {
    groups: &'g Groups<'a>,
    decided: Vec<Option<Vec<Verdict>>>,
}

impl<'g, 'a> Plan<'g, 'a> {
    /// A plan in which every group is open.
    pub fn new(groups: &'g Groups<'a>) -> Self {
        Self {
            groups,
            decided: vec![None; groups.len()],
        }
    }

    /// What it decides.
    pub fn groups(&self) -> &'g Groups<'a> {
        self.groups
    }

    /// Whether nothing has decided the group yet.
    pub fn is_open(&self, group: &Group<'_>) -> bool {
        self.decided.get(group.index).is_some_and(Option::is_none)
    }

    /// The open groups, oldest first.
    pub fn open(&self) -> Vec<&'g Group<'a>> {
        let groups = self.groups.iter();
        groups.filter(|group| self.is_open(group)).collect()
    }

    /// The group goes ahead; lower orders (below 2^53) first.
    pub fn proceed(&mut self, group: &Group<'_>, order: u64, reason: &str) {
        self.each(group, |c| c.proceed(order, reason));
    }

    /// Each member is superseded by the newer request of its lineage at the same place of
    /// `by`, which has as many entries as the group members.
    pub fn supersede(&mut self, group: &Group<'_>, by: &[&Request]) {
        debug_assert_eq!(group.members.len(), by.len());
        let pairs = group.members.iter().zip(by);
        self.set(
            group,
            pairs
                .map(|(c, by)| c.supersede(by, format!("{} is newer in the same lineage", by.id)))
                .collect(),
        );
    }

    /// Each member is merged into the request of its lineage and content at the same place
    /// of `into`, which has as many entries as the group members.
    pub fn merge(&mut self, group: &Group<'_>, into: &[&Request]) {
        debug_assert_eq!(group.members.len(), into.len());
        let pairs = group.members.iter().zip(into);
        self.set(
            group,
            pairs
                .map(|(c, into)| c.merge(into, format!("{} has the same content", into.id)))
                .collect(),
        );
    }

    /// The group is asked again at `until` (milliseconds), at most a day from now.
    pub fn defer(&mut self, group: &Group<'_>, until: u64, reason: &str) {
        self.each(group, |c| c.defer(until, reason));
    }

    /// The group is refused with one of [`codes`](crate::codes) or one of your own.
    pub fn reject(&mut self, group: &Group<'_>, code: &str, reason: &str) {
        self.each(group, |c| c.reject(code, reason));
    }

    /// The verdicts so far, each with its request, to say more in their reasons
    /// ([`Verdict::explain`]).
    pub fn verdicts_mut(&mut self) -> impl Iterator<Item = (&'a Request, &mut Verdict)> {
        let groups = self.groups.iter().zip(&mut self.decided);
        groups.flat_map(|(group, decided)| {
            let members = group.members.iter().copied();
            members.zip(decided.iter_mut().flatten())
        })
    }

    /// The decision.
    ///
    /// # Errors
    /// `undecided`, naming the first group that is still open.
    pub fn finish(self, reason: &str) -> Result<Decision, ResolverError> {
        if let Some(group) = self.groups.iter().find(|group| self.is_open(group)) {
            let message = format!(
                "expected a verdict for each group, found none for {}",
                group.id
            );
            return Err(ResolverError::new("undecided", &message));
        }
        let verdicts = self.decided.into_iter().flatten().flatten().collect();
        Ok(Decision::new(verdicts, reason))
    }

    fn each(&mut self, group: &Group<'_>, verdict: impl Fn(&Request) -> Verdict) {
        self.set(group, group.members.iter().map(|c| verdict(c)).collect());
    }

    fn set(&mut self, group: &Group<'_>, verdicts: Vec<Verdict>) {
        if let Some(decided) = self.decided.get_mut(group.index) {
            *decided = Some(verdicts);
        }
    }
}
