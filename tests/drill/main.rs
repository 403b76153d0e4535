//! Failover drills: real servers, real faults, clients that keep a book: `make drill`.

mod options;
#[path = "../rehearsal/mod.rs"]
mod rehearsal;

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser as _;
use pointsman::flavour::Flavour;

use options::{Options, StageName};
use rehearsal::processes::{self, Processes};
use rehearsal::scenario::{self, Scenario};
use rehearsal::stage::Stage;
use rehearsal::verdict::Verdict;

fn main() -> ExitCode {
    // The proxy is this very program.
    if std::env::args().nth(1).as_deref() == Some("run") {
        return pointsman::cli::main();
    }
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let options = Options::parse();
    if options.list {
        for sheet in scenario::ALL {
            say(&format!("{:<32} {}", sheet.name, sheet.about));
        }
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime.context("no runtime").and_then(|runtime| runtime.block_on(drill(&options))) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("drill: {error:#}"));
            ExitCode::from(3)
        }
    }
}

fn say(line: &str) {
    // Nobody reads any more, perhaps; the drill goes on.
    let _ = writeln!(io::stdout(), "{line}");
}

/// Whether all went well.
async fn drill(options: &Options) -> Result<bool> {
    let scenarios = options.scenarios()?;
    let stage = match options.stage {
        Some(stage) => stage,
        None => choose(),
    };
    let (began, mut rows, mut failed, mut left_out) = (Instant::now(), Vec::new(), 0, Vec::new());
    for flavour in options.flavours() {
        for scenario in &scenarios {
            let name = scenario.sheet().name;
            if stage == StageName::Processes && scenario.sheet().cuts {
                left_out.push(format!("{name} ({flavour}): plain processes cannot be cut off from one another"));
                continue;
            }
            if options.limit.is_some_and(|limit| began.elapsed() > Duration::from_secs(limit)) {
                left_out.push(format!("{name} ({flavour}): out of time"));
                continue;
            }
            match play(stage, flavour, *scenario).await {
                Ok(verdict) => {
                    say(&verdict.told());
                    failed += usize::from(!verdict.is_clean());
                    rows.push(verdict.row());
                }
                Err(error) => {
                    say(&format!("{error:#}"));
                    failed += 1;
                    rows.push(format!("FAILED {name:<32} {flavour}: {}", error.root_cause()));
                }
            }
        }
    }
    say("");
    rows.iter().for_each(|row| say(row));
    left_out.iter().for_each(|line| say(&format!("left out: {line}")));
    say(&format!("{} played, {failed} failed", rows.len()));
    Ok(failed == 0)
}

/// The best that there is, and why nothing better.
fn choose() -> StageName {
    match processes::can_cut() {
        Ok(()) => StageName::Namespaces,
        Err(why) => {
            say(&format!("no network namespaces here ({why:#}): plain processes, and no scenario that cuts"));
            StageName::Processes
        }
    }
}

async fn play(stage: StageName, flavour: Flavour, scenario: Scenario) -> Result<Verdict> {
    match stage {
        StageName::Docker => anyhow::bail!("not yet"),
        StageName::Namespaces | StageName::Processes => {
            let namespaces = stage == StageName::Namespaces;
            let set = Processes::set(flavour, std::env::current_exe()?, namespaces).await?;
            let setting = format!("{flavour}, {}", if namespaces { "namespaces" } else { "processes" });
            let played = conducted(&set, scenario, &setting).await;
            played.with_context(|| format!("the proxy's last words:\n{}", tail(&set.log())))
        }
    }
}

async fn conducted<S: Stage>(stage: &S, scenario: Scenario, setting: &str) -> Result<Verdict> {
    const LIMIT: Duration = Duration::from_secs(900);
    let played = tokio::time::timeout(LIMIT, rehearsal::play(stage, scenario, setting)).await;
    played.context("the drill hangs")?
}

fn tail(log: &str) -> String {
    const LINES: usize = 30;
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
