//! How long writes wait while the primary changes: `make bench-failover`, `cargo bench --bench failover`.

#[path = "../cluster/machine.rs"]
#[allow(dead_code, reason = "measuring idle clients needs more of it")]
mod machine;
mod options;
#[path = "../cluster/process.rs"]
#[allow(dead_code, reason = "measuring idle clients needs more of it")]
mod process;
#[path = "../cluster/record.rs"]
#[allow(dead_code, reason = "each program names its own part")]
mod record;
mod report;
mod rig;
#[path = "../cluster/tools.rs"]
#[allow(dead_code, reason = "measuring other proxies needs more of it")]
mod tools;
mod writers;

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser as _;

use machine::Machine;
use options::Options;
use report::{Measured, Report};
use rig::Rig;

fn main() -> ExitCode {
    // `cargo test --all-targets` runs benchmarks too, without this word: half an hour of measuring is no test.
    if !std::env::args().any(|argument| argument == "--bench") {
        say("run it by `make bench-failover`");
        return ExitCode::SUCCESS;
    }
    let options = Options::parse();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    if options.verbose {
        let told = pointsman::config::Log {
            format: pointsman::config::LogFormat::Text,
            level: "pointsman=info".to_owned(),
        };
        let _ = pointsman::telemetry::start(&told);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime.context("no runtime").and_then(|runtime| runtime.block_on(bench(&options))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Progress goes to standard error, the result to standard output.
fn say(line: &str) {
    // Nobody reads any more, perhaps; measuring goes on.
    let _ = writeln!(io::stderr(), "{line}");
}

async fn bench(options: &Options) -> Result<()> {
    let mut report = Report {
        machine: Machine::look(),
        command: command(),
        writers: options.writers,
        think: options.think,
        measured: Vec::new(),
    };
    for flavour in &options.flavour {
        for event in &options.event {
            let mut measured = Measured::new((*flavour).into(), *event);
            let mut rig = Rig::start((*flavour).into(), *event, options).await?;
            for run in 0..options.runs {
                let seen = rig.run(*event).await?;
                say(&format!("{flavour} {event} {}/{}: {seen:?}", run + 1, options.runs));
                measured.seen.push(seen);
                if !rig.is_whole_again().await {
                    // What the old primary has and nobody else does keeps it out: a cluster has only so many servers.
                    measured.left_out += 1;
                    measured.lost += rig.end().await?;
                    rig = Rig::start((*flavour).into(), *event, options).await?;
                }
            }
            measured.lost += rig.end().await?;
            report.measured.push(measured);
        }
    }
    let text = report.text();
    writeln!(io::stdout(), "{text}")?;
    if options.record {
        record::part(Path::new(env!("CARGO_MANIFEST_DIR")), record::FAILOVER, &text)?;
        say("written to BENCHMARKS.md");
    }
    Ok(())
}

/// The words that started this, as a person would type them.
fn command() -> String {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    format!("cargo bench --bench failover -- {}", arguments.join(" ")).trim_end_matches([' ', '-']).to_owned()
}
