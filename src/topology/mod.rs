//! The window between the two lines: what the control line holds to be true of the cluster.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::flavour::Version;

pub mod catalog;
pub mod events;
mod watch;

pub use watch::{Publisher, Reader, channel};

/// A server's place in the configuration; stable while the process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerId(pub u16);

/// Counts the primaries this proxy has known; moves whenever the primary changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Epoch(pub u64);

/// Immutable; replaced whole by the control line.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    pub epoch: Epoch,
    /// Where writes go; `None` while there is no primary that may take them.
    pub primary: Option<ServerId>,
    /// Indexed by `ServerId`.
    pub servers: Box<[Server]>,
}

impl Snapshot {
    pub fn server(&self, id: ServerId) -> &Server {
        &self.servers[usize::from(id.0)]
    }

    /// The primary's version, or else that of the first server known: how statements are read.
    pub fn version(&self) -> Option<Version> {
        let primary = self.primary.and_then(|id| self.server(id).version);
        primary.or_else(|| self.servers.iter().find_map(|server| server.version))
    }

    /// Why writes have nowhere to go; `None` while there is a primary.
    pub fn no_primary_because(&self) -> Option<NoPrimary> {
        if self.primary.is_some() {
            return None;
        }
        let named = |server: &Server| (Arc::clone(&server.name), server.standing.clone());
        if let Some(server) = self.servers.iter().find(|server| server.role == Role::Primary) {
            let (name, standing) = named(server);
            return Some(NoPrimary::Excluded { name, standing });
        }
        let second = Standing::Excluded(Exclusion::SecondPrimary);
        let rivals: Vec<_> =
            self.servers.iter().filter(|server| server.standing == second).map(named).collect();
        if rivals.len() > 1 {
            return Some(NoPrimary::Several(rivals.into_iter().map(|(name, _)| name).collect()));
        }
        Some(NoPrimary::NoneFound)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    pub id: ServerId,
    pub name: Arc<str>,
    /// `host:port`.
    pub address: Arc<str>,
    pub role: Role,
    /// Whether new statements may be sent there, and why not.
    pub standing: Standing,
    /// Replication delay; `None` where it is unknown or does not apply.
    pub lag: Option<Duration>,
    pub weight: u32,
    pub version: Option<Version>,
    /// The server's own `VERSION()` text.
    pub version_text: Arc<str>,
    /// `gtid_executed` or `gtid_current_pos` at the last probe.
    pub gtid: Arc<str>,
}

/// Why a snapshot has no primary.
#[derive(Clone, Debug, PartialEq)]
pub enum NoPrimary {
    /// It is known, but takes no writes.
    Excluded { name: Arc<str>, standing: Standing },
    /// Several look like one, and none more than the others.
    Several(Vec<Arc<str>>),
    /// None was seen that others replicate from and that takes writes.
    NoneFound,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Replicates from nobody of this cluster and is the source of the others.
    Primary,
    Replica,
    /// Not probed yet, or not part of this replication topology.
    Unknown,
}

/// Whether a server gets new statements.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    Serving,
    Excluded(Exclusion),
}

/// Why a server gets no new statements.
#[derive(Clone, Debug, PartialEq)]
pub enum Exclusion {
    NotProbedYet,
    /// Probes failed as often as the configuration allows; the last error in words.
    Unreachable(Arc<str>),
    /// The control account was refused; the server's own words.
    ControlRefused(Arc<str>),
    /// The replication threads do not run; which and why.
    ReplicationStopped(Arc<str>),
    Lagging {
        lag: Duration,
        limit: Duration,
    },
    /// Delay cannot be told, so it is taken to be too large.
    LagUnknown,
    Draining,
    /// Replicates from a server outside the configuration, or from nobody.
    NotInTopology,
    /// More than one server looks like a primary, and this is not the one that is.
    SecondPrimary,
    /// It is the source of the others, but its `read_only` is on.
    ReadOnly,
    /// Its `offline_mode` is on: it would turn applications away.
    Offline,
    /// It was the primary, and another is being made, or it is being made so again.
    Fenced,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Primary => "primary",
            Role::Replica => "replica",
            Role::Unknown => "unknown",
        })
    }
}

impl fmt::Display for NoPrimary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoPrimary::Excluded { name, standing } => write!(f, "{name}: {standing}"),
            NoPrimary::Several(names) => {
                write!(f, "more than one server looks like a primary: {}", names.join(", "))
            }
            NoPrimary::NoneFound => f.write_str("no primary is known"),
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Standing::Serving => f.write_str("serving"),
            Standing::Excluded(why) => why.fmt(f),
        }
    }
}

impl fmt::Display for Exclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exclusion::NotProbedYet => f.write_str("not probed yet"),
            Exclusion::Unreachable(error) => write!(f, "unreachable: {error}"),
            Exclusion::ControlRefused(error) => write!(f, "control account refused: {error}"),
            Exclusion::ReplicationStopped(error) => write!(f, "replication stopped: {error}"),
            Exclusion::Lagging { lag, limit } => {
                write!(f, "lagging: {:.1} s behind, limit {:.1} s", lag.as_secs_f64(), limit.as_secs_f64())
            }
            Exclusion::LagUnknown => f.write_str("lag unknown"),
            Exclusion::Draining => f.write_str("draining"),
            Exclusion::NotInTopology => f.write_str("does not replicate from the primary"),
            Exclusion::SecondPrimary => f.write_str("more than one server looks like a primary"),
            Exclusion::ReadOnly => f.write_str("read_only is on, so it takes no writes"),
            Exclusion::Offline => f.write_str("offline_mode is on"),
            Exclusion::Fenced => f.write_str("closed while the primary changes"),
        }
    }
}
