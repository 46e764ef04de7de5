//! Pure functions from positions and amounts to durations.

use scsi::{FormFactor, Generation};
use std::time::Duration;

/// Mechanics of one LTO generation and form factor.
///
/// Positions are bytes of record data before the head. All functions are pure; nothing sleeps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LtoModel {
    generation: Generation,
    form: FormFactor,
    /// Bytes of record data on a whole tape.
    capacity: f64,
    wraps: u64,
    native_mb_s: f64,
    step_min_mb_s: f64,
    step_max_mb_s: f64,
    steps: u32,
    load_s: f64,
    unload_s: f64,
    locate_from_bot_s: f64,
    rewind_s: f64,
    /// Rewind inside UNLOAD by amount moved: below 5 GB, to 50 GB, above.
    unthread_s: Option<[f64; 3]>,
    sync_s: f64,
}

/// What a stretch of writing costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WriteTime {
    /// From the first byte taken to the last.
    pub duration: Duration,
    /// The drive's tape speed while moving, MB/s.
    pub step_mb_s: f64,
    /// How often the drive had to stop and back-hitch because it was fed too slowly.
    pub back_hitches: u64,
}

/// Longitudinal positions from one end of a wrap to the other (CTA: 2,696 to 171,097).
const LPOS_RANGE: f64 = 171_097.0 - 2_696.0;
/// Turning at the end of a wrap (measured 1 to 2 s dips on LTO-9).
const WRAP_TURN_S: f64 = 1.5;
/// Mean of the unscaled cost function from beginning of tape to a uniform position: 4.29 + 6.69 +
/// 3/4·3.20 − 1/2·6.04 + 1/2·5.22 + 1/2·0.0006192·168,401.
const UNSCALED_MEAN_FROM_BOT_S: f64 = 65.1;
/// Drive buffer; LTO drives have 1 GiB or more.
const DRIVE_BUFFER_MB: f64 = 1073.0;
/// A back-hitch: turn, step back, turn again (the cost function's terms 5.22 and 11.32).
const BACK_HITCH_S: f64 = 5.22 + 11.32;

impl LtoModel {
    /// The model of a drive with tapes of `capacity_bytes` (native: 6, 12, 18, 30 TB), which the
    /// generation's wraps divide. LTO-7 full height borrows half height's locate and rewind;
    /// LTO-10 borrows LTO-9's wraps, and full height's figures for half height, as none are
    /// published.
    pub fn new(generation: Generation, form: FormFactor, capacity_bytes: u64) -> Self {
        use FormFactor::{FullHeight, HalfHeight};
        use Generation::{Lto7, Lto8, Lto9, Lto10};
        let base = Self {
            generation,
            form,
            capacity: capacity_bytes.max(1) as f64,
            wraps: 280,
            native_mb_s: 300.0,
            step_min_mb_s: 101.46,
            step_max_mb_s: 306.0,
            steps: 12,
            load_s: 15.0,
            unload_s: 20.0,
            locate_from_bot_s: 56.0,
            rewind_s: 60.0,
            unthread_s: None,
            sync_s: 3.0,
        };
        match (generation, form) {
            (Lto7, _) => Self { wraps: 112, ..base },
            (Lto8, form) => Self {
                wraps: 208,
                native_mb_s: if form == FullHeight { 360.0 } else { 300.0 },
                step_min_mb_s: 112.0,
                step_max_mb_s: if form == FullHeight { 365.0 } else { 306.4 },
                steps: if form == FullHeight { 12 } else { 9 },
                unload_s: 24.0,
                locate_from_bot_s: 59.0,
                rewind_s: 59.0,
                ..base
            },
            (Lto9, FullHeight) => Self {
                native_mb_s: 400.0,
                step_min_mb_s: 177.0,
                step_max_mb_s: 408.0,
                load_s: 17.0,
                unload_s: 30.0,
                locate_from_bot_s: 45.0,
                rewind_s: 55.0,
                unthread_s: Some([55.0, 110.0, 165.0]),
                ..base
            },
            (Lto9, HalfHeight) => Self {
                // The highest speed step is below the published 300 MB/s.
                native_mb_s: 284.0,
                step_min_mb_s: 177.0,
                step_max_mb_s: 284.0,
                steps: 6,
                load_s: 16.0,
                unload_s: 56.0,
                locate_from_bot_s: 65.0,
                rewind_s: 62.0,
                unthread_s: Some([62.0, 124.0, 186.0]),
                ..base
            },
            (Lto10, _) => Self {
                native_mb_s: 400.0,
                step_min_mb_s: 157.0,
                step_max_mb_s: 407.0,
                steps: 14,
                load_s: 12.0,
                unload_s: 27.0,
                locate_from_bot_s: 65.0,
                rewind_s: 62.0,
                ..base
            },
        }
    }

