//! The rules of the built-in resolvers, one method each.

use crate::{Group, Plan, RETRY_AFTER_MS, Request, codes, rfc3339};

impl<'g, 'a> Plan<'g, 'a> {
    /// What is settled goes on: nothing else may become of it.
    pub fn proceed_settled(&mut self, order: impl Fn(&Group<'a>) -> u64, reason: &str) {
        for group in self.open() {
            if group.is_settled() {
                self.proceed(group, order(group), reason);
            }
        }
    }

    /// Who is past a deadline is refused.
    pub fn reject_late(&mut self) {
        let now = self.groups().set().now;
        for group in self.open() {
            if let Some(deadline) = group.missed(now) {
                let reason = format!(
                    "expected to begin before {}, it is {}",
                    rfc3339(deadline),
                    rfc3339(now)
                );
                self.reject(group, codes::DEADLINE_MISSED, &reason);
            }
        }
    }

    /// Who names a parent that has another settled successor is refused, unless that very
    /// content is settled already.
    pub fn reject_forks_of_settled(&mut self) {
        for group in self.open() {
            if let Some(reason) = self.fork(group, Group::is_settled) {
                self.reject(group, codes::LINEAGE_FORK, &reason);
            }
        }
    }

    /// A newer request supersedes an older one of the same lineage with other content. A
    /// group is superseded only if each member is; one that is not, and shares a parent with
    /// a newer one, is refused as a fork. Newest first: who is not superseded may supersede.
    pub fn supersede_older(&mut self) {
        self.supersede_where(|newer, older| newer.content != older.content);
    }

    /// As [`Plan::supersede_older`], but a newer request with the same content supersedes
    /// too.
    pub fn supersede_all_older(&mut self) {
        self.supersede_where(|_, _| true);
    }

    /// Of requests with the same content in one lineage a settled one, else the oldest,
    /// stands for all. A group is merged only if each member is. Oldest first: who is not
    /// merged may stand for others.
    pub fn merge_duplicates(&mut self) {
        let mut standing = vec![false; self.groups().len()];
        for group in self.open() {
            let into: Option<Vec<&Request>> = group
                .members
                .iter()
                .map(|c| {
                    self.groups()
                        .twins(c)
                        .filter(|(_, of)| of.is_settled() || standing[of.index])
                        .min_by_key(|(o, of)| (!of.is_settled(), o.age(), o.id.as_str()))
                        .map(|(o, _)| o)
                })
                .collect();
            match into {
                Some(into) => self.merge(group, &into),
                None => standing[group.index] = true,
            }
        }
    }

    /// The open go ahead by `order`, then age, as long as the volumes have room; who does
    /// not fit is deferred by [`RETRY_AFTER_MS`]. Nothing is open afterwards.
    pub fn fit(&mut self, order: impl Fn(&Group<'a>) -> u64, reason: &str) {
        let mut line: Vec<(u64, &Group<'a>)> = self
            .open()
            .into_iter()
            .map(|group| (order(group), group))
            .collect();
        line.sort_by_key(|(order, group)| (*order, group.index));
        let mut room = self.groups().room();
        let again = self.groups().set().now.saturating_add(RETRY_AFTER_MS);
        for (order, group) in line {
            match room.checked_sub(group.bytes()) {
                Some(left) => {
                    room = left;
                    self.proceed(group, order, reason);
                }
                None => self.defer(group, again, "no volume has room now"),
            }
        }
    }

    fn supersede_where(&mut self, replaces: impl Fn(&Request, &Request) -> bool) {
        let mut standing = vec![false; self.groups().len()];
        for group in self.open().into_iter().rev() {
            let by: Option<Vec<&Request>> = group
                .members
                .iter()
                .map(|c| {
                    self.groups()
                        .rivals(c)
                        .filter(|(_, of)| of.is_settled() || standing[of.index])
                        .filter(|(o, _)| o.age() > c.age() && replaces(o, c))
                        .max_by_key(|(o, _)| (o.age(), o.id.as_str()))
                        .map(|(o, _)| o)
                })
                .collect();
            if let Some(by) = by {
                self.supersede(group, &by);
            } else if let Some(reason) = self.fork(group, |of| standing[of.index]) {
                self.reject(group, codes::LINEAGE_FORK, &reason);
            } else {
                standing[group.index] = true;
            }
        }
    }

    /// Why the group may not go ahead beside those that `ahead` names.
    fn fork(&self, group: &Group<'a>, ahead: impl Fn(&Group<'a>) -> bool) -> Option<String> {
        group.members.iter().find_map(|c| {
            let (other, _) = self.groups().forks(c).find(|(_, of)| ahead(of))?;
            if self.groups().is_held(c) {
                return None;
            }
            Some(format!(
                "{} {}: expected parent {} to have no successor, found {} (version {})",
                c.service,
                c.version,
                c.parent.as_deref().unwrap_or_default(),
                other.id,
                other.version
            ))
        })
    }
}
