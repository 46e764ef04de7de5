//! How an installation is set up: what was asked for now, over what was asked for last time.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use model::{Bytes, PoolName};
use serde::{Deserialize, Serialize};
use tapemark_agent::Timing;

use crate::failure::Failure;

/// How much of each volume is kept free unless said otherwise, at most.
const RESERVE: Bytes = Bytes::gib(1);
/// The smallest cartridge: label, manifest and a few records of 1 MiB.
const SMALLEST: Size = Size(8 << 20);

/// What `tapemark up` is told. What is left out is as at the last start.
#[derive(Args, Clone, Debug, Default)]
#[command(
    args_override_self = true,
    after_help = "\
The data directory keeps everything: catalogue, keys, pinned artifacts, and the simulated
library. Killing the stack at any moment is safe; start it again and it goes on."
)]
pub(crate) struct UpArgs {
    /// Address to listen on; loopback only [default: 127.0.0.1:7400]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
    /// A directory that artifacts may come from, may be given several times
    #[arg(long, value_name = "DIR")]
    pub(crate) allow_root: Vec<PathBuf>,
    /// Cedar policies that say who may do what, instead of the built-in ones; with + before the
    /// path, beside them [default: built-in]
    #[arg(long, value_name = "[+]FILE|built-in")]
    pub(crate) policies: Option<String>,
    /// Drives of the simulated library [default: 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) drives: Option<u16>,
    /// Slots of the simulated library, each with a cartridge at first [default: 24]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) slots: Option<u16>,
    /// What a cartridge holds, as in 18TB or 64MiB, at least 8MiB [default: 18TB]
    #[arg(long, value_name = "SIZE")]
    pub(crate) capacity: Option<Size>,
    /// What is kept free on each volume [default: 1GiB, at most a twentieth]
    #[arg(long, value_name = "SIZE")]
    pub(crate) reserve: Option<Size>,
    /// How long the simulated library takes: off, or scaled:X for X times faster than LTO-9
    /// [default: off]
    #[arg(long, value_name = "off|scaled:X", value_parser = timing)]
    pub(crate) timing: Option<Timing>,
    /// A fault script for the simulated library, JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) faults: Option<PathBuf>,
    /// Take artifacts from S3, too. Credentials and region come from the environment, as for
    /// every AWS tool
    #[arg(long)]
    pub(crate) s3: bool,
    /// Another S3 endpoint than AWS's own
    #[arg(long, value_name = "URL", requires = "s3")]
    pub(crate) s3_endpoint: Option<String>,
    /// Keep catalogue and objects behind DynamoDB and S3 endpoints of this process, on ADDR and
    /// the port after it, so that functions see what the stack sees. From the first start on;
    /// for development only: who reaches them may do everything [default: 127.0.0.1:7410]
    #[arg(long, value_name = "ADDR", num_args = 0..=1, default_missing_value = "127.0.0.1:7410")]
    pub(crate) aws_endpoints: Option<SocketAddr>,
    /// Put what the sample events of functions name behind the endpoints
    #[arg(long)]
    pub(crate) seed: bool,
    /// The pool that the first start makes for all cartridges [default: main]
    #[arg(long, value_name = "NAME")]
    pub(crate) pool: Option<PoolName>,
    /// Do not start the agent
    #[arg(long)]
    pub(crate) no_agent: bool,
}

/// A count of bytes as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Size(pub(crate) u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit: u64 = match &text[digits.len()..] {
            "" | "B" => 1,
            "kB" | "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "TB" => 1_000_000_000_000,
            "KiB" | "k" | "K" => 1 << 10,
            "MiB" | "M" => 1 << 20,
            "GiB" | "G" => 1 << 30,
            "TiB" | "T" => 1 << 40,
            _ => 0,
        };
        digits
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(unit))
            .filter(|_| unit > 0)
            .map(Self)
            .ok_or_else(|| format!("expected a size such as 64MiB or 18TB, found {text:?}"))
    }
}

fn timing(text: &str) -> Result<Timing, String> {
    if text == "off" {
        return Ok(Timing::Off);
    }
    text.strip_prefix("scaled:")
        .and_then(|factor| factor.parse().ok())
        .filter(|factor: &f64| factor.is_finite() && *factor > 0.0)
        .map(Timing::Scaled)
        .ok_or_else(|| format!("expected off or scaled:X with X above 0, found {text:?}"))
}

