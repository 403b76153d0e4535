//! What the proxy costs, measured on real servers beside other proxies: `make bench`, `cargo bench --bench cluster`.

mod contender;
mod idle;
mod machine;
mod options;
mod process;
#[allow(dead_code, reason = "each program names its own part")]
mod record;
mod report;
mod sysbench;
mod tools;

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser as _;
use pointsman::flavour::Flavour;
use pointsman::playground::{self, Cluster};

use contender::{Contender, Kind};
use machine::Machine;
use options::Options;
use report::{FlavourResult, Report, Sample};
use sysbench::{Load, Mark};

/// For ten thousand clients, both sides of them.
const FILES: u64 = 32_768;

fn main() -> ExitCode {
    // `cargo test --all-targets` runs benchmarks too, without this word: an hour of measuring is no test.
    if !std::env::args().any(|argument| argument == "--bench") {
        say("run it by `make bench`");
        return ExitCode::SUCCESS;
    }
    let options = Options::parse().settled();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
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
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    machine::allow_files(FILES);
    let (kinds, mut notes) = contender::all(options)?;
    let mut report = Report {
        machine: Machine::look(),
        command: command(),
        versions: kinds.iter().filter_map(|kind| Some((kind.name().to_owned(), kind.version()?))).collect(),
        load_before: machine::quiet(options.quiet, Duration::from_secs(options.quiet_wait), &say).await,
        load_after: 0.0,
        notes: Vec::new(),
        flavours: Vec::new(),
        idle: Vec::new(),
    };
    for (index, flavour) in options.flavours().enumerate() {
        let mut cluster = playground::Options::new(Some(flavour));
        cluster.server_options = contender::server_options();
        let cluster = Cluster::start(&cluster, &say).await?;
        if !options.no_load {
            report.flavours.push(load(options, &kinds, &cluster, &mut notes).await?);
        }
        // What an idle client costs does not depend on the servers.
        if index == 0 && !options.no_idle {
            report.idle = idle(options, &kinds, &cluster).await?;
        }
        cluster.stop().await;
    }
    report.load_after = process::load();
    report.notes = notes;
    publish(&report, options.record)
}

/// The words that started this, as a person would type them.
fn command() -> String {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    format!("cargo bench --bench cluster -- {}", arguments.join(" ")).trim_end_matches([' ', '-']).to_owned()
}

async fn load(
    options: &Options,
    kinds: &[Kind],
    cluster: &Cluster,
    notes: &mut Vec<String>,
) -> Result<FlavourResult> {
    say("making the tables of sysbench");
    sysbench::prepare(cluster.primary.port).await?;
    cluster.wait_applied().await?;
    let mut contenders = Vec::new();
    for kind in kinds {
        match kind.start(cluster).await {
            Ok(contender) => contenders.push((kind, contender)),
            // A peer that cannot be had is left out and named; ours has to work.
            Err(error) if matches!(kind, Kind::Router { .. }) => {
                say(&format!("left out: {error:#}"));
                notes.push(format!("{} was left out: {error:#}", kind.name()));
            }
            Err(error) => return Err(error),
        }
    }
    let loads = loads(options);
    let takes = |load: &Load| contenders.iter().filter(|(kind, _)| kind.takes(load.workload)).count();
    let runs = loads.iter().map(takes).sum::<usize>() * options.rounds as usize;
    let begun = Instant::now();
    let mut samples = Vec::new();
    for load in loads {
        for round in 0..options.rounds {
            for place in 0..contenders.len() {
                // Everybody comes after everybody else in some round.
                let (kind, contender) = &contenders[(place + round as usize) % contenders.len()];
                if !kind.takes(load.workload) {
                    continue;
                }
                let sample = measure(load, round, contender, cluster).await;
                let sample = sample
                    .with_context(|| format!("{} {} {}", contender.name, load.workload, load.protocol))?;
                let left = begun.elapsed() * (runs - samples.len() - 1) as u32 / (samples.len() + 1) as u32;
                say(&format!("{sample}, {} min left", left.as_secs() / 60 + 1));
                samples.push(sample);
            }
        }
    }
    Ok(FlavourResult { flavour: cluster.flavour(), version: cluster.programs.version_text.clone(), samples })
}

