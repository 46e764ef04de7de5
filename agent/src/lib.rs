//! The on-prem tape agent: claims work over the agent protocol, owns the drives of one
//! library through write sessions with fences, and brings checkpoints to tape and back.
//!
//! ```text
//! open ─▶ mount ─▶ prove ─▶ ready ─▶ claim ─▶ write … ─▶ filemark ─▶ complete ─┐ ─▶ close
//!                                      ▲   └▶ verify · restore · scan ─────────┤
//!                                      └───────────────────────────────────────┘
//! ```
//!
//! [`run`] is all of it; [`run_with`] takes a control plane and hardware of the caller's
//! making. One worker a drive asks the control plane for sessions; the changer has one
//! owner; a journal remembers fences and proven positions over crashes.
//!
//! The agent **never** writes before the tape is proven to be the one the catalogue means,
//! never writes over anything, never touches a drive once its hold is over, never reports a
//! checkpoint as written before a synchronous filemark and an equal READ POSITION, never
//! decides what goes on which volume, and never listens on a socket. It needs a
//! URL and a key of its own, nothing else of the control plane.
//!
//! ```
//! use std::time::Duration;
//! use tapemark_agent::{AgentConfig, policy};
//!
//! let config: AgentConfig = toml::from_str(r#"
//!     agent = "agent-1"
//!     recipients = ["age1example"]
//!     journal_dir = "/var/lib/tapemark-agent"
//!     control = { url = "http://127.0.0.1:7400", key_file = "/etc/tapemark/agent.key" }
//!     library = { kind = "simulated", id = "lib-1", dir = "/var/lib/sim", drives = 2, slots = 24 }
//! "#)?;
//! let mut seen = policy::Experience::default();
//! seen.synchronized(Duration::from_secs(2));
//! assert_eq!(seen.patience(&config.batch), Duration::from_secs(2));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod agent;
mod batch;
pub mod config;
mod data;
mod device;
mod enrol;
mod http;
mod identity;
mod journal;
mod kill;
mod lease;
mod library;
mod medium;
pub mod policy;
mod protocol;
mod reading;
mod session;
mod simulated;
mod trouble;
mod worker;

pub use agent::{Parts, run, run_with};
pub use config::{
    AgentConfig, BatchLimits, ControlConfig, LibraryConfig, Pace, SimulatedLibrary, Timing,
};

pub use enrol::{Enrolled, enrol, rotate};
pub use kill::{KILL_AT, KillPoints};
pub use lease::Clock;
pub use library::{BoxTransport, Hardware};
pub use protocol::{CallError, ControlPlane, HttpControl};
pub use simulated::hardware_of;
