//! From samples to a report: medians, minima, ratios within rounds, as Markdown.

use std::fmt::{self, Write as _};

use pointsman::flavour::Flavour;

use crate::contender::{DIRECT, HAPROXY};
use crate::idle::Idle;
use crate::machine::Machine;
use crate::sysbench::{Figures, Load};
use crate::title;

/// One run of one contender.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) load: Load,
    pub(crate) round: u32,
    pub(crate) contender: String,
    pub(crate) figures: Figures,
    /// Processor time of the proxy for each query.
    pub(crate) proxy_micros: Option<f64>,
    /// Processor time of all servers for each query.
    pub(crate) servers_micros: f64,
    /// Processors that worked for somebody else meanwhile.
    pub(crate) others: f64,
    /// The proxy's memory at the end, in KiB.
    pub(crate) resident: Option<u64>,
}

pub(crate) struct FlavourResult {
    pub(crate) flavour: Flavour,
    pub(crate) version: String,
    pub(crate) samples: Vec<Sample>,
}

pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) command: String,
    pub(crate) versions: Vec<(String, String)>,
    pub(crate) load_before: f64,
    pub(crate) load_after: f64,
    pub(crate) notes: Vec<String>,
    pub(crate) flavours: Vec<FlavourResult>,
    pub(crate) idle: Vec<Idle>,
}

const HOW: &str = "\
sysbench, the servers (a primary and two replicas) and the proxies share the machine. The contenders take turns: \
every figure is the median of the rounds, in brackets the least. Ratios are taken within a round, before their median. \
CPU is the processor time of the proxy's process, all its threads, divided by the queries of the same interval, \
counted from one second after the start. Trust ratios and least values; rates, tails and one connection's figures \
depend on what else ran. HAProxy and MySQL Router pass everything on to the primary without looking at it; \
Pointsman reads every statement and spreads autocommit reads over the replicas.

`point_select`: one row by its key. `read_only`: fourteen selects without BEGIN and COMMIT. `read_write`: fourteen \
selects and four writes between BEGIN and COMMIT. Latency is that of the whole.
";

impl Report {
    pub(crate) fn text(&self) -> String {
        let mut text = String::from("# Benchmarks\n\n");
        let _ = self.write_head(&mut text);
        for flavour in &self.flavours {
            let _ = flavour.write(&mut text);
        }
        if !self.idle.is_empty() {
            let _ = self.write_idle(&mut text);
        }
        text
    }

    fn write_head(&self, text: &mut String) -> fmt::Result {
        let Machine { when, processor, cores, memory, system, kernel, commit, sysbench } = &self.machine;
        writeln!(text, "`{}`, {when}, commit {commit}.\n", self.command)?;
        writeln!(text, "{processor}, {cores} cores, {memory} GiB; {system}, Linux {kernel}; {sysbench}.")?;
        let versions: Vec<String> =
            self.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
        writeln!(text, "{}.", versions.join(", "))?;
        let (before, after) = (self.load_before, self.load_after);
        writeln!(text, "Load of the machine's last minute before: {before:.1}, at the end: {after:.1}.")?;
        for note in &self.notes {
            writeln!(text, "{note}")?;
        }
        writeln!(text, "\n{HOW}")
    }

    fn write_idle(&self, text: &mut String) -> fmt::Result {
        let Some(widest) =
            self.idle.iter().max_by_key(|idle| idle.resident.last().map(|(number, _)| *number))
        else {
            return Ok(());
        };
        let numbers: Vec<usize> = widest.resident.iter().map(|(number, _)| *number).collect();
        writeln!(text, "## Idle clients\n")?;
        writeln!(
            text,
            "Resident memory in MiB with so many clients logged in, after five seconds of rest. In brackets: as many \
             clients as the machine's limit of open files lets it have.\n"
        )?;
        let heads: Vec<String> = numbers.iter().map(|number| number.to_string()).collect();
        writeln!(
            text,
            "| | {} | KiB per client | after a statement each | after they left | CPU µs per login |",
            heads.join(" | ")
        )?;
        writeln!(text, "|---|{}--:|--:|--:|--:|", "--:|".repeat(numbers.len()))?;
        for idle in &self.idle {
            let cells: Vec<String> = idle.resident.iter().zip(&numbers).map(cell).collect();
            let per_client = idle.per_client();
            let (used, after) = (mebibytes(idle.used), mebibytes(idle.after));
            writeln!(
                text,
                "| {} | {} | {per_client:.1} | {used} | {after} | {:.0} |",
                idle.name,
                cells.join(" | "),
                idle.login_micros
            )?;
        }
        Ok(())
    }

