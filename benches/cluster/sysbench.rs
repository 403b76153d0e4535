//! Runs sysbench and reads what it reports.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use pointsman::playground::APP;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;
use tokio::time::{Instant, sleep_until};

use crate::options::{Protocol, Workload};
use crate::tools;

const TABLES: u32 = 4;
const ROWS: u32 = 10_000;

/// Time before the measurement: pools fill, caches warm.
const WARM_UP: u32 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) workload: Workload,
    pub(crate) protocol: Protocol,
    pub(crate) connections: u32,
    pub(crate) seconds: u32,
}

/// What one run came to, after its warm-up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) queries: u64,
    pub(crate) queries_per_second: f64,
    /// Deadlocks and lock waits, which sysbench tries again.
    pub(crate) retried: u64,
    /// Milliseconds: 50th, 95th, 99th percentile of an event.
    pub(crate) latency: [f64; 3],
}

/// The moments between which counters are to be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    Begin,
    End,
}

/// Makes and fills the tables in schema `app`.
pub(crate) async fn prepare(port: u16) -> Result<()> {
    let output = command("oltp_read_write", port)?.arg("prepare").output().await?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "sysbench cannot make its tables:\n{said}");
    Ok(())
}

/// Sends the load to the port; calls `mark` when the measurement begins and when it ends, with sysbench's process id.
pub(crate) async fn run(
    load: Load,
    port: u16,
    mut mark: impl FnMut(Mark, u32) -> Result<()>,
) -> Result<Figures> {
    let mut child = run_command(load, port)?.spawn().context("sysbench")?;
    let pid = child.id().context("its process id")?;
    let stdout = child.stdout.take().context("its output")?;
    let mut stderr = child.stderr.take().context("its errors")?;
    let errors = tokio::spawn(async move {
        let mut text = String::new();
        stderr.read_to_string(&mut text).await.map(|_| text)
    });
    let mut lines = BufReader::new(stdout).lines();
    let (mut report, mut ends_at) = (Vec::new(), None);
    loop {
        let end = async move {
            match ends_at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            line = lines.next_line() => {
                let Some(line) = line? else { break };
                if line.starts_with("Threads started!") {
                    // Its threads stop then, and close their connections, which is not to be counted.
                    ends_at = Some(Instant::now() + Duration::from_secs((WARM_UP + load.seconds).into()));
                } else if line.ends_with("Checkpoint report:") {
                    mark(Mark::Begin, pid)?;
                }
                report.push(line);
            }
            () = end => {
                mark(Mark::End, pid)?;
                ends_at = None;
            }
        }
    }
    if ends_at.is_some() {
        // Others kept this process from running at that very moment.
        mark(Mark::End, pid)?;
    }
    let status = child.wait().await?;
    let errors = errors.await??;
    if !status.success() {
        let tail = report.iter().rev().take(5).rev().map(String::as_str).collect::<Vec<_>>().join("\n");
        bail!("sysbench failed: {}\n{tail}", errors.lines().next().unwrap_or_default());
    }
    read(&report).context("sysbench's report is not as expected")
}

fn run_command(load: Load, port: u16) -> Result<Command> {
    let script = match load.workload {
        Workload::PointSelect => "oltp_point_select",
        Workload::ReadOnly => "oltp_read_only",
        Workload::ReadWrite => "oltp_read_write",
    };
    let mut command = command(script, port)?;
    // Within BEGIN and COMMIT reads belong to the primary: only without them are they split.
    command.args((load.workload == Workload::ReadOnly).then_some("--skip_trx=on"));
    command.arg(match load.protocol {
        Protocol::Text => "--db-ps-mode=disable",
        Protocol::Prepared => "--db-ps-mode=auto",
    });
    command.arg(format!("--threads={}", load.connections));
    command.arg(format!("--time={}", WARM_UP + load.seconds));
    // A checkpoint begins all counts anew: the final report is of what came after.
    command.arg(format!("--report-checkpoints={WARM_UP}"));
    command.args(["--histogram=on", "run"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    Ok(command)
}

fn command(script: &str, port: u16) -> Result<Command> {
    let mut command =
        Command::new(tools::find("sysbench").context("no sysbench: `scripts/install-bench` gets it")?);
    command.arg(script);
    command.args(["--db-driver=mysql", "--mysql-host=127.0.0.1", "--mysql-db=app", "--rand-type=uniform"]);
    command.arg(format!("--mysql-port={port}"));
    command.arg(format!("--mysql-user={}", APP.user));
    command.arg(format!("--mysql-password={}", APP.password));
    command.arg(format!("--tables={TABLES}"));
    command.arg(format!("--table-size={ROWS}"));
    command.stdin(Stdio::null());
    Ok(command)
}

/// Reads the final report: the histogram, then the counts.
fn read(report: &[String]) -> Option<Figures> {
    let from = report.iter().position(|line| line.starts_with("Latency histogram"))?;
    let mut figures = Figures::default();
    let mut histogram: Vec<(f64, u64)> = Vec::new();
    for line in report[from..].iter().map(|line| line.trim()) {
        let mut words = line.split_whitespace();
        if let Some((value, bar)) = line.split_once('|') {
            let value = value.trim().parse().ok()?;
            let count = bar.split_whitespace().next_back()?.parse().ok()?;
            histogram.push((value, count));
        } else if line.starts_with("queries:") {
            figures.queries = words.nth(1)?.parse().ok()?;
            figures.queries_per_second = words.next()?.trim_start_matches('(').parse().ok()?;
        } else if line.starts_with("ignored errors:") {
            figures.retried = words.nth(2)?.parse().ok()?;
        }
    }
    figures.latency = [0.5, 0.95, 0.99].map(|share| percentile(&histogram, share));
    (figures.queries > 0).then_some(figures)
}

fn percentile(histogram: &[(f64, u64)], share: f64) -> f64 {
    let total: u64 = histogram.iter().map(|(_, count)| count).sum();
    let rank = total as f64 * share;
    let mut seen = 0;
    for (value, count) in histogram {
        seen += count;
        if seen as f64 >= rank {
            return *value;
        }
    }
    0.0
}
