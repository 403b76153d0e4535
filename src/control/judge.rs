//! Observations over time become one snapshot: who is up, who is primary, who may serve.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::failover::plan::WhyNot;
use super::failover::view::{self, Life, View};
use super::health::{Health, Thresholds};
use super::lineage::{self, Head, Lineage, Member, Origin, Top};
use super::observation::{Facts, Observation};
use super::orders::{self, Draining};
use super::standing::{Part, Watched};
use crate::config;
use crate::topology::{Epoch, Exclusion, Role, Server, ServerId, Snapshot, Standing};

/// Remembers what probes saw and judges the whole cluster at once.
#[derive(Debug)]
pub struct Judge {
    configured: Vec<Configured>,
    watched: Vec<Watched>,
    /// Servers that an operator wants to take no new statements.
    draining: Draining,
    thresholds: Thresholds,
    max_lag: Duration,
    /// The primary of the present epoch, up or not.
    established: Option<ServerId>,
    epoch: Epoch,
    trust: Trust,
    /// While the primary changes there is none.
    fence: Option<Fence>,
}

/// Whom the judge takes for the primary where somebody else has made another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Whoever takes writes and is followed.
    Anyone,
    /// Whoever also has everything that the primary was known to have.
    Proven,
}

#[derive(Debug)]
struct Fence {
    from: ServerId,
    /// What each server was when it began. Replicas go on serving: there is nothing newer to be read anywhere.
    before: Vec<(Role, Standing)>,
}

#[derive(Debug)]
struct Configured {
    name: Arc<str>,
    address: Arc<str>,
    weight: u32,
}

/// What the judge holds to be true at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    pub snapshot: Snapshot,
    /// What is wrong without changing a route yet.
    pub problems: Vec<Problem>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The server lives but showed the last probe nothing.
    Blind { server: Arc<str>, error: Arc<str> },
    /// A replica that would take writes from anybody who connects to it directly.
    WritableReplica { server: Arc<str> },
    /// The primary should be replaced, or is being replaced, and something is in the way.
    NoFailover(WhyNot),
    /// It has transactions that the primary lacks, so it takes part in nothing.
    Errant { server: Arc<str>, transactions: String },
    /// What was decided could not be written down, so nothing more is decided.
    JournalFailed(Arc<str>),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Blind { server, error } => {
                write!(f, "{server} turns probes away, so what it last showed is held to: {error}")
            }
            Problem::NoFailover(why) => write!(f, "no failover: {why}"),
            Problem::Errant { server, transactions } => {
                write!(f, "{server} has transactions that the primary lacks, and is left out: {transactions}")
            }
            Problem::JournalFailed(error) => {
                write!(f, "the failover journal cannot be written, so nothing is promoted: {error}")
            }
            Problem::WritableReplica { server } => {
                write!(f, "{server} is a replica with read_only off; nothing stops a write from diverging it")
            }
        }
    }
}

impl Judge {
    pub fn new(cluster: &config::Cluster, max_lag: Duration) -> Self {
        let configured = |server: &config::Server| Configured {
            name: server.name.as_str().into(),
            address: server.address.as_str().into(),
            weight: server.weight,
        };
        Self {
            draining: orders::draining_at_start(cluster),
            configured: cluster.servers.iter().map(configured).collect(),
            watched: cluster.servers.iter().map(|_| Watched::default()).collect(),
            thresholds: Thresholds {
                failures: cluster.control.failures,
                successes: cluster.control.successes,
            },
            max_lag,
            established: None,
            epoch: Epoch::default(),
            trust: Trust::Anyone,
            fence: None,
        }
    }

    /// Believes only in successors that lack nothing.
    pub fn trust_proven(&mut self) {
        self.trust = Trust::Proven;
    }

    /// From here on there is no primary.
    pub fn fence(&mut self, from: ServerId, last: &Snapshot) {
        let before = last.servers.iter().map(|server| (server.role, server.standing.clone())).collect();
        self.fence = Some(Fence { from, before });
    }

    /// That server is the primary of that epoch, whoever looks like it.
    pub fn establish(&mut self, server: ServerId, epoch: Epoch) {
        self.established = Some(server);
        self.epoch = epoch;
        self.fence = None;
    }

