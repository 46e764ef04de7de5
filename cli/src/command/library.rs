//! The hardware: `volume`, `drive`, `pool`.

use clap::{Subcommand, ValueEnum};
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::scan::scan_text;
use crate::client::Client;
use crate::client::types::{Drive, Pool, RESTORE, Restore, VOLUME, Volume};
use crate::failure::Failure;
use crate::out::{Out, bytes, table};
use crate::restore::wait_for_restore;

/// What `tapemark volume` is told.
#[derive(Subcommand, Clone, Debug)]
pub(crate) enum VolumeCommand {
    /// List all volumes
    List,
    /// Show one volume
    Show {
        /// Its barcode
        barcode: String,
    },
    /// List what is on a volume, from the medium alone
    Scan {
        /// Its barcode
        barcode: String,
        /// Give up waiting for the tape after this long
        #[arg(long, value_name = "DURATION", default_value = "1h")]
        timeout: SignedDuration,
    },
}

/// What `tapemark drive` is told.
#[derive(Subcommand, Clone, Debug)]
pub(crate) enum DriveCommand {
    /// List all drives
    List,
}

/// What `tapemark pool` is told.
#[derive(Subcommand, Clone, Debug)]
pub(crate) enum PoolCommand {
    /// Show a pool
    Show {
        /// Its name
        name: String,
    },
    /// Make or change a pool
    Put {
        /// Its name
        name: String,
        /// How many copies of a checkpoint it keeps, each on its own volume
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
        copies: u8,
        /// How many bytes of each volume are kept free for manifests and the index
        #[arg(long, value_name = "BYTES", default_value_t = 1 << 30)]
        reserve: u64,
        /// How many volumes are written at once
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
        write_drives: u8,
        /// What decides where a resolver does not
        #[arg(long, value_enum, default_value_t = FallbackArg::BuiltIn)]
        fallback: FallbackArg,
    },
}

/// What decides where a resolver does not.
#[derive(ValueEnum, Clone, Copy, Debug)]
pub(crate) enum FallbackArg {
    /// The built-in policy
    BuiltIn,
    /// Everything is asked again after a minute
    Defer,
    /// Everything is refused
    Reject,
}

impl FallbackArg {
    /// As the schema names it.
    const fn name(self) -> &'static str {
        match self {
            Self::BuiltIn => "BUILT_IN",
            Self::Defer => "DEFER",
            Self::Reject => "REJECT",
        }
    }
}

pub(crate) const DRIVE_HEAD: [&str; 5] = ["DRIVE", "LIBRARY", "ELEMENT", "STATE", "VOLUME"];

pub(crate) fn drive_row(drive: &Drive) -> Vec<String> {
    vec![
        drive.serial.clone(),
        drive.library.clone(),
        drive.element.to_string(),
        drive.state.clone(),
        drive.volume.clone().unwrap_or_default(),
    ]
}

/// Carries out `tapemark volume`.
///
/// # Errors
/// As [`Client::ask`]; the reason where a scan failed.
pub(crate) async fn volume(
    out: &Out,
    client: &Client,
    command: VolumeCommand,
) -> Result<(), Failure> {
    match command {
        VolumeCommand::List => {
            let query = format!("{{ volumes {{ {VOLUME} }} }}");
            let list: Vec<Volume> = client.ask("volumes", &query, json!({})).await?;
            out.show(&json!({ "volumes": list }), |style| {
                let rows: Vec<Vec<String>> = list
                    .iter()
                    .map(|volume| {
                        vec![
                            volume.barcode.clone(),
                            volume.pool.clone(),
                            volume.state.clone(),
                            volume.checkpoints.to_string(),
                            bytes(volume.used),
                            bytes(volume.free),
                            bytes(volume.abandoned),
                        ]
                    })
                    .collect();
                let head = [
                    "VOLUME",
                    "POOL",
                    "STATE",
                    "CHECKPOINTS",
                    "USED",
                    "FREE",
                    "ABANDONED",
                ];
                table(style, &head, &rows)
            })
        }
        VolumeCommand::Show { barcode } => {
            let query = format!("query($b: String!) {{ volume(barcode: $b) {{ {VOLUME} }} }}");
            let volume: Volume = client
                .ask("volume", &query, json!({ "b": barcode }))
                .await?;
            out.show(&volume, |style| {
                let mut text = format!("{}  {}\n", style.bold(&volume.barcode), volume.state);
                if let Some(no) = &volume.refusal {
                    text.push_str(&format!("  {} {}\n", style.red(&no.code), no.message));
                    text.push_str(&format!("    hint: {}\n", no.hint));
                }
                for (name, value) in [
                    ("pool", volume.pool.clone()),
                    ("library", volume.library.clone()),
                    (
                        "label",
                        volume.uuid.clone().unwrap_or_else(|| "none yet".to_owned()),
                    ),
                    ("capacity", bytes(volume.capacity)),
                    ("used", bytes(volume.used)),
                    ("reserved", bytes(volume.reserved)),
                    ("free", bytes(volume.free)),
                    ("abandoned", bytes(volume.abandoned)),
                    ("checkpoints", volume.checkpoints.to_string()),
                    ("fence", volume.fence.to_string()),
                    (
                        "end of data",
                        volume
                            .end_of_data
                            .map_or_else(String::new, |n| format!("record {n}")),
                    ),
                ] {
                    text.push_str(&format!("  {name:<13}{value}\n"));
                }
                text
            })
        }
        VolumeCommand::Scan { barcode, timeout } => scan(out, client, &barcode, timeout).await,
    }
}

