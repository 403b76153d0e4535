//! The commands and their arguments; the doc comments are the `--help`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::flavour::Flavour;

const EXIT_CODES: &str = "\
Exit codes:
  0  done, or the answer is yes; after a signal: every transaction finished or was given up in time
  1  the configuration is wrong, or the answer is no; every mistake is printed
  2  the command line is wrong
  3  something outside stood in the way: a port in use, a file that cannot be written";

/// A MySQL and MariaDB proxy: writes go to the primary, reads to the replicas, and it says why.
///
/// Applications connect to one port. Roles are discovered from replication, users are those of the
/// database. Try `pointsman playground` first: it needs no configuration.
#[derive(Parser)]
#[command(name = "pointsman", version, after_help = EXIT_CODES)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Subcommand)]
pub(super) enum Command {
    /// Run the proxy.
    ///
    /// SIGINT or SIGTERM drains: no new clients, transactions finish within limits.drain_timeout, idle
    /// sessions are told 1053. A second signal stops at once.
    Run(RunArguments),
    /// Check a configuration file and print every mistake with its line.
    ///
    /// Passwords and certificates it refers to must be readable from here. Nothing is connected to.
    Check(CheckArguments),
    /// Let a replica take the primary's place: asks the running proxy.
    ///
    /// As SWITCHOVER TO on the admin port. Writes wait meanwhile; the answer comes when it is over. Exit code 1 says
    /// that it was refused or that the old primary goes on.
    Switchover(PrimaryArguments),
    /// Let a replica take over from a dead primary: asks the running proxy.
    ///
    /// As FAILOVER on the admin port, for failover.mode = "manual" and where automation has stopped by its own limits.
    Failover(PrimaryArguments),
    /// Start a primary, replicas and the proxy before them in a temporary folder.
    ///
    /// Uses the MySQL or MariaDB server binaries of this machine. Everything is removed at the end, unless
    /// --keep is given.
    Playground(PlaygroundArguments),
    /// Say where a statement would go, and why.
    ///
    /// Needs no running proxy. Without a statement it reads standard input.
    Explain(ExplainArguments),
    /// Print every configuration key with its default and what it does.
    PrintConfig,
}

#[derive(Args)]
pub(super) struct RunArguments {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE")]
    pub(super) config: PathBuf,
}

#[derive(Args)]
pub(super) struct PrimaryArguments {
    /// The configuration file of the running proxy: it says where the admin port is and how to log in.
    #[arg(long, short, value_name = "FILE")]
    pub(super) config: PathBuf,
    /// The server that is to be the primary; the best of those that can be where none is named.
    #[arg(long, value_name = "NAME")]
    pub(super) to: Option<String>,
    /// Only say what would be done.
    #[arg(long)]
    pub(super) dry_run: bool,
}

#[derive(Args)]
pub(super) struct CheckArguments {
    /// The configuration file.
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
}

#[derive(Args, Clone, Debug)]
pub struct PlaygroundArguments {
    /// The family of servers; where not given, the one that is installed.
    #[arg(long, value_enum)]
    pub flavour: Option<FlavourName>,
    /// How many replicas.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(0..=16))]
    pub replicas: u16,
    /// The port applications connect to; the admin port is the next one.
    #[arg(long, value_name = "P", default_value_t = 3307, value_parser = clap::value_parser!(u16).range(1..65535))]
    pub port: u16,
    /// Keep data and logs in this folder, and use what is there.
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// Kill, stop and cut off the servers by typing: a client writes meanwhile, and says how long it had to wait.
    #[arg(long, conflicts_with = "keep")]
    pub chaos: bool,
}

#[derive(Args, Clone, Debug)]
pub struct ExplainArguments {
    /// Read routines and views from this server, so that functions and views are judged as the proxy would:
    /// mysql://user:password@host:port
    #[arg(long, value_name = "DSN")]
    pub catalog_from: Option<String>,
    /// Whose SQL it is; with --catalog-from that server's by default, else mysql.
    #[arg(long, value_enum)]
    pub flavour: Option<FlavourName>,
    /// Take each line of standard input as one statement.
    #[arg(long, conflicts_with = "sql")]
    pub lines: bool,
    /// Print one JSON object a statement: target (primary, replica or proxy), pins and because.
    #[arg(long)]
    pub json: bool,
    /// The statement.
    #[arg(value_name = "SQL")]
    pub sql: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FlavourName {
    Mysql,
    Mariadb,
}

impl From<FlavourName> for Flavour {
    fn from(name: FlavourName) -> Self {
        match name {
            FlavourName::Mysql => Flavour::MySql,
            FlavourName::Mariadb => Flavour::MariaDb,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Arguments::command().debug_assert();
    }
}
