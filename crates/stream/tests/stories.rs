//! Stories of the data path, one file each.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)] // The stories' helpers are tests too.
#![allow(unreachable_pub)] // They are shared between the files of this one crate.

#[path = "stories/faults.rs"]
mod faults;
#[path = "stories/hostile.rs"]
mod hostile;
#[path = "stories/round_trip.rs"]
mod round_trip;
#[path = "stories/sink.rs"]
mod sink;
#[path = "stories/stock_tools.rs"]
mod stock_tools;
#[path = "stories/support.rs"]
mod support;
