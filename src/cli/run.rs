//! `pointsman run` and `pointsman playground`: the commands that go on until a signal.

use std::io::Write as _;

use anyhow::Context as _;

use super::Outcome;
use super::args::{PlaygroundArguments, RunArguments};
use crate::config::Config;
use crate::{app, shutdown, telemetry};

pub(super) fn run(arguments: &RunArguments) -> anyhow::Result<Outcome> {
    let config = match Config::load(&arguments.config) {
        Ok(config) => config,
        Err(complaints) => {
            writeln!(std::io::stderr(), "{complaints}")?;
            return Ok(Outcome::Negative);
        }
    };
    telemetry::start(&config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime's threads")?;
    runtime.block_on(async {
        let shutdown = shutdown::on_signals().context("cannot listen for signals")?;
        app::run(config, shutdown).await
    })?;
    Ok(Outcome::Success)
}

pub(super) fn playground(_arguments: &PlaygroundArguments) -> anyhow::Result<Outcome> {
    anyhow::bail!("the playground waits for its room");
}
