//! Records for trying things: sampled sets, decided by the native policy.

use model::{Call, DecisionId, DecisionRecord, Limits};

use crate::records::Recorded;
use crate::subject::{Native, Subject as _};

/// The record number `index` of the stream that `seed` names, with `size` requests: the
/// same for the same arguments, but for the wall time, which is 0.
///
/// ```
/// let record = kit::generate::record(1, 0, 8);
/// assert_eq!(record, kit::generate::record(1, 0, 8));
/// assert_ne!(record.input, kit::generate::record(1, 1, 8).input);
/// assert_eq!(record.record.contenders, 8);
/// ```
pub fn record(seed: u64, index: u64, size: usize) -> Recorded {
    let input = policy::sample(seed.wrapping_mul(1 << 32).wrapping_add(index), size);
    let call = Native::PRIORITY_DEADLINE.call(&input, &Limits::DEFAULT);
    let decision = call.decision.clone().unwrap_or_else(|| {
        // Only components can fail to decide.
        policy::priority_deadline(&input)
    });
    let mut random = [0; 10];
    random[..8].copy_from_slice(&index.to_be_bytes());
    let millis = u64::try_from(input.now.as_millisecond()).unwrap_or(0);
    let mut groups: Vec<_> = input.contenders.iter().map(|c| c.group).collect();
    groups.sort_unstable();
    groups.truncate(1);
    let record = DecisionRecord {
        id: DecisionId::from_parts(millis, &random),
        at: input.now,
        pool: input.pool.clone(),
        library: input.library.clone(),
        groups,
        contenders: u32::try_from(input.contenders.len()).unwrap_or(u32::MAX),
        input: policy::digest(policy::canonical_set(&input)),
        scope: None,
        resolver: None,
        call: Call { wall_us: 0, ..call },
        fallback: None,
        decision,
        shadow: None,
    };
    Recorded { record, input }
}
