//! Stories of the format, one file each. Sealed parts and members are plain texts here: this
//! crate does not open them.
#![allow(clippy::unwrap_used, clippy::panic)] // The stories' helpers are tests too.
#![allow(unreachable_pub)] // They are shared between the files of this one crate.

#[path = "stories/copy.rs"]
mod copy;
#[path = "stories/guard.rs"]
mod guard;
#[path = "stories/hostile.rs"]
mod hostile;
#[path = "stories/layout.rs"]
mod layout;
#[path = "stories/scan.rs"]
mod scan;
#[path = "stories/support.rs"]
mod support;
#[path = "stories/torn.rs"]
mod torn;
