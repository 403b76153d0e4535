//! The control line: probe, judge, publish. It watches the cluster and keeps the published topology true.

mod catalog;
pub mod changes;
mod door;
pub mod health;
pub mod judge;
pub mod lineage;
pub mod observation;
pub mod orders;
mod probe;
pub mod semi_sync;
pub mod standing;

pub use catalog::read_once as read_catalog_once;

use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use self::door::Door;
use self::judge::{Judge, Verdict};
use self::observation::Observation;
use self::orders::{Draining, Orders};
use self::probe::Probe;
use crate::config;
use crate::shutdown::Shutdown;
use crate::topology::catalog::{CatalogPublisher, CatalogReader};
use crate::topology::events::{Event, EventKind, Events};
use crate::topology::{self, ServerId};

/// The control line before it runs; the only holder of the topology's `Publisher`.
pub struct Control {
    doors: Vec<Door>,
    settings: config::Control,
    judge: Judge,
    publisher: topology::Publisher,
    /// For the catalog's own loop, which must know where the primary is.
    reader: topology::Reader,
    catalog: CatalogPublisher,
    events: Events,
    draining: watch::Receiver<Draining>,
}

/// What everybody else sees of the control line.
#[derive(Clone)]
pub struct Outlook {
    pub topology: topology::Reader,
    pub catalog: CatalogReader,
    pub events: Events,
    pub orders: Orders,
}

impl Control {
    /// Prepares to watch a cluster; nothing is connected to before `run`.
    pub fn new(cluster: &config::Cluster, max_lag: Duration) -> (Self, Outlook) {
        let judge = Judge::new(cluster, max_lag);
        let (publisher, topology) = topology::channel(judge.unprobed());
        let (catalog, catalog_reader) = topology::catalog::channel();
        let events = Events::default();
        let (orders, draining) = Orders::new(cluster);
        let outlook =
            Outlook { topology: topology.clone(), catalog: catalog_reader, events: events.clone(), orders };
        let control = Self {
            doors: Door::all(cluster),
            settings: cluster.control.clone(),
            judge,
            publisher,
            reader: topology,
            catalog,
            events,
            draining,
        };
        (control, outlook)
    }
}

/// Watches the cluster and keeps the published topology true, until everything is closed. It goes on while
/// the house drains, because transactions that finish need it.
pub async fn run(control: Control, mut shutdown: Shutdown) {
    let Control { doors, settings, mut judge, publisher, reader, catalog, events, mut draining } = control;
    let mut tasks = JoinSet::new();
    let mut seen = start_probes(&mut tasks, &doors, &settings);
    tasks.spawn(catalog::run(doors, settings.catalog_interval, reader, catalog, events.clone()));
    let mut published =
        Published { last: Verdict { snapshot: judge.unprobed(), problems: Vec::new() }, publisher, events };
    loop {
        let news = tokio::select! {
            () = shutdown.closed() => return,
            Some((server, observation)) = seen.recv() => News::Seen(server, observation),
            Ok(()) = draining.changed() => News::Ordered(draining.borrow_and_update().clone()),
        };
        let now = Instant::now();
        match news {
            News::Seen(server, observation) => judge.observe(server, observation, now),
            News::Ordered(draining) => judge.set_draining(draining),
        }
        if let Some(verdict) = judge.verdict(now) {
            published.replace(verdict);
        }
    }
}

/// What the judge must hear of.
enum News {
    Seen(ServerId, Observation),
    Ordered(Draining),
}

/// One task for each server, so that one that hangs holds up nobody else. They end with the set.
fn start_probes(
    tasks: &mut JoinSet<()>,
    doors: &[Door],
    settings: &config::Control,
) -> mpsc::Receiver<(ServerId, Observation)> {
    let (sender, seen) = mpsc::channel(doors.len().max(1));
    for (id, door) in (0..).map(ServerId).zip(doors) {
        let probe = Probe::new(door.clone(), settings.timeout);
        tasks.spawn(probe.run(id, settings.interval, sender.clone()));
    }
    seen
}

/// The published truth, and how a change of it is told.
struct Published {
    last: Verdict,
    publisher: topology::Publisher,
    events: Events,
}

impl Published {
    fn replace(&mut self, verdict: Verdict) {
        for (kind, text) in changes::between(&self.last, &verdict) {
            tell(&self.events, kind, text);
        }
        if self.last.snapshot != verdict.snapshot {
            self.publisher.publish(verdict.snapshot.clone());
        }
        self.last = verdict;
    }
}

/// One line for the operator, once, in the log and on the admin port.
fn tell(events: &Events, kind: EventKind, text: String) {
    if kind.is_warning() {
        tracing::warn!(%kind, "{text}");
    } else {
        tracing::info!(%kind, "{text}");
    }
    events.record(Event { at: SystemTime::now(), kind, text });
}