fn loads(options: &Options) -> Vec<Load> {
    let mut loads = Vec::new();
    for &workload in &options.workload {
        for &protocol in &options.protocol {
            for &connections in &options.connections {
                loads.push(Load { workload, protocol, connections, seconds: options.seconds });
            }
        }
    }
    loads
}

/// Processor time spent so far.
struct Spent {
    proxy: Duration,
    servers: Duration,
    /// By sysbench and by this process.
    load: Duration,
    /// By everybody on the machine.
    machine: Duration,
    at: Instant,
}

impl Spent {
    fn now(contender: &Contender, cluster: &Cluster, sysbench: u32) -> Result<Self> {
        let servers = cluster.servers().filter_map(|server| server.pid()).map(process::cpu);
        Ok(Self {
            proxy: contender.pid().map(process::cpu).transpose()?.unwrap_or_default(),
            servers: servers.sum::<Result<Duration>>()?,
            load: process::cpu(sysbench)? + process::cpu(std::process::id())?,
            machine: process::machine_busy()?,
            at: Instant::now(),
        })
    }
}

async fn measure(load: Load, round: u32, contender: &Contender, cluster: &Cluster) -> Result<Sample> {
    let (mut begin, mut end) = (None, None);
    let figures = sysbench::run(load, contender.port, |mark, sysbench| {
        let spent = Some(Spent::now(contender, cluster, sysbench)?);
        match mark {
            Mark::Begin => begin = spent,
            Mark::End => end = spent,
        }
        Ok(())
    });
    let figures = figures.await?;
    let (begin, end) = (begin.context("no beginning")?, end.context("no end")?);
    let per_query = |spent: Duration| spent.as_secs_f64() * 1e6 / figures.queries as f64;
    let ours = |spent: &Spent| spent.proxy + spent.servers + spent.load;
    let others = (end.machine - begin.machine).saturating_sub(ours(&end) - ours(&begin));
    Ok(Sample {
        load,
        round,
        contender: contender.name.clone(),
        proxy_micros: contender.pid().map(|_| per_query(end.proxy - begin.proxy)),
        servers_micros: per_query(end.servers - begin.servers),
        others: others.as_secs_f64() / (end.at - begin.at).as_secs_f64(),
        resident: contender.pid().map(process::resident).transpose()?,
        figures,
    })
}

async fn idle(options: &Options, kinds: &[Kind], cluster: &Cluster) -> Result<Vec<idle::Idle>> {
    let mut measured = Vec::new();
    for kind in kinds {
        say(&format!("idle clients: {}", kind.name()));
        match idle::measure(kind, cluster, &options.idle).await {
            Ok(Some(idle)) => measured.push(idle),
            Ok(None) => {}
            Err(error) if matches!(kind, Kind::Router { .. }) => say(&format!("left out: {error:#}")),
            Err(error) => return Err(error),
        }
    }
    Ok(measured)
}

/// Prints the report and keeps it.
fn publish(report: &Report, record: bool) -> Result<()> {
    let text = report.text();
    writeln!(io::stdout(), "{text}")?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("bench-results");
    fs::create_dir_all(&folder)?;
    let name = report.machine.when.replace([' ', ':'], "-");
    fs::write(folder.join(format!("{name}.md")), &text)?;
    fs::write(folder.join(format!("{name}.tsv")), report.samples())?;
    say(&format!("written to bench-results/{name}.md, every sample to bench-results/{name}.tsv"));
    if record {
        record::part(root, record::CLUSTER, &text)?;
        say("written to BENCHMARKS.md");
    }
    Ok(())
}

/// What a flavour is called in headings.
fn title(flavour: Flavour) -> &'static str {
    match flavour {
        Flavour::MySql => "MySQL",
        Flavour::MariaDb => "MariaDB",
    }
}
