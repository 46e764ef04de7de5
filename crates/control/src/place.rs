//! Where checkpoints go: how much room they need and which volumes give it.

use std::collections::BTreeMap;

use model::{Barcode, Bytes, Pool, VolumeState};

use crate::books::Accounts;
use crate::records::VolumeMeta;

/// What each artifact costs beyond its bytes: a tar header with its pax extension
/// (1.5 KiB), padding to 512 bytes, the age header (about 200 bytes a recipient), its
/// lines in the manifest's clear and sealed lists (up to 1,024 bytes of name each).
const PER_ARTIFACT: u64 = 4 << 10;
/// A segment's last record is filled up to 512 KiB.
const PER_SEGMENT: u64 = 512 << 10;
/// The longest segment (design: 64 GiB).
const SEGMENT: u64 = 64 << 30;
/// The manifest segment: two records at least, and room for growth.
const PER_PLACEMENT: u64 = (1 << 20) + (512 << 10);
/// age adds 16 bytes to each 64 KiB, CRC32C tables 4 bytes to each 512 KiB: together
/// less than one byte in 4,000.
const SEALING: u64 = 4000;

/// The most volumes of one group: each one's account is written in the transaction that
/// commits the group.
pub(crate) const MAX_VOLUMES: usize = 25;

/// Parts smaller than this share of what is to be cut are not worth a volume.
const SMALLEST_SHARE: u64 = 100;

/// The bytes to promise for content of `bytes` in `artifacts` artifacts written as one
/// placement: an upper bound on what it takes on tape where nothing can be compressed.
///
/// `bytes + bytes/4000 + 1 + artifacts × 4 KiB + segments × 512 KiB + 1.5 MiB`, with a
/// segment for each 64 GiB begun.
pub const fn reserve_estimate(bytes: Bytes, artifacts: u32) -> Bytes {
    let segments = bytes.0 / SEGMENT + 1;
    Bytes(
        bytes
            .0
            .saturating_add(bytes.0 / SEALING + 1)
            .saturating_add(artifacts as u64 * PER_ARTIFACT)
            .saturating_add(segments * PER_SEGMENT)
            .saturating_add(PER_PLACEMENT),
    )
}

/// The most content in `artifacts` artifacts for which [`reserve_estimate`] is at most
/// `room`.
pub const fn room_for_content(room: Bytes, artifacts: u32) -> Bytes {
    let fixed = artifacts as u64 * PER_ARTIFACT + PER_PLACEMENT + PER_SEGMENT + 1;
    let left = room.0.saturating_sub(fixed);
    let left = left.saturating_sub(left / SEGMENT * PER_SEGMENT);
    Bytes(left - left / (SEALING + 1) - if left > 0 { 1 } else { 0 })
}

/// Bytes on a volume neither written nor kept in reserve; promises not counted.
pub(crate) fn room(volume: &VolumeMeta, pool: &Pool) -> Bytes {
    volume.capacity.minus(pool.reserve).minus(volume.used)
}

/// A volume that could take something.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) volume: VolumeMeta,
    /// [`room`].
    pub(crate) room: Bytes,
    /// True where a session holds it.
    pub(crate) held: bool,
}

/// Sorts candidates: begun before blank, in a drive before in a slot, fuller first.
pub(crate) fn sort(candidates: &mut [Candidate]) {
    candidates.sort_by(|a, b| {
        let rank = |c: &Candidate| {
            (
                *c.volume.lifecycle.state() == VolumeState::Scratch,
                !c.held,
                std::cmp::Reverse(c.volume.used),
            )
        };
        rank(a)
            .cmp(&rank(b))
            .then_with(|| a.volume.barcode.cmp(&b.volume.barcode))
    });
}

/// What is to be placed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) bytes: Bytes,
    pub(crate) artifacts: u32,
}

/// A part of a member, on a volume: the bytes `from..to` of its artifacts laid end to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) volume: Barcode,
    pub(crate) reserve: Bytes,
    pub(crate) from: Bytes,
    pub(crate) to: Bytes,
}

/// Chooses volumes for the members of a group: all on one where one has room; else each
/// on one; else cut into parts. None where the room does not suffice now. Of the first
/// `write_drives` volumes with room the one with the least promised takes it, so that so
/// many drives are kept busy and no more tapes are begun than that.
pub(crate) fn choose(
    wanted: &[Wanted],
    candidates: &[Candidate],
    accounts: &Accounts,
    write_drives: u8,
) -> Option<Vec<Vec<Share>>> {
    let mut free: BTreeMap<&Barcode, Bytes> = candidates
        .iter()
        .map(|c| {
            let barcode = &c.volume.barcode;
            (barcode, c.room.minus(accounts.reserved(barcode)))
        })
        .collect();
    let total = wanted
        .iter()
        .map(|w| reserve_estimate(w.bytes, w.artifacts))
        .sum();
    let drives = usize::from(write_drives.max(1));
    let least_busy = |free: &BTreeMap<&Barcode, Bytes>, needed: Bytes| {
        candidates
            .iter()
            .map(|c| &c.volume.barcode)
            .filter(|barcode| free[barcode] >= needed)
            .take(drives)
            .min_by_key(|barcode| accounts.reserved(barcode))
    };
    let together = least_busy(&free, total);
    let mut shares = Vec::with_capacity(wanted.len());
    for w in wanted {
        let needed = reserve_estimate(w.bytes, w.artifacts);
        let volume = together.or_else(|| least_busy(&free, needed));
        let parts = match volume {
            Some(volume) => vec![Share {
                volume: volume.clone(),
                reserve: needed,
                from: Bytes::ZERO,
                to: w.bytes,
            }],
            None => cut(*w, candidates, &free)?,
        };
        for part in &parts {
            if let Some(left) = free.get_mut(&part.volume) {
                *left = left.minus(part.reserve);
            }
        }
        shares.push(parts);
    }
    let mut volumes: Vec<_> = shares.iter().flatten().map(|share| &share.volume).collect();
    volumes.sort_unstable();
    volumes.dedup();
    (volumes.len() <= MAX_VOLUMES).then_some(shares)
}

