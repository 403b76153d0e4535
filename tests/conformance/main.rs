//! Runs drivers' own test suites directly and through the proxy, and reports what differs: `make conformance`.

mod accepted;
mod compare;
mod options;
mod page;
mod report;
mod stage;
mod suite;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser as _;

use accepted::Accepted;
use options::Options;
use page::Page;
use report::Row;
use stage::{Stage, Way};
use suite::Suite;

fn main() -> ExitCode {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    // Dropped with all that it started, by Ctrl-C too.
    let interrupted = async {
        tokio::select! {
            done = conform(&options) => done,
            _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
        }
    };
    match runtime.context("no runtime").and_then(|runtime| runtime.block_on(interrupted)) {
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
    let mut rows = Vec::new();
    for flavour in options.flavours() {
        let mut stage = Stage::set(flavour, &say).await?;
        if options.serve {
            serve(&stage).await?;
            continue;
        }
        for suite in &suites {
            let mut row = Row::new(suite.name, suite.what, flavour, stage.servers());
            if let Err(error) = run(suite, &mut row, &stage, options).await {
                row.missing = Some(format!("{error:#}; see {}", stage.keep_logs()?.display()));
                // A server has ended, most likely.
                stage = Stage::set(flavour, &say).await?;
            }
            for finding in row.findings() {
                let reason = row.reason(&accepted, &finding);
                let reason = reason.map_or(String::new(), |why| format!(" (accepted: {why})"));
                say(&format!("  {flavour} {}: {finding}{reason}", suite.name));
            }
            rows.push(row);
            if options.record {
                record(&rows[rows.len() - 1], &accepted)?;
            }
        }
    }
    let page = rows.iter().fold(Page::default(), |page, row| page.with(row, &accepted));
    if !options.serve {
        // As with `say`.
        let _ = io::stdout().write_all(page.to_string().as_bytes());
    }
    Ok(rows.iter().all(|row| row.problems(&accepted).next().is_none()))
}

/// Puts a row on the page of the repository.
fn record(row: &Row, accepted: &Accepted<'static>) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("CONFORMANCE.md");
    let page = Page::read(&fs::read_to_string(&path).unwrap_or_default());
    Ok(fs::write(path, page.with(row, accepted).to_string())?)
}

/// One suite on one flavour, every way; where there is a difference, both ways once more.
async fn run(suite: &Suite, row: &mut Row, stage: &Stage, options: &Options) -> Result<()> {
    let _alone = suite.lock()?;
    match suite.fetch().await? {
        Ok(version) => row.version = version,
        Err(why) => {
            row.missing = Some(why);
            return Ok(());
        }
    }
    let once = async |way| suite.run(stage, way, row.flavour, options).await;
    row.direct.push(once(Way::Direct).await?);
    for way in [Way::Shared, Way::Fresh] {
        let mut runs = vec![once(way).await?];
        let found = compare::differences(&row.direct, &runs);
        if !found.is_empty() {
            say(&format!("{}: {} tests differ; again, to be sure", suite.name, found.len()));
            row.direct.push(once(Way::Direct).await?);
            runs.push(once(way).await?);
        }
        row.through.push((way, runs));
    }
    Ok(())
}

/// Keeps the servers and proxies for work by hand, until Ctrl-C.
async fn serve(stage: &Stage) -> Result<()> {
    stage.clear().await?;
    for way in [Way::Direct, Way::Shared, Way::Fresh] {
        let (port, user) = (stage.port(way), stage::SUITE.user);
        say(&format!("{way}: 127.0.0.1:{port}, user and password {user}, schema {}", stage::SCHEMA));
    }
    std::future::pending().await
}
