//! What all sessions share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arc_swap::ArcSwap;

use super::acknowledged::Acknowledged;
use super::digests::Digests;
use super::login::FrontLogin;
use super::pins::PinCounters;
use super::positions::Positions;
use super::registry::Registry;
use super::state::dialect_of;
use super::statements::Statements;
use crate::backend::{Pool, Settings};
use crate::config;
use crate::flavour::Version;
use crate::sql;
use crate::topology;

/// What most clients name at login.
const UTF8MB4_GENERAL_CI: u16 = 45;

pub struct House {
    pub topology: topology::Reader,
    /// Indexed by `ServerId`.
    pub pools: Vec<Arc<Pool>>,
    /// How clients get in.
    pub login: FrontLogin,
    pub judge: sql::Judge,
    /// What the judges know of functions and views.
    pub catalog: Arc<ArcSwap<sql::Catalog>>,
    /// Where a session's defaults are found.
    pub dictionary: topology::catalog::CatalogReader,
    pub listen: config::Listen,
    pub routing: config::Routing,
    pub limits: config::Limits,
    pub registry: Registry,
    pub digests: Digests,
    pub statements: Statements,
    /// What each server is known to have applied.
    pub positions: Positions,
    /// What `global` reads must have seen.
    pub acknowledged: Acknowledged,
    pub counters: Counters,
    pub pins: PinCounters,
    /// Successive reads take successive turns.
    pub turns: AtomicU64,
}

/// Everything that happened on the front since start.
#[derive(Debug, Default)]
pub struct Counters {
    pub accepted: AtomicU64,
    pub refused_full: AtomicU64,
    pub logins_failed: AtomicU64,
    pub statements: AtomicU64,
    /// Reads run again because their server was lost before it answered.
    pub repeated: AtomicU64,
    /// Statements a replica refused as writes and the primary then ran.
    pub corrected: AtomicU64,
    /// Queries killed because their client had gone.
    pub abandoned: AtomicU64,
    /// Statements that waited for a primary.
    pub awaited_primary: AtomicU64,
    /// Reads on a replica that was known to have what they had to see.
    pub causal_known: AtomicU64,
    /// Reads on a replica that was waited for, and had it in time.
    pub causal_awaited: AtomicU64,
    /// How long replicas were waited for, in vain or not.
    pub causal_wait_micros: AtomicU64,
    /// Waits in vain: the reads went to the primary.
    pub causal_timed_out: AtomicU64,
    /// Reads on the primary because no replica was worth waiting for.
    pub causal_at_once: AtomicU64,
}

impl Counters {
    /// Every counter: name, value, what it counts.
    pub fn all(&self) -> Vec<(&'static str, u64, &'static str)> {
        // Taken apart, so that a counter cannot be added and not shown.
        let Self {
            accepted,
            refused_full,
            logins_failed,
            statements,
            repeated,
            corrected,
            abandoned,
            awaited_primary,
            causal_known,
            causal_awaited,
            causal_wait_micros,
            causal_timed_out,
            causal_at_once,
        } = self;
        let named = [
            ("accepted", accepted, "Connections accepted."),
            ("refused_full", refused_full, "Connections turned away because there were too many."),
            ("logins_failed", logins_failed, "Logins that failed."),
            ("statements", statements, "Statements received."),
            ("repeated", repeated, "Reads run again because their server was lost before it answered."),
            ("corrected", corrected, "Statements a replica refused as writes and the primary then ran."),
            ("abandoned", abandoned, "Statements whose client went away while a server worked on them."),
            ("awaited_primary", awaited_primary, "Waits for a primary."),
            ("causal_known", causal_known, "Reads on a replica known to have the writes they had to see."),
            (
                "causal_awaited",
                causal_awaited,
                "Reads on a replica that was waited for, and had them in time.",
            ),
            ("causal_wait_micros", causal_wait_micros, "How long replicas were waited for, in vain or not."),
            ("causal_timed_out", causal_timed_out, "Waits in vain: the read went to the primary."),
            ("causal_at_once", causal_at_once, "Reads on the primary: no replica was worth waiting for."),
        ];
        named.into_iter().map(|(name, counter, counts)| (name, counter.load(Relaxed), counts)).collect()
    }
}

impl House {
    pub fn pool(&self, server: topology::ServerId) -> &Arc<Pool> {
        &self.pools[usize::from(server.0)]
    }

    pub fn next_turn(&self) -> u64 {
        self.turns.fetch_add(1, Relaxed)
    }

    /// What a session starts with; `None` while no server could be asked.
    pub fn defaults(&self) -> Option<Arc<topology::catalog::Defaults>> {
        self.dictionary.load().defaults.clone()
    }

    /// How the servers read the statements of a session that has set nothing.
    pub fn dialect(&self) -> sql::Dialect {
        let version = self.topology.load().version().unwrap_or(Version::parse(""));
        dialect_of(&Settings::default(), self.defaults().as_deref(), version, UTF8MB4_GENERAL_CI)
    }

    /// Connections in use by server, for `least_connections`.
    pub fn in_use(&self) -> Vec<u32> {
        self.pools.iter().map(|pool| pool.in_use()).collect()
    }
}
