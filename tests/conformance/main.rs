//! Runs drivers' own test suites directly and through the proxy, and reports what differs: `make conformance`.

mod accepted;
mod compare;
mod options;
mod report;
mod stage;
mod suite;

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser as _;
use pointsman::flavour::Flavour;

use accepted::Accepted;
use options::Options;
use report::{Report, Row};
use stage::{Stage, Way};
use suite::Suite;

fn main() -> ExitCode {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime.context("no runtime").and_then(|runtime| runtime.block_on(conform(&options))) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("conformance: {error:#}"));
            ExitCode::from(3)
        }
    }
}

/// Progress goes to standard error, the table to standard output.
pub(crate) fn say(line: &str) {
    // Nobody reads any more, perhaps; the suites go on.
    let _ = writeln!(io::stderr(), "{line}");
}

/// Whether there is nothing that is not accepted.
async fn conform(options: &Options) -> Result<bool> {
    let accepted = Accepted::load()?;
    let suites = options.suites()?;
    let mut report = Report::default();
    for flavour in options.flavours() {
        let stage = Stage::set(flavour, &say).await?;
        if options.serve {
            serve(&stage).await?;
            continue;
        }
        for suite in &suites {
            report.rows.push(run(suite, flavour, &stage, options, &accepted).await?);
        }
    }
    if !options.serve {
        report.publish(options)?;
    }
    Ok(report.is_clean())
}

/// One suite on one flavour, every way.
async fn run(
    suite: &Suite,
    flavour: Flavour,
    stage: &Stage,
    options: &Options,
    accepted: &Accepted,
) -> Result<Row> {
    let mut row = Row::new(suite, flavour);
    match suite.fetch().await? {
        Ok(version) => row.version = version,
        Err(why) => {
            say(&format!("{}: left out: {why}", suite.name));
            row.missing = Some(why);
            return Ok(row);
        }
    }
    row.direct = suite.run(stage, Way::Direct, flavour, options).await?;
    for way in [Way::Shared, Way::Fresh] {
        let through = suite.run(stage, way, flavour, options).await?;
        let mut found = compare::differences(&row.direct, &through);
        if !found.is_empty() {
            say(&format!("{}: {} tests differ; both again, to be sure", suite.name, found.len()));
            let direct = suite.run(stage, Way::Direct, flavour, options).await?;
            let through = suite.run(stage, way, flavour, options).await?;
            let again = compare::differences(&direct, &through);
            found.retain(|difference| again.contains(difference));
        }
        for difference in &found {
            let reason = accepted.reason(suite.name, flavour, &difference.test);
            say(&format!(
                "  {difference}{}",
                reason.map_or(String::new(), |why| format!(" (accepted: {why})"))
            ));
        }
        row.through.push(report::Through::new(way, through, found, |test| {
            accepted.reason(suite.name, flavour, test).is_some()
        }));
    }
    Ok(row)
}

/// Keeps the servers and proxies for work by hand, until Ctrl-C.
async fn serve(stage: &Stage) -> Result<()> {
    stage.clear().await?;
    for way in [Way::Direct, Way::Shared, Way::Fresh] {
        let (port, user) = (stage.port(way), stage::SUITE.user);
        say(&format!("{way}: 127.0.0.1:{port}, user and password {user}, schema {}", stage::SCHEMA));
    }
    tokio::signal::ctrl_c().await?;
    Ok(())
}
