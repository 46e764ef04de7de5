//! What `/proc` says about processes (Linux only: proc(5)).

use std::fs;

use anyhow::Context as _;
use serde::Serialize;

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Usage {
    /// The most memory it ever had resident (VmHWM), in MiB.
    pub rss_mib: f64,
    /// Seconds of processor time, user and system.
    pub cpu_s: f64,
}

/// `sysconf(_SC_CLK_TCK)`: 100 on every Linux that `/proc` is read on (the unit is part of
/// the kernel's interface, USER_HZ).
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process has used so far.
///
/// # Errors
/// When there is no such process.
pub fn usage(pid: u32) -> anyhow::Result<Usage> {
    let read = |name: &str| {
        let path = format!("/proc/{pid}/{name}");
        fs::read_to_string(&path).with_context(|| format!("reading {path}"))
    };
    let rss_mib = parse_high_water_mark(&read("status")?).context("VmHWM in /proc status")?;
    let cpu_s = parse_cpu(&read("stat")?).context("utime and stime in /proc stat")?;
    Ok(Usage { rss_mib, cpu_s })
}

/// The children of a process whose command line has `word` in one of its first two words.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn children(parent: u32, word: &str) -> anyhow::Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("reading /proc")? {
        let Some(pid) = entry?
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        // A process may end while it is looked at: then it is no child any more.
        let (Ok(stat), Ok(line)) = (
            fs::read_to_string(format!("/proc/{pid}/stat")),
            fs::read(format!("/proc/{pid}/cmdline")),
        ) else {
            continue;
        };
        let mut words = line
            .split(|byte| *byte == 0)
            .take(2)
            .map(String::from_utf8_lossy);
        if parse_parent(&stat) == Some(parent) && words.any(|found| found.contains(word)) {
            found.push(pid);
        }
    }
    Ok(found)
}

fn parse_high_water_mark(status: &str) -> Option<f64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}

/// The fields behind the command, which is in parentheses and may hold anything.
fn fields(stat: &str) -> Option<Vec<&str>> {
    Some(stat.rsplit_once(')')?.1.split_whitespace().collect())
}

fn parse_parent(stat: &str) -> Option<u32> {
    // proc(5) counts from 1 with the command as field 2; the parent is field 4.
    fields(stat)?.get(4 - 3)?.parse().ok()
}

fn parse_cpu(stat: &str) -> Option<f64> {
    let fields = fields(stat)?;
    let ticks = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    Some((ticks(14)? + ticks(15)?) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_parentheses_confuses_nobody() {
        let stat = "7 (a) b (c)) S 42 7 7 0 -1 4194304 1 2 3 4 250 150 5 6 20 0 1 0 9";
        assert_eq!(parse_parent(stat), Some(42));
        assert_eq!(parse_cpu(stat), Some(4.0));
    }

    #[test]
    fn this_process_has_used_something() {
        assert!(usage(std::process::id()).unwrap().rss_mib > 0.5);
        assert!(usage(u32::MAX).is_err());
    }

    #[test]
    fn a_child_is_found_by_its_command() {
        let mut child = std::process::Command::new("sleep")
            .arg("600")
            .spawn()
            .unwrap();
        // The kernel shows the command line a moment after exec.
        let line = format!("/proc/{}/cmdline", child.id());
        while fs::read(&line).unwrap().is_empty() {
            std::thread::yield_now();
        }
        let me = std::process::id();
        let found = children(me, "sleep").unwrap();
        let others = children(me, "no-such-command").unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found.contains(&child.id()));
        assert!(others.is_empty());
    }
}
