//! `pointsman run` and `pointsman playground`: the commands that go on until a signal.

use std::io::Write as _;

use anyhow::Context as _;

use super::Outcome;
use super::args::{PlaygroundArguments, RunArguments};
use crate::config::Config;
use crate::{app, playground, shutdown, telemetry};

pub(super) fn run(arguments: &RunArguments) -> anyhow::Result<Outcome> {
    let config = match Config::load(&arguments.config) {
        Ok(config) => config,
        Err(complaints) => {
            writeln!(std::io::stderr(), "{complaints}")?;
            return Ok(Outcome::Negative);
        }
    };
    telemetry::start(&config.log)?;
    runtime()?.block_on(async {
        let shutdown = shutdown::on_signals().context("cannot listen for signals")?;
        app::run(config, shutdown).await
    })?;
    Ok(Outcome::Success)
}

pub(super) fn playground(arguments: &PlaygroundArguments) -> anyhow::Result<Outcome> {
    // Before a minute goes into servers that nobody could reach.
    for port in [arguments.port, arguments.port + 1] {
        std::net::TcpListener::bind(("127.0.0.1", port))
            .with_context(|| format!("cannot listen on 127.0.0.1:{port}; choose another with --port"))?;
    }
    let flavour = arguments.flavour.map(Into::into);
    let mut cluster = playground::Options::new(flavour);
    cluster.replicas = usize::from(arguments.replicas);
    cluster.keep.clone_from(&arguments.keep);
    // With one replica its loss would stop all writes; and what is kept begins with the same primary every time.
    cluster.semi_sync = cluster.replicas >= 2 && cluster.keep.is_none();
    anyhow::ensure!(
        !arguments.chaos || cluster.semi_sync,
        "--chaos takes two replicas: one that dies, and one that is left"
    );
    cluster.relays = arguments.chaos;
    let options = playground::TourOptions { cluster, port: arguments.port, chaos: arguments.chaos };
    let progress = |line: &str| {
        // Nobody reads any more, perhaps; the playground goes on.
        let _ = writeln!(std::io::stdout(), "{line}");
    };
    runtime()?.block_on(playground::run(options, &progress, |config| async move {
        telemetry::start(&config.log)?;
        let shutdown = shutdown::on_signals().context("cannot listen for signals")?;
        let running = app::start(config, shutdown).await?;
        Ok((running.front, running.finished()))
    }))?;
    Ok(Outcome::Success)
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime's threads")
}
