//! Composition root: builds every room and hands each what it needs.

use crate::config::Config;
use crate::control::{self, Control};
use crate::shutdown::Shutdown;

/// Runs the proxy until it has drained.
///
/// # Errors
/// Where a port cannot be bound or a file cannot be written.
pub async fn run(config: Config, mut shutdown: Shutdown) -> anyhow::Result<()> {
    let (control, _outlook) = Control::new(&config.cluster, config.routing.max_lag);
    let watching = tokio::spawn(control::run(control, shutdown.clone()));
    shutdown.draining().await;
    watching.abort();
    Ok(())
}