    /// What is known before the first probe: nothing.
    pub fn unprobed(&self) -> Snapshot {
        let standing = Standing::Excluded(Exclusion::NotProbedYet);
        let server = |index| self.server(index, Role::Unknown, standing.clone(), None);
        Snapshot { epoch: self.epoch, primary: None, servers: (0..self.watched.len()).map(server).collect() }
    }

    /// Takes in what an operator ordered.
    pub fn set_draining(&mut self, draining: Draining) {
        self.draining = draining;
    }

    /// Takes in what one probe of one server saw that was sent at `now`.
    pub fn observe(&mut self, server: ServerId, observation: Observation, now: Instant) {
        let place = usize::from(server.0);
        let Some(watched) = self.watched.get_mut(place) else { return };
        // What was asked later is known already.
        if watched.asked.is_some_and(|asked| asked > now) {
            return;
        }
        watched.asked = Some(now);
        watched.answered = observation.is_ok();
        let health = std::mem::take(&mut watched.health);
        watched.health = health.after(observation.as_ref().err(), self.thresholds);
        match observation {
            Ok(facts) => {
                let still = stands_still(watched.facts.as_ref(), &facts);
                watched.stalled = still.then(|| watched.stalled.unwrap_or(now));
                watched.facts = Some(facts);
                watched.blind = None;
                watched.answered_at = Some(now);
                self.listen(place, now);
                self.measure(place, now);
            }
            Err(failure) => watched.blind = failure.kind.is_alive().then_some(failure),
        }
    }

    /// Judges the whole cluster; `None` until every server was probed once, so that nobody is called the
    /// primary before the others could object.
    pub fn verdict(&mut self, now: Instant) -> Option<Verdict> {
        if self.watched.iter().any(|watched| watched.health == Health::Unknown) {
            return None;
        }
        let lineage = self.lineage();
        self.excuse(&lineage, now);
        let mut servers: Box<[Server]> =
            (0..self.watched.len()).map(|index| self.judge_server(index, &lineage, now)).collect();
        Self::inherit(&mut servers, &lineage);
        self.hold_still(&mut servers);
        let primary = match lineage.head {
            _ if self.fence.is_some() => None,
            Head::Server(head) if servers[usize::from(head.0)].standing == Standing::Serving => Some(head),
            _ => None,
        };
        if primary.is_some() && primary != self.established {
            self.established = primary;
            self.epoch = Epoch(self.epoch.0 + 1);
        }
        let problems = self.problems(&servers);
        Some(Verdict { snapshot: Snapshot { epoch: self.epoch, primary, servers }, problems })
    }