/// Cuts a member over several volumes, in the order of the candidates.
fn cut(
    wanted: Wanted,
    candidates: &[Candidate],
    free: &BTreeMap<&Barcode, Bytes>,
) -> Option<Vec<Share>> {
    let mut shares = Vec::new();
    let mut from = 0;
    for candidate in candidates {
        let left = wanted.bytes.0 - from;
        let barcode = &candidate.volume.barcode;
        let fits = room_for_content(free[barcode], wanted.artifacts)
            .0
            .min(left);
        if fits == 0 || (fits < left && fits < wanted.bytes.0 / SMALLEST_SHARE) {
            continue;
        }
        let to = from + fits;
        shares.push(Share {
            volume: barcode.clone(),
            reserve: reserve_estimate(Bytes(fits), wanted.artifacts),
            from: Bytes(from),
            to: Bytes(to),
        });
        from = to;
        if from == wanted.bytes.0 {
            return Some(shares);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use model::{VolumeEvent, VolumeLifecycle};
    use proptest::prelude::*;

    use super::*;

    fn candidate(name: &str, room: u64, used: u64) -> Candidate {
        let lifecycle = VolumeLifecycle::scratch();
        let lifecycle = if used > 0 {
            lifecycle.apply(VolumeEvent::Label).unwrap()
        } else {
            lifecycle
        };
        Candidate {
            volume: VolumeMeta {
                barcode: name.parse().unwrap(),
                library: "lib".parse().unwrap(),
                pool: "main".parse().unwrap(),
                lifecycle,
                uuid: None,
                drawn: None,
                position: None,
                capacity: Bytes(room + used),
                used: Bytes(used),
                present: true,
            },
            room: Bytes(room),
            held: false,
        }
    }

    fn one(bytes: u64) -> Wanted {
        Wanted {
            bytes: Bytes(bytes),
            artifacts: 1,
        }
    }

    #[test]
    fn a_begun_volume_is_filled_before_a_blank_one() {
        let mut volumes = [
            candidate("A", 1 << 40, 0),
            candidate("B", 1 << 40, 5),
            candidate("C", 1 << 40, 9),
        ];
        sort(&mut volumes);
        let names: Vec<_> = volumes.iter().map(|c| c.volume.barcode.as_str()).collect();
        assert_eq!(names, ["C", "B", "A"]);
    }

    #[test]
    fn an_artifact_larger_than_a_volume_is_cut_over_several() {
        let volumes = [
            candidate("A", 10 << 20, 0),
            candidate("B", 10 << 20, 0),
            candidate("C", 10 << 20, 0),
        ];
        let shares = choose(&[one(15 << 20)], &volumes, &Accounts::default(), 1).unwrap();
        assert_eq!(shares.len(), 1);
        let mut at = Bytes::ZERO;
        for share in &shares[0] {
            assert_eq!(share.from, at);
            assert!(share.reserve <= Bytes(10 << 20));
            at = share.to;
        }
        assert_eq!(at, Bytes(15 << 20));
        assert_eq!(shares[0].len(), 2);
        assert_eq!(
            choose(&[one(40 << 20)], &volumes, &Accounts::default(), 1),
            None
        );
    }

    proptest! {
        #[test]
        fn what_is_said_to_fit_fits(room in 0_u64..1 << 50, artifacts in 0_u32..10_000) {
            let content = room_for_content(Bytes(room), artifacts);
            if content > Bytes::ZERO {
                prop_assert!(reserve_estimate(content, artifacts) <= Bytes(room));
            }
        }

        /// Every byte is placed once, and no volume is promised more than it has.
        #[test]
        fn a_choice_covers_all_and_overbooks_nothing(
            rooms in prop::collection::vec(0_u64..64 << 20, 1..8),
            sizes in prop::collection::vec(0_u64..64 << 20, 1..6),
        ) {
            let volumes: Vec<_> = rooms
                .iter()
                .enumerate()
                .map(|(n, room)| candidate(&format!("V{n}"), *room, 0))
                .collect();
            let wanted: Vec<_> = sizes.iter().map(|size| one(*size)).collect();
            if let Some(shares) = choose(&wanted, &volumes, &Accounts::default(), 2) {
                for (size, parts) in sizes.iter().zip(&shares) {
                    let mut at = Bytes::ZERO;
                    for part in parts {
                        prop_assert_eq!(part.from, at);
                        at = part.to;
                    }
                    prop_assert_eq!(at, Bytes(*size));
                }
                for volume in &volumes {
                    let promised: Bytes = shares
                        .iter()
                        .flatten()
                        .filter(|share| share.volume == volume.volume.barcode)
                        .map(|share| share.reserve)
                        .sum();
                    prop_assert!(promised <= volume.room);
                }
            }
        }
    }
}
