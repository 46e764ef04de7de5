//! The simulated library of a configuration.

use anyhow::Context as _;
use simlib::{Config, FaultScript, SimLibrary};

use crate::config::{LibraryConfig, SimulatedLibrary, Timing};
use crate::library::Hardware;

/// What each simulated drive may hold in its buffer, in bytes: really in memory, and half
/// a second at LTO-9 speed would be 200 MB.
const DRIVE_BUFFER: usize = 8 << 20;

/// Opens the library of a configuration.
///
/// # Errors
/// When the simulated library or its fault script cannot be read, or another process has it.
pub(crate) fn open(library: &LibraryConfig) -> anyhow::Result<Hardware> {
    let LibraryConfig::Simulated(library) = library;
    let sim = SimLibrary::open_or_create(&library.dir, config_of(library)?, library.slots)
        .with_context(|| format!("the simulated library in {}", library.dir.display()))?;
    Ok(hardware_of(&sim))
}

/// The transports of a simulated library.
pub fn hardware_of(sim: &SimLibrary) -> Hardware {
    Hardware {
        changer: Box::new(sim.changer()),
        drives: (0..sim.drives())
            .filter_map(|number| sim.drive(number))
            .map(|drive| Box::new(drive) as _)
            .collect(),
        native_capacity: model::Bytes(sim.config().capacity),
        wait: std::thread::sleep,
    }
}

fn config_of(library: &SimulatedLibrary) -> anyhow::Result<Config> {
    let faults = match &library.faults {
        None => FaultScript::none(),
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("reading the fault script {}", path.display()))?;
            serde_json::from_str(&text)
                .with_context(|| format!("in the fault script {}", path.display()))?
        }
    };
    let config = Config {
        slots: library.slots,
        drives: library.drives,
        buffer: DRIVE_BUFFER,
        timing: match library.timing {
            Timing::Off => simlib::Timing::Off,
            Timing::Scaled(factor) => simlib::Timing::Scaled(factor),
        },
        faults,
        ..Config::default()
    };
    Ok(config.with_capacity(library.capacity.0))
}
