//! Servers that replicate, acknowledge, crash, hang and are cut off, as real ones do, in memory.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use pointsman::control::failover::step::What;
use pointsman::control::observation::{
    Channel, Facts, Failure, FailureKind, Heard, Observation, Receiver, ThreadError,
};
use pointsman::control::semi_sync::{Durability, SemiSync, SourceSide};
use pointsman::flavour::{Flavour, Version};
use pointsman::gtid::History;

use super::chance::Chance;

/// A transaction: who committed it, and its number.
pub(super) type Txn = (usize, u64);

#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) alive: bool,
    pub(super) frozen: bool,
    /// It takes no new connections.
    pub(super) full: bool,
    pub(super) read_only: bool,
    /// In the order in which they were committed or applied.
    pub(super) log: Vec<Txn>,
    /// Received and not yet applied.
    pub(super) relay: Vec<Txn>,
    pub(super) source: Option<usize>,
    pub(super) receives: bool,
    pub(super) applies: bool,
    /// Its applier runs and gets nowhere: somebody holds a lock.
    pub(super) held: bool,
    /// Commits wait for a replica.
    pub(super) waits: bool,
    pub(super) acknowledges: bool,
    /// What it starts with: of the first server, that it takes writes.
    boots_writable: bool,
    /// Commits that wait, oldest first.
    pub(super) pending: Vec<Txn>,
    started: Instant,
    heartbeats: u64,
}

pub(super) struct World {
    pub(super) flavour: Flavour,
    pub(super) servers: Vec<Server>,
    /// From the controller to a server.
    pub(super) cut: Vec<bool>,
    /// From a replica to its source.
    pub(super) cut_between: Vec<Vec<bool>>,
    pub(super) now: Instant,
    next: u64,
    /// Written past the proxy.
    pub(super) errant: BTreeSet<Txn>,
}

impl World {
    pub(super) fn new(flavour: Flavour, count: usize) -> Self {
        let now = Instant::now() + Duration::from_secs(100_000);
        let server = |index: usize| Server {
            alive: true,
            frozen: false,
            full: false,
            read_only: index > 0,
            log: vec![(0, 1)],
            relay: Vec::new(),
            source: (index > 0).then_some(0),
            receives: true,
            applies: true,
            held: false,
            waits: index == 0,
            acknowledges: index > 0,
            boots_writable: index == 0,
            pending: Vec::new(),
            started: now - Duration::from_secs(1000),
            heartbeats: 0,
        };
        Self {
            flavour,
            servers: (0..count).map(server).collect(),
            cut: vec![false; count],
            cut_between: vec![vec![false; count]; count],
            now,
            next: 2,
            errant: BTreeSet::new(),
        }
    }

    pub(super) fn answers(&self, index: usize) -> bool {
        self.servers[index].alive && !self.servers[index].frozen && !self.cut[index]
    }

    fn runs(&self, index: usize) -> bool {
        self.servers[index].alive && !self.servers[index].frozen
    }

    fn linked(&self, replica: usize, source: usize) -> bool {
        self.runs(replica) && self.runs(source) && !self.cut_between[replica][source]
    }

    /// A client's write arrives. It waits, or is over at once; what is over is returned.
    pub(super) fn write(&mut self, index: usize) -> Option<Txn> {
        if !self.runs(index) || self.servers[index].read_only {
            return None;
        }
        let txn = (index, self.next);
        self.next += 1;
        let server = &mut self.servers[index];
        server.log.push(txn);
        if server.waits {
            server.pending.push(txn);
            return None;
        }
        Some(txn)
    }

    /// Somebody writes past the proxy.
    pub(super) fn write_errant(&mut self, index: usize) {
        if self.runs(index) && !self.servers[index].read_only {
            let txn = (index, self.next);
            self.next += 1;
            self.servers[index].log.push(txn);
            self.errant.insert(txn);
        }
    }

