//! Conflicts: requests that cannot all be honoured as asked.
//!
//! Who contends is gathered here; who decides, and what becomes of the decision, stands
//! in `decide`.

mod collect;

pub(crate) use collect::{Gathered, Other, is_settled};
