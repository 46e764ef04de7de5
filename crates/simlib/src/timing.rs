//! How long a tape takes: a model of LTO mechanics, and the clock it runs on.
//!
//! Figures: IBM "Performance specifications for LTO tape drives" (load, unload, rewind, locate,
//! native rate, speed steps) and CERN Tape Archive's published cost function for the way between
//! two positions, scaled so that its mean from beginning of tape is IBM's. Calibrate against a
//! drive before any claim.

mod clock;
mod model;

pub(crate) use clock::Timeline;
pub use clock::{Timing, VirtualClock};
pub use model::{LtoModel, WriteTime};
