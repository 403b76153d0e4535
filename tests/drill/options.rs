//! What to drill: the command line.

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use pointsman::flavour::Flavour;

use crate::rehearsal::scenario::{self, Scenario};

/// Plays failures on a cluster under load, and says what its clients lost: nothing, or the drill fails.
#[derive(Parser, Debug)]
#[command(name = "make drill")]
pub(crate) struct Options {
    /// Only these scenarios: make drill NAME=primary_crash
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    name: Vec<String>,
    /// The servers' flavour; both in turn where none is named.
    #[arg(long, value_enum, value_delimiter = ',')]
    flavour: Vec<FlavourName>,
    /// Where to play; where not given, the first that this machine has.
    #[arg(long, value_enum)]
    pub(crate) stage: Option<StageName>,
    /// Those that continuous integration plays.
    #[arg(long)]
    ci: bool,
    /// Only say which scenarios there are.
    #[arg(long)]
    pub(crate) list: bool,
    /// Do not begin another scenario after so many seconds; those left out are named.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) limit: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FlavourName {
    Mysql,
    Mariadb,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StageName {
    /// Containers; a daemon must run.
    Docker,
    /// Processes, each in a network namespace of its own; takes root and iproute2.
    Namespaces,
    /// Processes on the loopback: without the scenarios that cut edges.
    Processes,
}

/// What continuous integration plays: one of each sort.
const CI: &[Scenario] = &[
    Scenario::PrimaryCrash,
    Scenario::PrimaryHang,
    Scenario::PrimaryIsolated,
    Scenario::ProxyPrimaryCut,
    Scenario::PrimaryReplicasCut,
    Scenario::ReplicaCrash,
    Scenario::OldPrimaryReturnsErrant,
    Scenario::ProxyCrash,
    Scenario::ConnectionsExhausted,
    Scenario::Switchover,
];

impl Options {
    pub(crate) fn scenarios(&self) -> Result<Vec<Scenario>> {
        if self.ci {
            return Ok(CI.to_vec());
        }
        let named = |name: &String| {
            Scenario::named(name).with_context(|| format!("no scenario is called {name}; --list names all"))
        };
        let all = || scenario::ALL.iter().map(|sheet| sheet.scenario).collect();
        let names: Vec<&String> = self.name.iter().filter(|name| !name.is_empty()).collect();
        let scenarios: Vec<Scenario> =
            if names.is_empty() { all() } else { names.into_iter().map(named).collect::<Result<_>>()? };
        ensure!(!scenarios.is_empty(), "nothing to play");
        Ok(scenarios)
    }

    pub(crate) fn flavours(&self) -> Vec<Flavour> {
        let named = |name: &FlavourName| match name {
            FlavourName::Mysql => Flavour::MySql,
            FlavourName::Mariadb => Flavour::MariaDb,
        };
        if self.flavour.is_empty() {
            vec![Flavour::MySql, Flavour::MariaDb]
        } else {
            self.flavour.iter().map(named).collect()
        }
    }
}