    /// The cluster for decisions about its primary; `None` until every server was probed once.
    pub fn view(&self, preferences: &[Preference], now: Instant) -> Option<View<'_>> {
        if self.watched.iter().any(|watched| watched.health == Health::Unknown) {
            return None;
        }
        let lineage = self.lineage();
        let members = self.members();
        let member = |index: usize| {
            let watched = &self.watched[index];
            let facts = watched.facts.as_ref();
            let preference = preferences.get(index).copied().unwrap_or_default();
            view::Member {
                id: id(index),
                name: Arc::clone(&self.configured[index].name),
                facts,
                channel: facts.and_then(|facts| lineage::main_channel(&members, facts, index)),
                answered: watched.answered,
                is_down: matches!(watched.health, Health::Down { good: 0, .. }),
                asked: watched.answered_at,
                started: started(watched),
                stalled: watched.stalled,
                source: match lineage.origins[index] {
                    Origin::From(source) => Some(source),
                    _ => None,
                },
                top: match lineage.tops[index] {
                    Top::Server(top) => Some(top),
                    Top::Unseen => None,
                },
                no_promote: preference.no_promote,
                priority: preference.priority,
            }
        };
        Some(View {
            epoch: self.epoch,
            primary: self.established,
            life: self.life(&lineage),
            last_alive: self.established.and_then(|id| self.watched[usize::from(id.0)].answered_at),
            members: (0..self.watched.len()).map(member).collect(),
            now,
        })
    }

    /// Whether the primary lives, by its own word and that of its replicas.
    fn life(&self, lineage: &Lineage) -> Life {
        let Some(primary) = self.established else { return Life::Alive };
        match &self.watched[usize::from(primary.0)].health {
            Health::Up { against: 0 } => return Life::Alive,
            Health::Up { .. } => return Life::Suspected,
            Health::Down { because, .. } if because.kind.is_alive() => return Life::Alive,
            Health::Down { .. } | Health::Unknown => {}
        }
        let members = self.members();
        let follows = |&index: &usize| lineage.origins[index] == Origin::From(primary);
        let witnesses = (0..members.len()).filter(follows).filter(|&index| self.watched[index].answered);
        let witnesses: Vec<usize> = witnesses.collect();
        let hears = |&&index: &&usize| {
            let channel =
                members[index].facts.and_then(|facts| lineage::main_channel(&members, facts, index));
            channel.is_some_and(|channel| self.watched[index].hears(channel))
        };
        let by: Vec<Arc<str>> =
            witnesses.iter().filter(hears).map(|&index| Arc::clone(&self.configured[index].name)).collect();
        match (witnesses.is_empty(), by.is_empty()) {
            (true, _) => Life::NoWitness,
            (false, true) => Life::Dead,
            (false, false) => Life::StillHeard(by),
        }
    }

    fn lineage(&self) -> Lineage {
        let history = |id: ServerId| self.watched[usize::from(id.0)].facts.as_ref()?.executed.as_ref();
        let may_succeed = |id: ServerId| match self.trust {
            _ if Some(id) == self.established => true,
            _ if self.fence.is_some() => false,
            Trust::Anyone => true,
            Trust::Proven => {
                self.established.and_then(|old| Some(history(id)?.contains(history(old)?))).unwrap_or(false)
            }
        };
        lineage::trace(&self.members(), self.established, may_succeed)
    }

    /// Remembers when a replica last heard anything new.
    fn listen(&mut self, index: usize, now: Instant) {
        let members = self.members();
        let channel = members[index].facts.and_then(|facts| lineage::main_channel(&members, facts, index));
        let heard = channel.map(|channel| channel.heard.clone());
        let watched = &mut self.watched[index];
        match (heard, &watched.heard) {
            (Some(heard), Some((before, _))) if heard == *before => {}
            (heard, _) => watched.heard = heard.map(|heard| (heard, now)),
        }
    }

    /// While the primary changes, replicas that served go on serving, and nothing else does.
    fn hold_still(&self, servers: &mut [Server]) {
        let Some(fence) = &self.fence else { return };
        for (server, (role, standing)) in servers.iter_mut().zip(&fence.before) {
            let is_up = self.watched[usize::from(server.id.0)].health.is_up();
            if server.id == fence.from {
                server.role = Role::Primary;
                server.standing = Standing::Excluded(Exclusion::Fenced);
            } else if *role == Role::Replica && *standing == Standing::Serving && is_up {
                server.role = Role::Replica;
                server.standing = Standing::Serving;
            } else if server.standing == Standing::Serving {
                server.standing = Standing::Excluded(Exclusion::Fenced);
            }
        }
    }

    fn members(&self) -> Vec<Member<'_>> {
        self.configured
            .iter()
            .zip(&self.watched)
            .map(|(configured, watched)| Member {
                address: &configured.address,
                facts: watched.facts.as_ref(),
                is_up: watched.health.is_up(),
            })
            .collect()
    }

    /// Remembers the lag of this moment, to count on from when it can no longer be known.
    fn measure(&mut self, index: usize, now: Instant) {
        let members = self.members();
        let channel = members[index].facts.and_then(|facts| lineage::main_channel(&members, facts, index));
        let lag = channel.filter(|channel| channel.replicates()).and_then(|channel| channel.lag);
        if let Some(lag) = lag {
            self.watched[index].measured = Some((now, lag));
        }
    }

    /// Remembers until when a dead primary had nothing to send.
    fn excuse(&mut self, lineage: &Lineage, now: Instant) {
        for index in 0..self.watched.len() {
            if self.part(index, lineage) == (Part::Replica { primary_lives: false }) {
                self.watched[index].excused = Some(now);
            }
        }
    }

    fn judge_server(&self, index: usize, lineage: &Lineage, now: Instant) -> Server {
        let members = self.members();
        let watched = &self.watched[index];
        let channel = watched.facts.as_ref().and_then(|facts| lineage::main_channel(&members, facts, index));
        let part = self.part(index, lineage);
        let draining = self.draining.contains(&id(index));
        let standing = watched.standing(part, channel, draining, self.max_lag, now);
        let role = match part {
            Part::Primary => Role::Primary,
            Part::Replica { .. } => Role::Replica,
            Part::Rival | Part::Closed | Part::Stray => Role::Unknown,
        };
        let lag = match (part, channel) {
            (Part::Replica { primary_lives }, Some(channel)) if watched.health.is_up() => {
                watched.lag(channel, primary_lives, now)
            }
            _ => None,
        };
        self.server(index, role, standing, lag)
    }

    fn part(&self, index: usize, lineage: &Lineage) -> Part {
        let (own, top) = (Top::Server(id(index)), lineage.tops[index]);
        let closed = self.watched[index].facts.as_ref().map(|facts| facts.read_only);
        match &lineage.head {
            Head::Server(head) if own == Top::Server(*head) => Part::Primary,
            Head::Server(head) if top == Top::Server(*head) => {
                // A primary under suspicion may be dead: replicas get the benefit of the doubt until it is settled.
                let primary_lives = self.watched[usize::from(head.0)].health == Health::Up { against: 0 };
                Part::Replica { primary_lives }
            }
            Head::Unseen if top == Top::Unseen => Part::Replica { primary_lives: false },
            // The primary is outside the configuration: these servers are for reads only.
            Head::None if lineage.origins[index] == Origin::Outside => Part::Replica { primary_lives: true },
            Head::None if top == own && closed == Some(true) => Part::Closed,
            Head::Tied(rivals) if rivals.contains(&id(index)) => Part::Rival,
            Head::Server(_) | Head::Unseen if top == own && closed == Some(false) => Part::Rival,
            _ => Part::Stray,
        }
    }

    /// What holds back a replica's source holds back the replica, whose own lag does not show it.
    fn inherit(servers: &mut [Server], lineage: &Lineage) {
        // A chain is at most as long as there are servers.
        for _ in 0..servers.len() {
            for index in 0..servers.len() {
                let Origin::From(source) = lineage.origins[index] else { continue };
                let source = &servers[usize::from(source.0)];
                let held_back = matches!(
                    source.standing,
                    Standing::Excluded(
                        Exclusion::ReplicationStopped(_) | Exclusion::Lagging { .. } | Exclusion::LagUnknown
                    )
                );
                if held_back && source.role == Role::Replica && servers[index].standing == Standing::Serving {
                    servers[index].standing = source.standing.clone();
                }
            }
        }
    }

    fn server(&self, index: usize, role: Role, standing: Standing, lag: Option<Duration>) -> Server {
        let configured = &self.configured[index];
        let facts = self.watched[index].facts.as_ref();
        Server {
            id: id(index),
            name: Arc::clone(&configured.name),
            address: Arc::clone(&configured.address),
            role,
            standing,
            lag,
            weight: configured.weight,
            version: facts.map(|facts| facts.version),
            version_text: facts.map(|facts| Arc::clone(&facts.version_text)).unwrap_or_default(),
            gtid: facts.map(|facts| Arc::clone(&facts.gtid)).unwrap_or_default(),
        }
    }

    fn problems(&self, servers: &[Server]) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (watched, server) in
            self.watched.iter().zip(servers).filter(|(watched, _)| watched.health.is_up())
        {
            if let Some(failure) = &watched.blind {
                let error = Arc::clone(&failure.text);
                problems.push(Problem::Blind { server: Arc::clone(&server.name), error });
            }
            if server.role == Role::Replica && watched.facts.as_ref().is_some_and(|facts| !facts.read_only) {
                problems.push(Problem::WritableReplica { server: Arc::clone(&server.name) });
            }
        }
        problems
    }
}

/// An operator's wish for one server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Preference {
    pub no_promote: bool,
    pub priority: u32,
}

/// From one look to the next, commits wait for acknowledgements and none is over.
fn stands_still(before: Option<&Facts>, now: &Facts) -> bool {
    let waits = |facts: &Facts| {
        facts.semi_sync.source.as_ref().is_some_and(|source| source.enabled && source.waiting > 0)
    };
    before.is_some_and(|before| waits(before) && waits(now) && before.executed == now.executed)
}

fn started(watched: &Watched) -> Option<Instant> {
    watched.answered_at?.checked_sub(watched.facts.as_ref()?.uptime?)
}

fn id(index: usize) -> ServerId {
    // The configuration allows far fewer servers than this type counts.
    ServerId(u16::try_from(index).unwrap_or(u16::MAX))
}
