//! How long a drive and its robot take.

use std::time::Duration;

use model::Bytes;
use scsi::{FormFactor, Generation};
use simlib::LtoModel;

/// What the engine asks. Positions are bytes from the beginning of a volume.
pub trait Mechanics {
    /// Robot, load, and the way from the load point to the end of data.
    fn mount(&self, end: Bytes) -> Duration;
    /// Rewind, unload, robot, after so many bytes were moved.
    fn unmount(&self, end: Bytes, moved: Bytes) -> Duration;
    /// The way from one position to another; nothing where they are the same.
    fn locate(&self, from: Bytes, to: Bytes) -> Duration;
    /// Writes or reads so many bytes in one stream.
    fn stream(&self, from: Bytes, size: Bytes) -> Duration;
    /// A synchronous filemark.
    fn sync(&self) -> Duration;
}

/// An LTO-9 drive in a library: `simlib`'s timing model, and a robot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lto9 {
    model: LtoModel,
    robot: Duration,
    /// Bytes a second.
    rate: f64,
}

impl Lto9 {
    /// The robot takes 10 to 20 s between slot and drive; no vendor says.
    const ROBOT: Duration = Duration::from_secs(15);
    const CAPACITY: u64 = 18_000_000_000_000;

    /// A drive of this build at its own speed.
    pub fn new(form: FormFactor) -> Self {
        let model = LtoModel::new(Generation::Lto9, form, Self::CAPACITY);
        Self {
            model,
            robot: Self::ROBOT,
            rate: model.native_rate(),
        }
    }

    /// The same at another speed, in bytes a second.
    pub fn with_rate(self, rate: f64) -> Self {
        Self { rate, ..self }
    }

    /// Bytes a second.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// One line for people.
    pub fn describe(&self) -> String {
        let form = match self.model.form() {
            FormFactor::FullHeight => "full",
            FormFactor::HalfHeight => "half",
        };
        format!("LTO-9 {form} height, {:.0} MB/s", self.rate / 1e6)
    }
}

impl Mechanics for Lto9 {
    fn mount(&self, end: Bytes) -> Duration {
        self.robot + self.model.load() + self.model.locate(0, end.0)
    }

    fn unmount(&self, end: Bytes, moved: Bytes) -> Duration {
        self.model.unload(end.0, moved.0) + self.robot
    }

    fn locate(&self, from: Bytes, to: Bytes) -> Duration {
        self.model.locate(from.0, to.0)
    }

    fn stream(&self, from: Bytes, size: Bytes) -> Duration {
        let own = self.model.write(from.0, size.0, None).duration;
        let difference = size.0 as f64 / self.rate - size.0 as f64 / self.model.native_rate();
        Duration::from_secs_f64((own.as_secs_f64() + difference).max(0.0))
    }

    fn sync(&self) -> Duration {
        self.model.sync()
    }
}

/// A drive that does nothing but stream: the physical limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// Bytes a second.
    pub rate: f64,
}

impl Mechanics for Limit {
    fn mount(&self, _: Bytes) -> Duration {
        Duration::ZERO
    }

    fn unmount(&self, _: Bytes, _: Bytes) -> Duration {
        Duration::ZERO
    }

    fn locate(&self, _: Bytes, _: Bytes) -> Duration {
        Duration::ZERO
    }

    fn stream(&self, _: Bytes, size: Bytes) -> Duration {
        Duration::from_secs_f64(size.0 as f64 / self.rate)
    }

    fn sync(&self) -> Duration {
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TB: Bytes = Bytes(1_000_000_000_000);

    #[test]
    fn another_speed_changes_the_stream_and_keeps_the_turns() {
        let drive = Lto9::new(FormFactor::HalfHeight);
        let turns =
            |drive: Lto9| drive.stream(Bytes::ZERO, TB).as_secs_f64() - TB.0 as f64 / drive.rate();
        let (own, faster) = (turns(drive), turns(drive.with_rate(300e6)));
        assert!(own > 20.0 && (own - faster).abs() < 1e-6, "{own} {faster}");
    }

    #[test]
    fn a_mount_cycle_takes_three_to_six_minutes() {
        let drive = Lto9::new(FormFactor::HalfHeight);
        let cycle = |end, moved| (drive.mount(end) + drive.unmount(end, moved)).as_secs();
        let shortest = (1..100)
            .map(|n| cycle(Bytes(n * TB.0 / 10), Bytes(1)))
            .min();
        let longest = (1..100).map(|n| cycle(Bytes(n * TB.0 / 10), TB)).max();
        assert!(
            shortest > Some(150) && longest < Some(420),
            "{shortest:?} {longest:?}"
        );
    }
}
