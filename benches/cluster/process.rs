//! What the kernel tells of processes and of the machine: processor time and memory.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// The unit of /proc: a hundredth of a second, whatever the kernel's own clock.
const TICK: Duration = Duration::from_millis(10);

/// Processor time of a process since its start, threads that have ended included. The kernel keeps the sum of user
/// and system time exactly and rounds it to ticks only here.
pub(crate) fn cpu(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("the process has ended")?;
    // The name stands in parentheses and may hold anything.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = |at: usize| fields.split_whitespace().nth(at).and_then(|text| text.parse::<u32>().ok());
    let (user, system) = (ticks(11), ticks(12));
    Ok(TICK * (user.context("utime")? + system.context("stime")?))
}

/// Resident memory in KiB.
pub(crate) fn resident(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the process has ended")?;
    number_after(&status, "VmRSS:").context("VmRSS")
}

/// Time that all processors together have worked for anybody, or that was stolen from them.
pub(crate) fn machine_busy() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().unwrap_or_default();
    let fields: Vec<u64> = line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal
    let busy = [0, 1, 2, 5, 6, 7].iter().filter_map(|at| fields.get(*at)).sum::<u64>();
    Ok(Duration::from_millis(busy * 10))
}

/// Runnable processes, averaged over the last minute.
pub(crate) fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|load| load.parse().ok()).unwrap_or(0.0)
}

/// Memory of the machine in MiB.
pub(crate) fn memory_total() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    number_after(&text, "MemTotal:").unwrap_or(0) / 1024
}

fn number_after(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
