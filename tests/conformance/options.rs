//! What to run: the command line.

use anyhow::{Result, bail};
use clap::{Parser, ValueEnum};
use pointsman::flavour::Flavour;

use crate::suite::{self, Suite};

/// Runs drivers' own test suites directly and through the proxy, and reports what differs.
#[derive(Parser, Debug)]
#[command(name = "make conformance OPTIONS=")]
pub(crate) struct Options {
    /// Only these suites.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    pub(crate) suite: Vec<String>,
    /// Only those that are short enough for continuous integration.
    #[arg(long)]
    pub(crate) quick: bool,
    /// The servers' flavour; both in turn where none is named.
    #[arg(long, value_enum, value_delimiter = ',')]
    flavour: Vec<FlavourName>,
    /// Put what comes of it into CONFORMANCE.md; what is not run stays there as it is.
    #[arg(long)]
    pub(crate) record: bool,
    /// How long a suite may run once, in seconds; what runs then is ended.
    #[arg(long, default_value_t = 900)]
    pub(crate) limit: u64,
    /// Start servers and proxies, say where they are, and wait.
    #[arg(long)]
    pub(crate) serve: bool,
    /// The names of all suites.
    #[arg(long)]
    pub(crate) list: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FlavourName {
    Mysql,
    Mariadb,
}

impl Options {
    pub(crate) fn flavours(&self) -> Vec<Flavour> {
        if self.flavour.is_empty() {
            return vec![Flavour::MariaDb, Flavour::MySql];
        }
        let flavours = self.flavour.iter().map(|name| match name {
            FlavourName::Mysql => Flavour::MySql,
            FlavourName::Mariadb => Flavour::MariaDb,
        });
        flavours.collect()
    }

    pub(crate) fn suites(&self) -> Result<Vec<&'static Suite>> {
        for name in &self.suite {
            if !suite::ALL.iter().any(|suite| suite.name == name) {
                let names: Vec<&str> = suite::ALL.iter().map(|suite| suite.name).collect();
                bail!("no suite is called {name}; there are {}", names.join(", "));
            }
        }
        let wanted = |suite: &&Suite| {
            (self.suite.is_empty() || self.suite.iter().any(|name| name == suite.name))
                && (suite.quick || !self.quick)
        };
        Ok(suite::ALL.iter().filter(wanted).collect())
    }
}