    /// Time passes. Returns the commits that were acknowledged, by server.
    pub(super) fn tick(&mut self, step: Duration, chance: &mut Chance) -> Vec<Txn> {
        self.now += step;
        for index in 0..self.servers.len() {
            if self.runs(index) {
                self.receive(index, chance);
                self.apply(index, chance);
            }
        }
        let mut acknowledged = Vec::new();
        for index in 0..self.servers.len() {
            if !self.runs(index) {
                continue;
            }
            let pending = std::mem::take(&mut self.servers[index].pending);
            for txn in pending {
                let has = |replica: &usize| {
                    let server = &self.servers[*replica];
                    let is_there = server.log.contains(&txn) || server.relay.contains(&txn);
                    // An acknowledgement needs the connection that the transaction came by.
                    server.source == Some(index)
                        && server.acknowledges
                        && server.receives
                        && self.linked(*replica, index)
                        && is_there
                };
                if !self.servers[index].waits || (0..self.servers.len()).any(|replica| has(&replica)) {
                    acknowledged.push(txn);
                } else {
                    self.servers[index].pending.push(txn);
                }
            }
        }
        acknowledged
    }

    fn receive(&mut self, index: usize, chance: &mut Chance) {
        let Some(source) = self.servers[index].source.filter(|_| self.servers[index].receives) else {
            return;
        };
        if !self.linked(index, source) {
            return;
        }
        self.servers[index].heartbeats += 1;
        let has = |txn: &&Txn| {
            let server = &self.servers[index];
            server.log.iter().rev().chain(&server.relay).any(|have| have == *txn)
        };
        let missing: Vec<Txn> = self.servers[source].log.iter().filter(|txn| !has(txn)).copied().collect();
        let some = if chance.one_in(3) { chance.below(missing.len() + 1) } else { missing.len() };
        self.servers[index].relay.extend(&missing[..some]);
    }

    fn apply(&mut self, index: usize, chance: &mut Chance) {
        let server = &mut self.servers[index];
        if !server.applies || server.held {
            return;
        }
        let len = server.relay.len();
        let some = if chance.one_in(3) { chance.below(len + 1) } else { len };
        let applied: Vec<Txn> = server.relay.drain(..some).collect();
        server.log.extend(applied);
    }

    pub(super) fn crash(&mut self, index: usize) {
        let server = &mut self.servers[index];
        server.alive = false;
        server.frozen = false;
        // Whoever waited was never told.
        server.pending.clear();
    }

    pub(super) fn start(&mut self, index: usize) {
        let (now, flavour) = (self.now, self.flavour);
        let server = &mut self.servers[index];
        if server.alive {
            return;
        }
        server.alive = true;
        server.started = now;
        server.read_only = !server.boots_writable;
        server.waits = server.boots_writable;
        server.acknowledges = !server.boots_writable;
        (server.receives, server.applies) = (server.source.is_some(), true);
        if flavour == Flavour::MariaDb {
            // Its replication starts with an empty relay log.
            server.relay.clear();
        }
    }

    pub(super) fn probe(&self, index: usize) -> Observation {
        let server = &self.servers[index];
        let fail = |kind, text: &str| Err(Failure { kind, text: text.into() });
        if self.cut[index] || (server.alive && server.frozen) {
            return fail(FailureKind::Timeout, "no answer");
        }
        if !server.alive {
            return fail(FailureKind::Refused, "connection refused");
        }
        if server.full {
            return fail(FailureKind::TooManyConnections, "too many connections");
        }
        Ok(self.facts(index))
    }

    pub(super) fn facts(&self, index: usize) -> Facts {
        let server = &self.servers[index];
        let version = match self.flavour {
            Flavour::MySql => "9.7.0",
            Flavour::MariaDb => "10.11.14-MariaDB",
        };
        let executed = self.history(server.log.iter());
        Facts {
            version: Version::parse(version),
            version_text: version.into(),
            server_id: id(index),
            server_uuid: (self.flavour == Flavour::MySql).then(|| uuid(index).into()),
            read_only: server.read_only,
            super_read_only: server.read_only,
            offline_mode: false,
            gtid: executed.to_string().into(),
            executed: Some(executed),
            purged: History::default(),
            durability: Durability { logs_updates: true, syncs_log: true, flushes_commits: true },
            semi_sync: SemiSync {
                source: Some(self.source_side(index)),
                acknowledges: Some(server.acknowledges),
                modern_names: self.flavour == Flavour::MySql,
            },
            uptime: Some(self.now - server.started),
            channels: server.source.iter().map(|source| self.channel(index, *source)).collect(),
        }
    }