async fn scan(
    out: &Out,
    client: &Client,
    barcode: &str,
    timeout: SignedDuration,
) -> Result<(), Failure> {
    let order = format!("mutation($b: String!) {{ scanVolume(barcode: $b) {{ {RESTORE} }} }}");
    let request: Restore = client
        .ask("scanVolume", &order, json!({ "b": barcode }))
        .await?;
    let line = out.spinner(&format!("{barcode} waits for a drive"));
    let done = wait_for_restore(client, &request.id, timeout).await;
    line.finish_and_clear();
    let done = done?;
    let query = "query($id: UUID!) { restore(id: $id) { report } }";
    let report: Value = client
        .ask("restore/report", query, json!({ "id": done.id }))
        .await?;
    out.show(&report, |style| scan_text(&report, style))
}

/// Carries out `tapemark drive`.
///
/// # Errors
/// As [`Client::ask`].
pub(crate) async fn drive(
    out: &Out,
    client: &Client,
    command: DriveCommand,
) -> Result<(), Failure> {
    let DriveCommand::List = command;
    let query = "{ drives { serial library element state volume } }";
    let list: Vec<Drive> = client.ask("drives", query, json!({})).await?;
    out.show(&json!({ "drives": list }), |style| {
        let rows: Vec<Vec<String>> = list.iter().map(drive_row).collect();
        table(style, &DRIVE_HEAD, &rows)
    })
}

/// Carries out `tapemark pool`.
///
/// # Errors
/// As [`Client::ask`].
pub(crate) async fn pool(out: &Out, client: &Client, command: PoolCommand) -> Result<(), Failure> {
    const FIELDS: &str = "name library copies reserve writeDrives fallback";
    let pool: Pool = match command {
        PoolCommand::Show { name } => {
            let query = format!("query($n: String!) {{ pool(name: $n) {{ {FIELDS} }} }}");
            client.ask("pool", &query, json!({ "n": name })).await?
        }
        PoolCommand::Put {
            name,
            copies,
            reserve,
            write_drives,
            fallback,
        } => {
            let order = format!("mutation($p: PoolInput!) {{ putPool(pool: $p) {{ {FIELDS} }} }}");
            let pool = json!({
                "name": name, "copies": copies, "reserve": reserve, "writeDrives": write_drives,
                "fallback": fallback.name(),
            });
            client.ask("putPool", &order, json!({ "p": pool })).await?
        }
    };
    out.show(&pool, |style| {
        let row = vec![
            pool.name.clone(),
            pool.library.clone(),
            pool.copies.to_string(),
            bytes(pool.reserve),
            pool.write_drives.to_string(),
            pool.fallback.clone(),
        ];
        table(
            style,
            &[
                "POOL",
                "LIBRARY",
                "COPIES",
                "RESERVE",
                "WRITE DRIVES",
                "FALLBACK",
            ],
            &[row],
        )
    })
}
