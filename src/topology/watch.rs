//! One pointer, one publisher, many readers.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::Snapshot;

/// Opens the window with what is known before the first probe.
pub fn channel(first: Snapshot) -> (Publisher, Reader) {
    let current = Arc::new(ArcSwap::from_pointee(first));
    let (changed, observed) = watch::channel(());
    (Publisher { current: Arc::clone(&current), changed }, Reader { current, changed: observed })
}

/// The only writer. Not `Clone`.
pub struct Publisher {
    current: Arc<ArcSwap<Snapshot>>,
    changed: watch::Sender<()>,
}

impl Publisher {
    pub fn publish(&mut self, snapshot: Snapshot) {
        self.current.store(Arc::new(snapshot));
        self.changed.send_replace(());
    }
}

#[derive(Clone)]
pub struct Reader {
    current: Arc<ArcSwap<Snapshot>>,
    changed: watch::Receiver<()>,
}

impl Reader {
    /// The snapshot of this moment; wait-free.
    pub fn load(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// Returns at the first publication after the last call of this method on this reader.
    /// Waits for ever once the publisher is gone.
    pub async fn changed(&mut self) {
        if self.changed.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
