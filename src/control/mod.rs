//! The control line: probe, judge, publish. It watches the cluster and keeps the published topology true.

mod catalog;
pub mod changes;
mod door;
pub mod failover;
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
use self::failover::act::{Account, Hands};
use self::failover::lead::{Desk, Equipment, Lead, LeadNews};
use self::judge::{Judge, Preference, Problem, Verdict};
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
    preferences: Vec<Preference>,
    settings: config::Control,
    judge: Judge,
    publisher: topology::Publisher,
    /// For the catalog's own loop, which must know where the primary is.
    reader: topology::Reader,
    catalog: CatalogPublisher,
    events: Events,
    draining: watch::Receiver<Draining>,
    lead: Option<Lead>,
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
            preferences: cluster
                .servers
                .iter()
                .map(|server| Preference { no_promote: server.no_promote, priority: server.priority })
                .collect(),
            settings: cluster.control.clone(),
            judge,
            publisher,
            reader: topology,
            catalog,
            events,
            draining,
            lead: None,
        };
        (control, outlook)
    }

    /// Lets the control line change the primary, and not only watch it.
    #[must_use]
    pub fn equip(mut self, equipment: Equipment, failover: &config::Failover) -> (Self, Desk) {
        let account = Account {
            user: failover.replication_user.clone(),
            password: failover.replication_password.clone(),
            tls: failover.replication_tls,
        };
        let hands = Hands::new(&self.doors, self.settings.timeout, account);
        let (lead, desk) = Lead::new(equipment, hands, self.preferences.clone());
        lead.resume(&mut self.judge);
        self.lead = Some(lead);
        (self, desk)
    }
}

/// Watches the cluster and keeps the published topology true, until everything is closed. It goes on while
/// the house drains, because transactions that finish need it.
pub async fn run(control: Control, mut shutdown: Shutdown) {
    let Control {
        doors,
        settings,
        mut judge,
        publisher,
        reader,
        catalog,
        events,
        mut draining,
        mut lead,
        ..
    } = control;
    let mut tasks = JoinSet::new();
    let mut seen = start_probes(&mut tasks, &doors, &settings);
    tasks.spawn(catalog::run(doors, settings.catalog_interval, reader, catalog, events.clone()));
    let mut published =
        Published { last: Verdict { snapshot: judge.unprobed(), problems: Vec::new() }, publisher, events };
    loop {
        let news = tokio::select! {
            () = shutdown.closed() => return,
            Some((server, asked, observation)) = seen.recv() => News::Seen(server, asked, observation),
            Ok(()) = draining.changed() => News::Ordered(draining.borrow_and_update().clone()),
            news = led(&mut lead) => News::Led(news),
        };
        match news {
            News::Seen(server, asked, observation) => judge.observe(server, observation, asked),
            News::Ordered(draining) => judge.set_draining(draining),
            News::Led(news) => {
                if let Some(lead) = &mut lead {
                    lead.hear(news, &mut judge).await;
                }
            }
        }
        let problems = lead.as_ref().map_or_else(Vec::new, |lead| lead.problems());
        published.judge(&mut judge, problems);
        if let Some(lead) = &mut lead {
            lead.reopen(&published);
            lead.advance(&mut judge, &mut published).await;
        }
    }
}

/// What the decider hears of; nothing, ever, where there is none.
async fn led(lead: &mut Option<Lead>) -> LeadNews {
    match lead {
        Some(lead) => lead.news().await,
        None => std::future::pending().await,
    }
}

/// What the judge must hear of.
enum News {
    Seen(ServerId, Instant, Observation),
    Ordered(Draining),
    Led(LeadNews),
}

/// One task for each server, so that one that hangs holds up nobody else. They end with the set.
fn start_probes(
    tasks: &mut JoinSet<()>,
    doors: &[Door],
    settings: &config::Control,
) -> mpsc::Receiver<(ServerId, Instant, Observation)> {
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
    fn snapshot(&self) -> &topology::Snapshot {
        &self.last.snapshot
    }

    /// Publishes what the judge holds to be true now.
    fn judge(&mut self, judge: &mut Judge, problems: Vec<Problem>) {
        if let Some(mut verdict) = judge.verdict(Instant::now()) {
            verdict.problems.extend(problems);
            self.replace(verdict);
        }
    }

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
