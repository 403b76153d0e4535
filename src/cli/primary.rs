//! `pointsman switchover` and `pointsman failover`: orders to a running proxy, by its admin port.

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;

use super::Outcome;
use super::args::PrimaryArguments;
use super::ask::ask;
use crate::config::Config;

pub(super) fn switchover(arguments: &PrimaryArguments) -> anyhow::Result<Outcome> {
    order("SWITCHOVER", arguments)
}

pub(super) fn failover(arguments: &PrimaryArguments) -> anyhow::Result<Outcome> {
    order("FAILOVER", arguments)
}

fn order(what: &str, arguments: &PrimaryArguments) -> anyhow::Result<Outcome> {
    let mut command = what.to_owned();
    if let Some(to) = &arguments.to {
        command.push_str(&format!(" TO '{}'", to.replace('\\', "\\\\").replace('\'', "''")));
    }
    if arguments.dry_run {
        command.push_str(" DRY RUN");
    }
    tell(&arguments.config, &command)
}

/// What the proxy says is the answer, so it goes to standard output; why it refuses, to standard error.
fn tell(file: &Path, command: &str) -> anyhow::Result<Outcome> {
    let config = match Config::load(file) {
        Ok(config) => config,
        Err(complaints) => {
            writeln!(std::io::stderr(), "{complaints}")?;
            return Ok(Outcome::Negative);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let told = runtime.block_on(ask(&config, command)).context("the running proxy")?;
    match told {
        Ok(said) => {
            writeln!(std::io::stdout(), "{said}")?;
            Ok(Outcome::Success)
        }
        Err(why) => {
            writeln!(std::io::stderr(), "pointsman: {why}")?;
            Ok(Outcome::Negative)
        }
    }
}