    /// The same with another cost of a synchronous filemark. The default, 3 s, is what Enstore
    /// measured; CERN measured 1.7 s on other drives.
    pub fn with_sync(self, sync: Duration) -> Self {
        Self {
            sync_s: sync.as_secs_f64(),
            ..self
        }
    }

    /// Generation of the drive.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Build of the drive.
    pub fn form(&self) -> FormFactor {
        self.form
    }

    /// Bytes a second at full tape speed.
    pub fn native_rate(&self) -> f64 {
        self.native_mb_s * 1e6
    }

    /// Cartridge inserted to drive ready.
    pub fn load(&self) -> Duration {
        seconds(self.load_s)
    }

    /// UNLOAD at `from` after moving `moved_bytes` since the load: the rewind inside it (LTO-9
    /// "archive unthread" depends on what was moved) and the eject.
    pub fn unload(&self, from: u64, moved_bytes: u64) -> Duration {
        let rewind = match self.unthread_s {
            Some([small, _, _]) if moved_bytes < 5_000_000_000 => seconds(small),
            Some([_, middle, _]) if moved_bytes < 50_000_000_000 => seconds(middle),
            Some([_, _, large]) => seconds(large),
            None => self.rewind(from),
        };
        rewind + seconds(self.unload_s)
    }

    /// The way from one position to another.
    pub fn locate(&self, from: u64, to: u64) -> Duration {
        if from == to {
            return Duration::ZERO;
        }
        let (a, b) = (self.physical(from), self.physical(to));
        let bands = self.wraps / 4;
        let flag = |set: bool| f64::from(u8::from(set));
        let landing = |x: Physical| x.along >= 0.5;
        let same_wrap = a.wrap == b.wrap;
        let cost = 4.29 + 6.69 * flag(!same_wrap) + 3.20 * flag(a.wrap / bands != b.wrap / bands)
            - 6.04 * flag(landing(a) != landing(b))
            + 5.22 * flag(a.wrap % 2 != b.wrap % 2)
            + 11.32 * flag(same_wrap && to < from)
            + 0.000_619_2 * LPOS_RANGE * (a.along - b.along).abs();
        seconds((cost * self.locate_from_bot_s / UNSCALED_MEAN_FROM_BOT_S).max(0.0))
    }

    /// REWIND from a position. Its mean over a cartridge is the published average.
    pub fn rewind(&self, from: u64) -> Duration {
        if from == 0 {
            return Duration::ZERO;
        }
        const TURN_S: f64 = 4.29;
        seconds(TURN_S + 2.0 * (self.rewind_s - TURN_S) * self.physical(from).along)
    }

    /// A synchronous filemark, beside the time the buffered data takes.
    pub fn sync(&self) -> Duration {
        seconds(self.sync_s)
    }

    /// Writing (or reading) `bytes` from position `at`, streaming at full speed or, with `feed`,
    /// from a host that delivers that many bytes a second.
    ///
    /// The drive picks the highest speed step not above the feed. Below its slowest step the
    /// buffer runs empty, the tape stops, and the drive waits for a full buffer: the host is not
    /// slowed by that unless the back-hitch outlasts the buffer.
    pub fn write(&self, at: u64, bytes: u64, feed: Option<f64>) -> WriteTime {
        let megabytes = bytes as f64 / 1e6;
        let feed = feed.map_or(self.native_mb_s, |feed| (feed / 1e6).max(1e-6));
        let rate = feed.min(self.native_mb_s);
        let turns = (self.physical(at + bytes).wrap - self.physical(at).wrap) as f64;
        let slow = feed < self.step_min_mb_s;
        // A cycle empties the buffer at the lowest step while the host fills it.
        let per_cycle =
            DRIVE_BUFFER_MB * self.step_min_mb_s / (self.step_min_mb_s - feed).max(1e-6);
        let back_hitches = if slow {
            (megabytes / per_cycle).floor()
        } else {
            0.0
        };
        let stall = (BACK_HITCH_S - DRIVE_BUFFER_MB / feed).max(0.0);
        let duration = megabytes / rate + turns * WRAP_TURN_S + back_hitches * stall;
        WriteTime {
            duration: seconds(duration),
            step_mb_s: self.step(feed),
            back_hitches: back_hitches as u64,
        }
    }

