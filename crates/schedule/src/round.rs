//! From a conflict set and what was decided of it to a problem, and from a plan back to
//! places in line. Over plain facts, so that callers with types of their own share it.

use std::collections::BTreeMap;

use crate::{Candidate, Claim, Job, Plan, Problem, Volume, weight};

/// What is known of a request. Instants are in milliseconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Its group's id: what ties go by after age.
    pub group: String,
    /// Its team: the label `team`, else its service.
    pub team: String,
    /// Its bytes.
    pub bytes: u64,
    /// Its priority, 0 to 9.
    pub priority: u8,
    /// When it was submitted.
    pub submitted_at: u64,
    /// From when on it is of no use.
    pub deadline: Option<u64>,
    /// How often it was placed before.
    pub attempt: u32,
    /// It is under way.
    pub settled: bool,
    /// What was decided of it.
    pub fate: Fate,
}

/// What was decided of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fate {
    /// It goes ahead, with this order.
    Proceeds(u64),
    /// This other request, by its place in the set, holds the same.
    Merged(usize),
    /// This other request, by its place in the set, is newer.
    Superseded(usize),
    /// It is asked again, not before this instant.
    Deferred(u64),
    /// It is refused.
    #[default]
    Rejected,
}

/// A volume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeFacts {
    /// Its barcode.
    pub barcode: String,
    /// Its room in bytes.
    pub free: u64,
    /// True unless nothing was ever written on it.
    pub begun: bool,
}

/// A request decided earlier that went ahead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PastFacts {
    /// Its team.
    pub team: String,
    /// Its bytes.
    pub bytes: u64,
}

/// A conflict set and what was decided of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The time of the decision.
    pub now: u64,
    /// The requests.
    pub requests: Vec<Request>,
    /// The volumes.
    pub volumes: Vec<VolumeFacts>,
    /// The drives that are up, each with the barcode of the volume in it.
    pub drives: Vec<Option<String>>,
    /// Who went ahead lately.
    pub history: Vec<PastFacts>,
}

/// The groups that wait for tape, as a problem.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// The problem; its jobs in the order that was decided.
    pub problem: Problem,
    /// For each job the places in the set of its requests.
    pub members: Vec<Vec<usize>>,
    /// For each job its place in line by the standard scale, for comparison with others
    /// that wait for the same volume: that decided where it goes ahead.
    pub orders: Vec<u64>,
    /// The jobs that go ahead as decided, without those that are settled.
    pub ahead: Vec<usize>,
    /// The jobs that are deferred as decided, and for how many milliseconds.
    pub later: Vec<(usize, u64)>,
    /// For each job whether it rides as decided.
    pub rides: Vec<bool>,
    ages: Vec<(u64, String)>,
}

/// A place in line: by priority, then deadline; the scale of the default policy.
pub fn standard_order(priority: u8, deadline: Option<u64>) -> u64 {
    const LATEST: u64 = (1 << 48) - 1;
    (u64::from(9 - priority.min(9)) << 48) | deadline.map_or(LATEST, |at| at.min(LATEST))
}

impl Round {
    /// The groups of a set that go ahead, wait or are merged. Who is superseded or refused
    /// takes no part.
    pub fn new(facts: &Facts) -> Self {
        let requests = &facts.requests;
        let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (at, request) in requests.iter().enumerate() {
            groups.entry(&request.group).or_default().push(at);
        }
        let mut jobs: Vec<(u64, (u64, String), Vec<usize>)> = Vec::new();
        for (group, members) in groups {
            let of = || members.iter().map(|at| &requests[*at]);
            let decided = of().filter_map(|r| match r.fate {
                Fate::Proceeds(order) => Some(order),
                _ => None,
            });
            let gone = of().any(|r| match r.fate {
                Fate::Superseded(_) | Fate::Rejected => true,
                Fate::Merged(_) => final_host(requests, r.fate).is_none(),
                _ => false,
            });
            if gone && !of().any(|r| r.settled) {
                continue;
            }
            let standard = of().map(|r| standard_order(r.priority, r.deadline));
            let order = decided.min().or(standard.min()).unwrap_or(u64::MAX);
            let age = of().map(|r| r.submitted_at).min().unwrap_or(0);
            jobs.push((order, (age, group.to_owned()), members));
        }
        jobs.sort();
        let mut job_of = vec![None; requests.len()];
        for (job, (.., members)) in jobs.iter().enumerate() {
            for at in members {
                job_of[*at] = Some(job);
            }
        }
        let mut round = Self::default();
        round.volumes(facts);
        for (order, age, members) in jobs {
            round.job(facts, order, age, members, &job_of);
        }
        round
    }

