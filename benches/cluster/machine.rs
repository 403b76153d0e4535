//! The machine, in the words of a report, and waiting until it is quiet.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::{process, tools};

pub(crate) struct Machine {
    pub(crate) when: String,
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory: u64,
    pub(crate) system: String,
    pub(crate) kernel: String,
    pub(crate) commit: String,
    pub(crate) sysbench: String,
}

impl Machine {
    pub(crate) fn look() -> Self {
        let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let processor = processor.lines().find_map(|line| line.strip_prefix("model name"));
        let system = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let system = system.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
        Self {
            when: said(Path::new("date"), &["-u", "+%Y-%m-%d %H:%M UTC"]),
            processor: processor.unwrap_or("unknown").trim_start_matches([' ', '\t', ':']).to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory: process::memory_total() / 1024,
            system: system.unwrap_or("Linux").trim_matches('"').to_owned(),
            kernel: said(Path::new("uname"), &["-r"]),
            commit: said(Path::new("git"), &["describe", "--always", "--dirty", "--abbrev=10"]),
            sysbench: tools::find("sysbench")
                .map_or_else(String::new, |program| said(&program, &["--version"])),
        }
    }
}

fn said(program: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let output = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    output.ok().filter(|text| !text.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}

/// Waits until little else runs, or for too long. Returns the load then.
pub(crate) async fn quiet(below: f64, limit: Duration, say: &dyn Fn(&str)) -> f64 {
    let begun = Instant::now();
    let mut load = process::load();
    if load >= below {
        say(&format!("waiting up to {} s for a load below {below}; it is {load}", limit.as_secs()));
    }
    while load >= below && begun.elapsed() < limit {
        // The kernel counts anew every five seconds.
        tokio::time::sleep(Duration::from_secs(5)).await;
        load = process::load();
    }
    load
}

/// Lets this process, and those it starts, open as many files as clients are to be connected, or as many as it may.
pub(crate) fn allow_files(files: u64) {
    let pid = std::process::id().to_string();
    let hard = format!("--nofile={}:", files_allowed("hard").min(files));
    for limit in [format!("--nofile={files}:{files}"), hard] {
        let done = Command::new("prlimit").args(["--pid", &pid, &limit]).output();
        if done.is_ok_and(|output| output.status.success()) {
            return;
        }
    }
}

/// Files that this process may open.
pub(crate) fn files() -> u64 {
    files_allowed("soft")
}

fn files_allowed(limit: &str) -> u64 {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let at = usize::from(limit == "hard");
    line.and_then(|line| line.split_whitespace().nth(at)).and_then(|files| files.parse().ok()).unwrap_or(1024)
}