/// How an installation is set up: what was asked for at the last start, kept in `up.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Setup {
    pub(crate) listen: SocketAddr,
    pub(crate) allow_root: Vec<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) policies: Option<String>,
    pub(crate) drives: u16,
    pub(crate) slots: u16,
    pub(crate) capacity: Size,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reserve: Option<Size>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) faults: Option<PathBuf>,
    pub(crate) timing: Timing,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pool: Option<PoolName>,
    pub(crate) s3: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) s3_endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) aws_endpoints: Option<SocketAddr>,
    #[serde(skip)]
    pub(crate) seed: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7400)),
            allow_root: Vec::new(),
            policies: None,
            drives: 2,
            slots: 24,
            capacity: Size(18_000_000_000_000),
            reserve: None,
            faults: None,
            timing: Timing::Off,
            pool: None,
            s3: false,
            s3_endpoint: None,
            aws_endpoints: None,
            seed: false,
        }
    }
}

impl Setup {
    /// The last setup with what is asked for now.
    pub(super) fn with(mut self, args: UpArgs) -> Result<Self, Failure> {
        if let Some(listen) = args.listen {
            self.listen = listen;
        }
        if !self.listen.ip().is_loopback() {
            return Err(Failure::Usage(format!(
                "--listen: expected a loopback address, found {}; the API speaks plain HTTP, so \
                 put a proxy with TLS in front of it to serve other machines",
                self.listen
            )));
        }
        if !args.allow_root.is_empty() {
            self.allow_root = args.allow_root;
        }
        for root in &mut self.allow_root {
            *root = root.canonicalize().map_err(|error| {
                Failure::Usage(format!(
                    "--allow-root: expected a directory, found {}: {error}",
                    root.display()
                ))
            })?;
        }
        if let Some(told) = args.policies {
            self.policies = super::policies::setting(&told)?;
        }
        self.drives = args.drives.unwrap_or(self.drives);
        self.slots = args.slots.unwrap_or(self.slots);
        self.capacity = args.capacity.unwrap_or(self.capacity);
        if self.capacity.0 < SMALLEST.0 {
            return Err(Failure::Usage(format!(
                "--capacity: expected at least 8MiB, found {} bytes",
                self.capacity.0
            )));
        }
        self.reserve = args.reserve.or(self.reserve);
        if self.reserve().0 >= self.capacity.0 {
            return Err(Failure::Usage(format!(
                "--reserve: expected less than the capacity of {} bytes, found {}",
                self.capacity.0,
                self.reserve()
            )));
        }
        self.timing = args.timing.unwrap_or(self.timing);
        self.pool = args.pool.or(self.pool);
        if args.s3 {
            self.s3 = true;
            self.s3_endpoint = args.s3_endpoint;
        }
        self.aws_endpoints = args.aws_endpoints.or(self.aws_endpoints);
        self.seed = args.seed;
        if self.seed && self.aws_endpoints.is_none() {
            return Err(Failure::Usage(
                "--seed: expected --aws-endpoints, found an installation without".to_owned(),
            ));
        }
        // A fault script is for one start: nobody wants yesterday's faults.
        self.faults = args.faults;
        Ok(self)
    }

    /// What is kept free on each volume.
    pub(super) fn reserve(&self) -> Bytes {
        let own = Bytes((self.capacity.0 / 20).min(RESERVE.0));
        self.reserve.map_or(own, |size| Bytes(size.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_timings_are_read_as_people_write_them() {
        assert_eq!("64MiB".parse(), Ok(Size(64 << 20)));
        assert_eq!("18TB".parse(), Ok(Size(18_000_000_000_000)));
        assert_eq!("7".parse(), Ok(Size(7)));
        for bad in ["", "MiB", "1XB", "-1", "1.5GB", "99999999999TB"] {
            assert!(bad.parse::<Size>().is_err(), "{bad:?}");
        }
        assert_eq!(timing("scaled:100"), Ok(Timing::Scaled(100.0)));
        assert!(timing("scaled:0").is_err());
        assert!(timing("fast").is_err());
    }

    #[test]
    fn a_setup_is_kept_and_changed_only_where_asked() {
        let first = Setup::default()
            .with(UpArgs {
                drives: Some(4),
                reserve: Some(Size(5)),
                ..UpArgs::default()
            })
            .unwrap();
        let text = toml::to_string(&first).unwrap();
        let again: Setup = toml::from_str(&text).unwrap();
        assert_eq!(again, first);
        assert_eq!(again.with(UpArgs::default()).unwrap().drives, 4);
        // What an older version kept and this one does not know is ignored.
        let older: Setup = toml::from_str(&format!("copies = 2\n{text}")).unwrap();
        assert_eq!(older, first);
        for (capacity, reserve) in [("7MiB", None), ("64MiB", Some("64MiB"))] {
            let bad = UpArgs {
                capacity: capacity.parse().ok(),
                reserve: reserve.map(|size: &str| size.parse().unwrap()),
                ..UpArgs::default()
            };
            assert!(
                Setup::default().with(bad).is_err(),
                "{capacity} {reserve:?}"
            );
        }
        let open = UpArgs {
            listen: "0.0.0.0:1".parse().ok(),
            ..UpArgs::default()
        };
        assert!(Setup::default().with(open).is_err());
    }
}