    fn source_side(&self, index: usize) -> SourceSide {
        let follows = |replica: &usize| {
            let server = &self.servers[*replica];
            server.source == Some(index)
                && server.receives
                && server.acknowledges
                && self.linked(*replica, index)
        };
        let clients = (0..self.servers.len()).filter(follows).count();
        SourceSide {
            enabled: self.servers[index].waits,
            active: self.servers[index].waits,
            before_visible: true,
            timeout: Duration::from_secs(86_400),
            waits_for_none: true,
            wanted: 1,
            clients: u32::try_from(clients).expect("few"),
            waiting: u32::try_from(self.servers[index].pending.len()).expect("few"),
        }
    }

    fn channel(&self, index: usize, source: usize) -> Channel {
        let server = &self.servers[index];
        let linked = self.linked(index, source);
        let receiver = match (server.receives, linked) {
            (false, _) => Receiver::Stopped,
            // One that hears nothing more keeps its connection for a while.
            (true, false) if self.servers[source].alive => Receiver::Running,
            (true, false) => Receiver::Connecting,
            (true, true) => Receiver::Running,
        };
        let received: Vec<&Txn> = server.log.iter().chain(&server.relay).collect();
        Channel {
            name: String::new(),
            source_host: format!("s{source}"),
            source_port: 3306,
            source_uuid: (self.flavour == Flavour::MySql).then(|| uuid(source).into()),
            source_server_id: Some(id(source)),
            receiver,
            applier_runs: server.applies,
            lag: (receiver == Receiver::Running && server.applies).then_some(Duration::ZERO),
            caught_up: server.relay.is_empty(),
            receiver_error: (receiver == Receiver::Connecting)
                .then(|| ThreadError { code: 2003, text: "cannot connect".to_owned() }),
            applier_error: None,
            received: self.history(received.into_iter()),
            heard: Heard { heartbeats: server.heartbeats, ..Heard::default() },
            heartbeat_period: Some(Duration::from_secs(1)),
            delay: Duration::ZERO,
        }
    }

    /// As the servers would show it.
    pub(super) fn history<'t>(&self, txns: impl Iterator<Item = &'t Txn>) -> History {
        let mut txns: Vec<&Txn> = txns.collect();
        txns.sort_unstable();
        let mut text = String::new();
        for (at, (server, number)) in txns.iter().enumerate() {
            match self.flavour {
                Flavour::MySql if at > 0 && txns[at - 1].0 == *server => {
                    let _ = write!(text, ":{number}");
                }
                Flavour::MySql => {
                    let _ = write!(text, ",{}:{number}", uuid(*server));
                }
                // A state shows the last of each server.
                Flavour::MariaDb if txns.get(at + 1).is_some_and(|next| next.0 == *server) => {}
                Flavour::MariaDb => {
                    let _ = write!(text, ",0-{}-{number}", id(*server));
                }
            }
        }
        History::parse(self.flavour, &text).expect("our own form")
    }

    /// Does what a step does.
    pub(super) fn perform(&mut self, index: usize, what: &What) -> Result<(), &'static str> {
        if *what == What::Canary {
            let txn = (index, self.next);
            self.next += 1;
            self.servers[index].log.push(txn);
        }
        let server = &mut self.servers[index];
        match what {
            What::Canary => {}
            What::StopReceiver => server.receives = false,
            // Time passes elsewhere.
            What::Await { .. } => {}
            What::StartApplier => server.applies = true,
            What::StartReplication => (server.receives, server.applies) = (true, true),
            What::Detach { semi_sync } => {
                // What was received and not applied is gone.
                server.relay.clear();
                server.source = None;
                server.acknowledges = false;
                server.waits = semi_sync.is_some();
            }
            What::StopWaiting => server.waits = false,
            What::StartWaiting { .. } => server.waits = true,
            What::OpenWrites => server.read_only = false,
            What::Follow { source, acknowledges } => {
                let source = usize::from(source.0);
                if source == index {
                    return Err("a server cannot follow itself");
                }
                server.relay.clear();
                server.source = Some(source);
                server.acknowledges = *acknowledges;
                server.waits = false;
                (server.receives, server.applies) = (true, true);
            }
            What::CloseWrites => {
                if !server.pending.is_empty() {
                    return Err("waits for commits that wait for acknowledgements");
                }
                server.read_only = true;
            }
            What::Quarantine => {
                server.pending.clear();
                server.waits = false;
                server.read_only = true;
            }
        }
        Ok(())
    }
}

fn id(index: usize) -> u32 {
    u32::try_from(index).expect("few servers") + 1
}

fn uuid(index: usize) -> String {
    format!("00000000-0000-0000-0000-00000000000{index}")
}
