//! What to measure: the command line.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Parser, ValueEnum};
use pointsman::flavour::Flavour;

/// Measures what a proxy costs, on real servers.
///
/// Starts a primary and two replicas, then sends the same load straight to the primary, through HAProxy, through
/// MySQL Router where it is installed, and through Pointsman, in turn, round after round. Prints a table and writes it
/// to bench-results/.
#[derive(Parser, Clone, Debug)]
#[command(name = "cargo bench --bench cluster --")]
pub(crate) struct Options {
    /// The servers' flavour; both in turn where both are named.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [FlavourName::Mysql])]
    pub(crate) flavour: Vec<FlavourName>,
    /// What to send.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Workload::ALL)]
    pub(crate) workload: Vec<Workload>,
    /// How to send it.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Protocol::ALL)]
    pub(crate) protocol: Vec<Protocol>,
    /// From how many connections at once.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64, 256])]
    pub(crate) connections: Vec<u32>,
    /// How often each is measured; the contenders take turns within a round.
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: u32,
    /// The length of each measurement, after a second that does not count.
    #[arg(long, default_value_t = 3)]
    pub(crate) seconds: u32,
    /// Some minutes only: point selects and autocommit reads, as text, from 16 connections, and 1000 idle clients.
    #[arg(long)]
    pub(crate) quick: bool,
    /// With how many idle clients memory is measured.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000])]
    pub(crate) idle: Vec<usize>,
    /// Leave out the measurement of idle clients.
    #[arg(long)]
    pub(crate) no_idle: bool,
    /// Measure idle clients only.
    #[arg(long, conflicts_with = "no_idle")]
    pub(crate) no_load: bool,
    /// Leave out contenders, by name: direct, haproxy-replicas, router. (HAProxy is the measure of the others.)
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) without: Vec<String>,
    /// Another Pointsman in the same rounds, to compare two builds.
    #[arg(long, value_name = "NAME=PROGRAM")]
    pub(crate) also: Vec<Also>,
    /// Pointsman a second time, with its connections to the servers encrypted, as they are by default.
    #[arg(long)]
    pub(crate) tls: bool,
    /// Wait until the machine's load of the last minute is below this.
    #[arg(long, value_name = "LOAD", default_value_t = 3.0)]
    pub(crate) quiet: f64,
    /// But not longer than this.
    #[arg(long, value_name = "SECONDS", default_value_t = 180)]
    pub(crate) quiet_wait: u64,
    /// Write the result to BENCHMARKS.md too.
    #[arg(long)]
    pub(crate) record: bool,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A build of Pointsman to compare with.
#[derive(Clone, Debug)]
pub(crate) struct Also {
    pub(crate) name: String,
    pub(crate) program: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FlavourName {
    Mysql,
    Mariadb,
}

/// A script of sysbench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// One row by its key.
    #[value(name = "point_select")]
    PointSelect,
    /// Fourteen selects, each a transaction of its own.
    #[value(name = "read_only")]
    ReadOnly,
    /// Fourteen selects and four writes between BEGIN and COMMIT.
    #[value(name = "read_write")]
    ReadWrite,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    Text,
    Prepared,
}

impl Options {
    /// The options with `--quick` put in words.
    pub(crate) fn settled(mut self) -> Self {
        if self.quick {
            self.workload = vec![Workload::PointSelect, Workload::ReadOnly];
            self.protocol = vec![Protocol::Text];
            self.connections = vec![16];
            self.idle = vec![1_000];
        }
        self
    }

    pub(crate) fn flavours(&self) -> impl Iterator<Item = Flavour> {
        self.flavour.iter().map(|name| match name {
            FlavourName::Mysql => Flavour::MySql,
            FlavourName::Mariadb => Flavour::MariaDb,
        })
    }

    pub(crate) fn wants(&self, contender: &str) -> bool {
        !self.without.iter().any(|name| name == contender)
    }
}

impl FromStr for Also {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, program) = text.split_once('=').ok_or("NAME=PROGRAM is wanted")?;
        Ok(Also { name: name.to_owned(), program: program.into() })
    }
}

impl Workload {
    pub(crate) const ALL: [Workload; 3] = [Workload::PointSelect, Workload::ReadOnly, Workload::ReadWrite];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Workload::PointSelect => "point_select",
            Workload::ReadOnly => "read_only",
            Workload::ReadWrite => "read_write",
        }
    }
}

impl Protocol {
    pub(crate) const ALL: [Protocol; 2] = [Protocol::Text, Protocol::Prepared];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Protocol::Text => "text",
            Protocol::Prepared => "prepared",
        }
    }
}

impl std::fmt::Display for FlavourName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            FlavourName::Mysql => "mysql",
            FlavourName::Mariadb => "mariadb",
        })
    }
}

impl std::fmt::Display for Workload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