    fn job(
        &mut self,
        facts: &Facts,
        order: u64,
        age: (u64, String),
        members: Vec<usize>,
        job_of: &[Option<usize>],
    ) {
        let requests = &facts.requests;
        let index = self.members.len();
        let of = || members.iter().map(|at| &requests[*at]);
        let settled = of().any(|r| r.settled);
        let hosts: Vec<_> = of()
            .filter(|r| matches!(r.fate, Fate::Merged(_)) && !settled)
            .filter_map(|r| final_host(requests, r.fate).and_then(|host| job_of[host]))
            .collect();
        let until = of().filter_map(|r| match r.fate {
            Fate::Deferred(until) => Some(until.saturating_sub(facts.now)),
            _ => None,
        });
        let until = until.max();
        self.rides.push(!hosts.is_empty());
        match until {
            _ if settled || !hosts.is_empty() => {}
            Some(until) => self.later.push((index, until)),
            None => self.ahead.push(index),
        }
        self.problem.jobs.push(Job {
            bytes: of().fold(0, |sum, r| sum.saturating_add(r.bytes)),
            claims: of()
                .map(|r| Claim {
                    weight: weight(r.priority),
                    due: r.deadline.map(|at| at.saturating_sub(facts.now)),
                })
                .collect(),
            settled,
            hosts,
        });
        self.orders.push(order);
        self.ages.push(age);
        self.members.push(members);
    }

    /// Volumes in the order in which they are taken: begun before blank, in a drive before
    /// in a slot, fuller first.
    fn volumes(&mut self, facts: &Facts) {
        let in_drive = |barcode: &str| facts.drives.iter().flatten().any(|b| b == barcode);
        let mut volumes: Vec<_> = facts.volumes.iter().collect();
        volumes.sort_by_key(|v| (!v.begun, !in_drive(&v.barcode), v.free, &v.barcode));
        self.problem.volumes = volumes
            .iter()
            .map(|v| Volume {
                free: v.free,
                begun: v.begun,
            })
            .collect();
        let index = |barcode: &String| {
            let at = volumes.iter().position(|v| v.barcode == *barcode);
            at.unwrap_or(Problem::FOREIGN)
        };
        let drives = facts.drives.iter();
        self.problem.drives = drives.map(|volume| volume.as_ref().map(index)).collect();
    }

    /// The order of each job of `line`, which go ahead one after the other: their own
    /// orders, dealt out anew, so that together they stand where they stood among all that
    /// waits for the same volumes. Where equal orders would fall back to age the earlier
    /// gets one less, by a millisecond of deadline.
    pub fn dealt(&self, line: &[usize]) -> Vec<u64> {
        let mut own: Vec<_> = line.iter().map(|job| self.orders[*job]).collect();
        own.sort_unstable();
        for at in (1..own.len()).rev() {
            let (earlier, later) = (line[at - 1], line[at]);
            let by_age = self.ages[earlier] <= self.ages[later];
            let most = if by_age {
                own[at]
            } else {
                own[at].saturating_sub(1)
            };
            own[at - 1] = own[at - 1].min(most);
        }
        own
    }

    /// The plan of an order of the jobs of [`Round::candidates`]; who rides as decided rides.
    pub fn plan(&self, line: Vec<usize>) -> Plan {
        Plan {
            line,
            rides: self.rides.clone(),
        }
    }

    /// Who asks for a place, for the learned order: all that are not settled and do not
    /// ride, with the job each is, in the standard order.
    pub fn candidates(&self, facts: &Facts) -> Vec<(usize, Candidate)> {
        let recent: u64 = facts.history.iter().map(|past| past.bytes >> 10).sum();
        let in_drives = || self.problem.drives.iter().flatten();
        let room = in_drives().filter_map(|volume| self.problem.volumes.get(*volume));
        let room = room.map(|volume| volume.free).max().unwrap_or(0);
        Plan::standard(&self.problem)
            .line
            .into_iter()
            .filter(|job| !self.rides[*job])
            .map(|job| {
                let of = || self.members[job].iter().map(|at| &facts.requests[*at]);
                let riding = (0..self.members.len())
                    .filter(|rider| self.problem.jobs[*rider].hosts.contains(&job))
                    .map(|rider| self.members[rider].len());
                let team = of().map(|r| r.team.as_str()).min().unwrap_or("");
                let theirs = facts.history.iter().filter(|past| past.team == team);
                let theirs: u64 = theirs.map(|past| past.bytes >> 10).sum();
                let bytes = self.problem.jobs[job].bytes;
                let candidate = Candidate {
                    bytes,
                    priority: of().map(|r| r.priority).max().unwrap_or(0),
                    due: of()
                        .filter_map(|r| r.deadline)
                        .min()
                        .map(|at| at.saturating_sub(facts.now)),
                    age: of()
                        .map(|r| facts.now.saturating_sub(r.submitted_at))
                        .max()
                        .unwrap_or(0),
                    requests: self.members[job].len() + riding.sum::<usize>(),
                    attempt: of().map(|r| r.attempt).max().unwrap_or(0),
                    team_share: (theirs.saturating_mul(1000) / recent.max(1)) as u32,
                    mounted: room >= bytes && !self.problem.drives.is_empty(),
                };
                (job, candidate)
            })
            .collect()
    }
}

