//! One signal, observed everywhere: running, then draining, then closed. It never goes back.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Running,
    /// No new clients; transactions finish.
    Draining,
    /// Everything stops at once.
    Closed,
}

/// Moves the phase on. `Clone`, because both a signal and the end of the drain may close.
#[derive(Clone)]
pub struct Trigger(watch::Sender<Phase>);

/// Observes the phase; clone one for every task.
#[derive(Clone)]
pub struct Shutdown(watch::Receiver<Phase>);

pub fn channel() -> (Trigger, Shutdown) {
    let (sender, receiver) = watch::channel(Phase::Running);
    (Trigger(sender), Shutdown(receiver))
}

/// The first SIGINT or SIGTERM drains, the second closes.
///
/// # Errors
/// Where the process may not install signal handlers.
pub fn on_signals() -> io::Result<Shutdown> {
    let (trigger, shutdown) = channel();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        for phase in [Phase::Draining, Phase::Closed] {
            let name = tokio::select! {
                _ = interrupt.recv() => "SIGINT",
                _ = terminate.recv() => "SIGTERM",
            };
            match phase {
                Phase::Closed => tracing::warn!("second signal ({name}): stopping at once"),
                _ => tracing::info!("{name}: draining; a second signal stops at once"),
            }
            trigger.advance(phase);
        }
    });
    Ok(shutdown)
}

impl Trigger {
    pub fn drain(&self) {
        self.advance(Phase::Draining);
    }

    pub fn close(&self) {
        self.advance(Phase::Closed);
    }

    fn advance(&self, phase: Phase) {
        self.0.send_if_modified(|current| {
            let forward = phase > *current;
            *current = phase.max(*current);
            forward
        });
    }
}

impl Shutdown {
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Returns once draining has begun.
    pub async fn draining(&mut self) {
        self.reached(Phase::Draining).await;
    }

    /// Returns once everything must stop.
    pub async fn closed(&mut self) {
        self.reached(Phase::Closed).await;
    }

    async fn reached(&mut self, phase: Phase) {
        if self.0.wait_for(|current| *current >= phase).await.is_err() {
            // Nobody is left who could ask for an end.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Phase, channel};

    #[tokio::test]
    async fn phases_only_go_forward_and_wake_those_who_wait() {
        let (trigger, mut shutdown) = channel();
        assert_eq!(shutdown.phase(), Phase::Running);
        let mut other = shutdown.clone();
        let waiting = tokio::spawn(async move { other.closed().await });
        trigger.drain();
        shutdown.draining().await;
        trigger.close();
        trigger.drain();
        waiting.await.expect("woken");
        assert_eq!(shutdown.phase(), Phase::Closed);
    }
}