    /// Reading `bytes` from position `at` at full speed.
    pub fn read(&self, at: u64, bytes: u64) -> Duration {
        self.write(at, bytes, None).duration
    }

    /// The highest of the evenly spaced speed steps not above `feed`, MB/s.
    fn step(&self, feed: f64) -> f64 {
        let width = (self.step_max_mb_s - self.step_min_mb_s) / f64::from(self.steps - 1);
        let number = ((feed - self.step_min_mb_s) / width).floor();
        self.step_min_mb_s + width * number.clamp(0.0, f64::from(self.steps - 1))
    }

    fn physical(&self, bytes: u64) -> Physical {
        let per_wrap = self.capacity / self.wraps as f64;
        let turns = bytes as f64 / per_wrap;
        let wrap = (turns as u64).min(self.wraps - 1);
        let forward = (turns - wrap as f64).clamp(0.0, 1.0);
        Physical {
            wrap,
            along: if wrap.is_multiple_of(2) {
                forward
            } else {
                1.0 - forward
            },
        }
    }
}

/// Where on the tape: which wrap, and how far along it (0 at beginning of tape, 1 at its end).
#[derive(Debug, Clone, Copy)]
struct Physical {
    wrap: u64,
    along: f64,
}

fn seconds(s: f64) -> Duration {
    Duration::try_from_secs_f64(s).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TB: u64 = 1_000_000_000_000;

    fn lto9(form: FormFactor) -> LtoModel {
        LtoModel::new(Generation::Lto9, form, 18 * TB)
    }

    /// Mean in seconds over positions spread evenly over the cartridge.
    fn mean(of: impl Fn(u64) -> Duration) -> f64 {
        let n = 10_007;
        (1..=n)
            .map(|i| of(18 * TB / n * i).as_secs_f64())
            .sum::<f64>()
            / n as f64
    }

    #[test]
    fn means_from_beginning_of_tape_are_the_published_ones() {
        for (form, locate, rewind) in [
            (FormFactor::FullHeight, 45.0, 55.0),
            (FormFactor::HalfHeight, 65.0, 62.0),
        ] {
            let model = lto9(form);
            let located = mean(|to| model.locate(0, to));
            assert!(
                (located - locate).abs() < 0.02 * locate,
                "{form:?} locate {located}"
            );
            let rewound = mean(|from| model.rewind(from));
            assert!(
                (rewound - rewind).abs() < 0.02 * rewind,
                "{form:?} rewind {rewound}"
            );
        }
    }

    #[test]
    fn a_full_cartridge_takes_half_a_day() {
        let hours = lto9(FormFactor::FullHeight)
            .write(0, 18 * TB, None)
            .duration
            .as_secs_f64();
        assert!((12.0..13.0).contains(&(hours / 3600.0)), "{hours}");
    }

    #[test]
    fn archive_unthread_depends_on_what_was_moved() {
        let model = lto9(FormFactor::HalfHeight);
        let unload = |moved| model.unload(TB, moved).as_secs();
        assert_eq!(unload(4_999_999_999), 62 + 56);
        assert_eq!(unload(5_000_000_000), 124 + 56);
        assert_eq!(unload(50_000_000_000), 186 + 56);
    }

    #[test]
    fn a_slow_host_makes_the_drive_back_hitch() {
        let model = lto9(FormFactor::FullHeight);
        let fast = model.write(0, TB, Some(300e6));
        assert_eq!(fast.back_hitches, 0);
        assert!(
            fast.step_mb_s <= 300.0 && fast.step_mb_s > 275.0,
            "{}",
            fast.step_mb_s
        );
        let slow = model.write(0, TB, Some(50e6));
        assert!(slow.back_hitches > 500, "{}", slow.back_hitches);
        assert_eq!(slow.step_mb_s, 177.0);
    }

    #[test]
    fn stepping_back_in_a_wrap_costs_more_than_going_on() {
        let model = lto9(FormFactor::FullHeight);
        let (near, far) = (10_000_000_000, 11_000_000_000);
        assert!(model.locate(far, near) > model.locate(near, far));
        assert_eq!(model.locate(near, near), Duration::ZERO);
    }
}
