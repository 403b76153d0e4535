//! What to measure: the command line.

use clap::{Parser, ValueEnum};
use pointsman::flavour::Flavour;

/// Measures how long writes wait while the primary changes, on real servers.
///
/// Starts a primary and two replicas whose commits wait for a replica, and clients that insert row after row through
/// Pointsman. Then the primary hands over, is killed or is stopped, again and again. Prints the distribution, and
/// whether any row is missing that a client was told is there.
#[derive(Parser, Clone, Debug)]
#[command(name = "cargo bench --bench failover --")]
pub(crate) struct Options {
    /// The servers' flavour; one after the other where several are named.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [FlavourName::Mysql, FlavourName::Mariadb])]
    pub(crate) flavour: Vec<FlavourName>,
    /// What happens to the primary.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Event::ALL)]
    pub(crate) event: Vec<Event>,
    /// How often, of each.
    #[arg(long, default_value_t = 30)]
    pub(crate) runs: usize,
    /// Clients that write without a pause.
    #[arg(long, default_value_t = 64)]
    pub(crate) writers: usize,
    /// How long each waits between two writes, in milliseconds.
    #[arg(long, default_value_t = 50)]
    pub(crate) think: u64,
    /// Print what the control line says.
    #[arg(long)]
    pub(crate) verbose: bool,
    /// Write the result to BENCHMARKS.md too.
    #[arg(long)]
    pub(crate) record: bool,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FlavourName {
    Mysql,
    Mariadb,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Event {
    /// An operator's SWITCHOVER.
    Switchover,
    /// kill -9
    Kill,
    /// SIGSTOP, and SIGCONT when another has taken over.
    Freeze,
}

impl Event {
    pub(crate) const ALL: [Event; 3] = [Event::Switchover, Event::Kill, Event::Freeze];

    pub(crate) fn told(self) -> &'static str {
        match self {
            Event::Switchover => "switchover",
            Event::Kill => "kill -9",
            Event::Freeze => "SIGSTOP",
        }
    }
}

impl From<FlavourName> for Flavour {
    fn from(name: FlavourName) -> Self {
        match name {
            FlavourName::Mysql => Flavour::MySql,
            FlavourName::Mariadb => Flavour::MariaDb,
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

impl std::fmt::Display for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Event::Switchover => "switchover",
            Event::Kill => "kill",
            Event::Freeze => "freeze",
        })
    }
}