    /// Every sample, for other programs.
    pub(crate) fn samples(&self) -> String {
        let mut text = String::from(
            "flavour\tworkload\tprotocol\tconnections\tround\tcontender\tqueries\tqueries_per_second\tp50_ms\tp95_ms\t\
             p99_ms\tproxy_cpu_us\tservers_cpu_us\tresident_kib\tothers_cores\tretried\n",
        );
        for result in &self.flavours {
            for sample in &result.samples {
                let Sample { load, figures, .. } = sample;
                let [p50, p95, p99] = figures.latency;
                let _ = writeln!(
                    text,
                    "{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{p50}\t{p95}\t{p99}\t{}\t{:.2}\t{}\t{:.2}\t{}",
                    result.flavour,
                    load.workload,
                    load.protocol,
                    load.connections,
                    sample.round,
                    sample.contender,
                    figures.queries,
                    figures.queries_per_second,
                    sample.proxy_micros.map_or(String::new(), |micros| format!("{micros:.2}")),
                    sample.servers_micros,
                    sample.resident.map_or(String::new(), |kib| kib.to_string()),
                    sample.others,
                    figures.retried,
                );
            }
        }
        text
    }
}

impl FlavourResult {
    fn write(&self, text: &mut String) -> fmt::Result {
        writeln!(text, "## {} {}\n", title(self.flavour), self.version)?;
        let others = spread(self.samples.iter().map(|sample| sample.others));
        let retried: u64 = self.samples.iter().map(|sample| sample.figures.retried).sum();
        writeln!(
            text,
            "{} runs without an error{}. Other programs kept {:.1} processors busy meanwhile (median).\n",
            self.samples.len(),
            if retried > 0 { format!(" but {retried} deadlocks, tried again") } else { String::new() },
            others.median
        )?;
        self.write_summary(text)?;
        self.write_details(text)
    }

    fn write_summary(&self, text: &mut String) -> fmt::Result {
        let connections = unique(self.samples.iter().map(|sample| sample.load.connections));
        writeln!(text, "CPU per query of the proxy ÷ HAProxy's in the same round [ratio of the least]:\n")?;
        let heads: Vec<String> = connections.iter().map(|number| format!("{number} conn.")).collect();
        writeln!(text, "| load | protocol | proxy | {} |", heads.join(" | "))?;
        writeln!(text, "|---|---|---|{}", "--:|".repeat(connections.len()))?;
        let loads = unique(self.samples.iter().map(|sample| (sample.load.workload, sample.load.protocol)));
        for (workload, protocol) in loads {
            let takes_part = |name: &&str| {
                let of =
                    |sample: &&Sample| (sample.load.workload, sample.load.protocol) == (workload, protocol);
                let mut samples = self.samples.iter().filter(of);
                ![DIRECT, HAPROXY].contains(name) && samples.any(|sample| sample.contender == *name)
            };
            for name in self.contenders().into_iter().filter(takes_part) {
                let cells: Vec<String> = connections
                    .iter()
                    .map(|&connections| {
                        let of = |sample: &&Sample| {
                            let load = sample.load;
                            (load.workload, load.protocol, load.connections)
                                == (workload, protocol, connections)
                        };
                        let samples: Vec<&Sample> = self.samples.iter().filter(of).collect();
                        let ratios = ratios(&samples, name, HAPROXY, |sample| sample.proxy_micros);
                        let least = |name| spread(cpu(&samples, name)).least;
                        format!("{:.2} [{:.2}]", ratios.median, least(name) / least(HAPROXY))
                    })
                    .collect();
                writeln!(text, "| {workload} | {protocol} | {name} | {} |", cells.join(" | "))?;
            }
        }
        writeln!(text)
    }

