//! Composition root: builds every room and hands each what it needs.

use crate::config::Config;
use crate::shutdown::Shutdown;

/// Runs the proxy until it has drained.
///
/// # Errors
/// Where a port cannot be bound or a file cannot be written.
pub async fn run(_config: Config, mut shutdown: Shutdown) -> anyhow::Result<()> {
    shutdown.draining().await;
    Ok(())
}
