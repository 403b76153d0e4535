//! The proxy at one moment, as plain data: what every table is made of.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::backend::Gauge;
use crate::control::failover::lead::Shown;
use crate::net::PeerAddress;
use crate::route::Because;
use crate::serve::Activity;
use crate::sql::{Access, PinCause, PinSet, Statement};
use crate::topology::events::Event;
use crate::topology::{Role, ServerId, Snapshot};

pub struct View {
    pub now: Instant,
    pub uptime: Duration,
    pub snapshot: Arc<Snapshot>,
    /// Indexed by `ServerId`.
    pub pools: Vec<PoolView>,
    pub sessions: Vec<SessionView>,
    /// In the order of `PinCause::ALL`.
    pub pins: Vec<PinView>,
    pub digests: Vec<DigestView>,
    /// Oldest first.
    pub events: Vec<Event>,
    /// Changes of primary, and how durable writes are.
    pub failover: Shown,
    /// Of the front: name, value, what it counts.
    pub counters: Vec<(&'static str, u64, &'static str)>,
    pub settings: Vec<(String, Option<String>)>,
}

pub struct PoolView {
    pub gauge: Gauge,
    pub counters: Vec<(&'static str, u64)>,
}

pub struct SessionView {
    pub id: u32,
    pub user: Arc<str>,
    pub peer: PeerAddress,
    /// What the client says it is.
    pub program: Option<Arc<str>>,
    pub schema: Option<Arc<str>>,
    pub activity: Activity,
    /// How long it has been doing that.
    pub since: Duration,
    pub statements: u64,
    /// The server and its thread that work for it or that it holds.
    pub backend: Option<(ServerId, u32)>,
    pub pins: PinSet,
    /// How long anything has tied it to the connection.
    pub pinned_for: Option<Duration>,
    pub in_transaction: bool,
    /// Of the last route.
    pub because: Option<Because>,
    pub statement: Option<Arc<Statement>>,
}

/// What one cause did since start.
pub struct PinView {
    pub cause: PinCause,
    /// Tied by it now.
    pub sessions: u64,
    pub set: u64,
    pub total: Duration,
    pub longest: Duration,
}

pub struct DigestView {
    pub digest: Arc<str>,
    /// Held to be read-only when last judged.
    pub is_read: bool,
    /// What the judges said last; `None` for the entry that digests beyond the limit share.
    pub statement: Option<Arc<Statement>>,
    pub by_server: Vec<u64>,
    /// Most frequent first.
    pub reasons: Vec<(Because, u64)>,
    pub errors: u64,
    pub rows: u64,
    pub total: Duration,
    /// Upper bounds, to within a factor of 1.5.
    pub p50: Duration,
    pub p95: Duration,
    pub p99: Duration,
}

impl View {
    pub fn server_name(&self, id: ServerId) -> &str {
        self.snapshot.servers.get(usize::from(id.0)).map_or("?", |server| &server.name)
    }

    pub fn role(&self, id: ServerId) -> Role {
        self.snapshot.servers.get(usize::from(id.0)).map_or(Role::Unknown, |server| server.role)
    }
}

impl DigestView {
    pub fn count(&self) -> u64 {
        self.by_server.iter().sum()
    }
}

/// A reason in words: where it is only "a write" or "pinned", with what makes it so.
pub(super) fn reason(because: Because, statement: Option<&Statement>, pins: PinSet) -> String {
    match (because, statement.map(|statement| &statement.access)) {
        (Because::Write, Some(Access::Write(why))) => why.to_string(),
        (Because::Pinned, _) if !pins.is_empty() => format!("pinned: {}", pins_in_words(pins)),
        _ => because.to_string(),
    }
}

pub(super) fn pins_in_words(pins: PinSet) -> String {
    pins.iter().map(|cause| cause.to_string()).collect::<Vec<_>>().join(", ")
}