/// Who is written in the end for a request that is merged: none where nobody is.
fn final_host(requests: &[Request], fate: Fate) -> Option<usize> {
    let mut fate = fate;
    for _ in 0..=requests.len() {
        match fate {
            Fate::Merged(other) | Fate::Superseded(other) => {
                fate = requests.get(other)?.fate;
                if matches!(fate, Fate::Proceeds(_) | Fate::Deferred(_)) {
                    return Some(other);
                }
            }
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(group: &str, fate: Fate) -> Request {
        Request {
            group: group.to_owned(),
            bytes: 1 << 30,
            priority: 5,
            fate,
            ..Request::default()
        }
    }

    fn facts(requests: Vec<Request>) -> Facts {
        let volume = |barcode: &str, begun| VolumeFacts {
            barcode: barcode.to_owned(),
            free: 1 << 40,
            begun,
        };
        Facts {
            now: 1_000,
            requests,
            volumes: vec![volume("A", false), volume("B", true), volume("C", true)],
            drives: vec![Some("C".to_owned()), Some("ELSE".to_owned())],
            history: Vec::new(),
        }
    }

    #[test]
    fn jobs_stand_in_the_order_decided_and_the_refused_take_no_part() {
        let round = Round::new(&facts(vec![
            request("a", Fate::Proceeds(9)),
            request("b", Fate::Rejected),
            request("c", Fate::Proceeds(3)),
            request("d", Fate::Superseded(0)),
        ]));
        assert_eq!(round.members, [vec![2], vec![0]]);
        assert_eq!(round.ahead, [0, 1]);
    }

    #[test]
    fn who_is_merged_rides_with_whoever_is_written_in_the_end() {
        let round = Round::new(&facts(vec![
            request("a", Fate::Merged(1)),
            request("b", Fate::Superseded(2)),
            request("c", Fate::Deferred(16_000)),
        ]));
        let rider = round.members.iter().position(|m| m == &[0]).unwrap();
        let host = round.members.iter().position(|m| m == &[2]).unwrap();
        assert_eq!(round.problem.jobs[rider].hosts, [host]);
        assert_eq!(round.later, [(host, 15_000)]);
        assert!(round.ahead.is_empty());
    }

    #[test]
    fn a_cycle_of_merges_ends() {
        let round = Round::new(&facts(vec![
            request("a", Fate::Merged(1)),
            request("b", Fate::Merged(0)),
        ]));
        assert!(round.members.is_empty());
    }

    #[test]
    fn begun_volumes_in_drives_come_first_and_foreign_ones_are_known_as_such() {
        let round = Round::new(&facts(Vec::new()));
        let begun: Vec<_> = round.problem.volumes.iter().map(|v| v.begun).collect();
        assert_eq!(begun, [true, true, false]);
        assert_eq!(round.problem.drives, [Some(0), Some(Problem::FOREIGN)]);
    }

    #[test]
    fn orders_are_dealt_out_anew_and_ties_stay_in_line() {
        let round = Round::new(&facts(vec![
            request("a", Fate::Proceeds(7)),
            request("b", Fate::Proceeds(7)),
            request("c", Fate::Proceeds(9)),
        ]));
        assert_eq!(round.dealt(&[0, 1, 2]), [7, 7, 9]);
        assert_eq!(round.dealt(&[2, 1, 0]), [6, 7, 9]);
        assert_eq!(round.dealt(&[1, 0]), [6, 7]);
    }

    #[test]
    fn the_scale_is_that_of_the_contract() {
        assert_eq!(standard_order(9, Some(5)), 5);
        assert_eq!(standard_order(0, None), (9 << 48) | ((1 << 48) - 1));
        assert_eq!(standard_order(8, Some(u64::MAX)), (1 << 49) - 1);
    }
}
