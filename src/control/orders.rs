//! What an operator may ask of the control line.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;

use crate::config;
use crate::topology::ServerId;

/// Servers that take no new statements because somebody wants it so.
pub type Draining = BTreeSet<ServerId>;

/// The operator's end; clones give orders to the same control line.
#[derive(Clone, Debug)]
pub struct Orders {
    draining: Arc<watch::Sender<Draining>>,
}

impl Orders {
    /// Begins with what the configuration says.
    pub(super) fn new(cluster: &config::Cluster) -> (Self, watch::Receiver<Draining>) {
        let (sender, receiver) = watch::channel(draining_at_start(cluster));
        (Self { draining: Arc::new(sender) }, receiver)
    }

    /// Lets a server take no new statements, within moments. Whether that is news.
    pub fn drain(&self, server: ServerId) -> bool {
        self.draining.send_if_modified(|draining| draining.insert(server))
    }

    /// Takes the order, or the configuration's word, back. Whether that is news.
    pub fn undrain(&self, server: ServerId) -> bool {
        self.draining.send_if_modified(|draining| draining.remove(&server))
    }
}

/// The servers that are drained by configuration.
pub(super) fn draining_at_start(cluster: &config::Cluster) -> Draining {
    let servers = (0..).map(ServerId).zip(&cluster.servers);
    servers.filter(|(_, server)| server.draining).map(|(id, _)| id).collect()
}