    fn write_details(&self, text: &mut String) -> fmt::Result {
        writeln!(
            text,
            "| load | protocol | conn. | way | queries/s | ÷ direct | p50 ms | p95 | p99 | CPU µs/query | ÷ HAProxy | \
             servers' CPU µs/query | MiB |"
        )?;
        writeln!(text, "|---|---|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|")?;
        for load in unique(self.samples.iter().map(|sample| sample.load)) {
            let samples: Vec<&Sample> = self.samples.iter().filter(|sample| sample.load == load).collect();
            for name in unique(samples.iter().map(|sample| sample.contender.as_str())) {
                writeln!(text, "{}", detail(load, name, &samples))?;
            }
        }
        writeln!(text)
    }

    /// In the order in which the first round began with them.
    fn contenders(&self) -> Vec<&str> {
        unique(self.samples.iter().map(|sample| sample.contender.as_str()))
    }
}

fn detail(load: Load, name: &str, samples: &[&Sample]) -> String {
    let own: Vec<&Sample> = samples.iter().copied().filter(|sample| sample.contender == name).collect();
    let of = |value: fn(&Sample) -> f64| spread(own.iter().map(|sample| value(sample)));
    let rate = of(|sample| sample.figures.queries_per_second).median;
    let to_direct = ratios(samples, name, DIRECT, |sample| Some(sample.figures.queries_per_second)).median;
    let latency = [0, 1, 2].map(|at| spread(own.iter().map(|sample| sample.figures.latency[at])).median);
    let (mut cost, mut to_haproxy, mut memory) = (String::new(), String::new(), String::new());
    if name != DIRECT {
        let cpu = spread(cpu(samples, name));
        cost = format!("{:.1} [{:.1}]", cpu.median, cpu.least);
        to_haproxy = number(ratios(samples, name, HAPROXY, |sample| sample.proxy_micros).median);
        memory = mebibytes(own.iter().filter_map(|sample| sample.resident).max().unwrap_or(0));
    }
    format!(
        "| {} | {} | {} | {name} | {rate:.0} | {} | {:.2} | {:.2} | {:.2} | {cost} | {to_haproxy} | {:.0} | {memory} |",
        load.workload,
        load.protocol,
        load.connections,
        number(to_direct),
        latency[0],
        latency[1],
        latency[2],
        of(|sample| sample.servers_micros).median,
    )
}

fn cpu<'a>(samples: &'a [&Sample], name: &'a str) -> impl Iterator<Item = f64> + 'a {
    samples.iter().filter(move |sample| sample.contender == name).filter_map(|sample| sample.proxy_micros)
}

/// One contender's value over another's, within each round.
fn ratios(samples: &[&Sample], name: &str, to: &str, value: impl Fn(&Sample) -> Option<f64>) -> Spread {
    let own = samples.iter().filter(|sample| sample.contender == name);
    spread(own.filter_map(|sample| {
        let other = samples.iter().find(|other| other.contender == to && other.round == sample.round)?;
        Some(value(sample)? / value(other)?)
    }))
}

/// The middle and the least of some values; not numbers where there are none.
#[derive(Clone, Copy, Debug)]
struct Spread {
    median: f64,
    least: f64,
}

fn spread(values: impl Iterator<Item = f64>) -> Spread {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let Some(&least) = values.first() else { return Spread { median: f64::NAN, least: f64::NAN } };
    let middle = values.len() / 2;
    let median = if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    };
    Spread { median, least }
}

/// Each value once, in the order of their first appearance.
fn unique<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    values.fold(Vec::new(), |mut seen, value| {
        if !seen.contains(&value) {
            seen.push(value);
        }
        seen
    })
}

fn number(value: f64) -> String {
    if value.is_nan() { String::new() } else { format!("{value:.2}") }
}

fn cell(((clients, kib), number): (&(usize, u64), &usize)) -> String {
    let kib = mebibytes(*kib);
    if clients == number { kib } else { format!("{kib} [{clients}]") }
}

fn mebibytes(kib: u64) -> String {
    format!("{:.1}", kib as f64 / 1024.0)
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Load { workload, protocol, connections, .. } = self.load;
        let (round, rate) = (self.round + 1, self.figures.queries_per_second);
        write!(
            f,
            "{workload} {protocol} {connections:>3} conn., round {round}: {:<12}{rate:>7.0} q/s",
            self.contender
        )?;
        if let Some(micros) = self.proxy_micros {
            write!(f, " {micros:>6.1} µs CPU/q")?;
        }
        write!(f, ", others {:.1}", self.others)
    }
}
