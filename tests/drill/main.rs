//! Failover drills: real servers, real faults, clients that keep a book: `make drill`.

mod options;
#[path = "../rehearsal/mod.rs"]
mod rehearsal;

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser as _;
use pointsman::flavour::Flavour;

use options::{Options, StageName};
use rehearsal::containers::{self, Containers};
use rehearsal::processes::{self, Processes};
use rehearsal::scenario::{self, Scenario};
use rehearsal::stage::Stage;
use rehearsal::verdict::Verdict;

/// This repository.
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

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
    let place = Place::of(options.stage)?;
    say(&format!("playing {} scenarios: {}", scenarios.len(), place.told()));
    let (began, mut rows, mut failed, mut left_out) = (Instant::now(), Vec::new(), 0, Vec::new());
    for scenario in &scenarios {
        for flavour in options.flavours() {
            let name = scenario.sheet().name;
            if scenario.sheet().cuts && !place.can_cut() {
                left_out.push(format!("{name} ({flavour}): edges cannot be cut here"));
                continue;
            }
            if options.limit.is_some_and(|limit| began.elapsed() > Duration::from_secs(limit)) {
                left_out.push(format!("{name} ({flavour}): out of time"));
                continue;
            }
            match play(&place, flavour, *scenario).await {
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

/// Where it is played, with what that takes.
enum Place {
    Docker { image: String, cuts: bool },
    Namespaces,
    Processes,
}

impl Place {
    fn of(wanted: Option<StageName>) -> Result<Self> {
        match wanted {
            Some(StageName::Docker) => Self::docker(),
            Some(StageName::Namespaces) => processes::can_cut().map(|()| Place::Namespaces),
            Some(StageName::Processes) => Ok(Place::Processes),
            None => Ok(Self::best()),
        }
    }

    fn docker() -> Result<Self> {
        containers::daemon()?;
        let image = containers::image(Path::new(ROOT), &std::env::current_exe()?)?;
        Ok(Place::Docker { image, cuts: containers::can_cut() })
    }

    /// The first that this machine has, and why nothing before it.
    fn best() -> Self {
        let because = match Self::docker() {
            Ok(docker) => return docker,
            Err(why) => why,
        };
        say(&format!("no Docker here: {because:#}"));
        match processes::can_cut() {
            Ok(()) => Place::Namespaces,
            Err(why) => {
                say(&format!("no network namespaces here: {why:#}"));
                Place::Processes
            }
        }
    }

    fn can_cut(&self) -> bool {
        match self {
            Place::Docker { cuts, .. } => *cuts,
            Place::Namespaces => true,
            Place::Processes => false,
        }
    }

    fn told(&self) -> &'static str {
        match self {
            Place::Docker { .. } => "docker",
            Place::Namespaces => "namespaces",
            Place::Processes => "processes",
        }
    }
}

async fn play(place: &Place, flavour: Flavour, scenario: Scenario) -> Result<Verdict> {
    let setting = format!("{flavour}, {}", place.told());
    match place {
        Place::Docker { image, .. } => {
            let set = Containers::set(flavour, image, Path::new(ROOT)).await?;
            let played = conducted(&set, scenario, &setting).await;
            played.with_context(|| format!("the proxy's last words:\n{}", tail(&set.log())))
        }
        Place::Namespaces | Place::Processes => {
            let namespaces = matches!(place, Place::Namespaces);
            let set = Processes::set(flavour, std::env::current_exe()?, namespaces).await?;
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
    const LINES: usize = 200;
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
