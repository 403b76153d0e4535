//! One statement, one session, one snapshot: one server.

use std::fmt;

use super::session::{SessionState, Transaction};
use crate::config::{Policy, PrimaryReads, Routing};
use crate::sql::{Access, Hint, Judged, Kind, WriteBecause};
use crate::topology::{Role, ServerId, Snapshot, Standing};

/// Where the statement goes, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    pub to: Destination,
    pub because: Because,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// The connection the session holds.
    Held,
    Server(ServerId),
    /// There is no primary now; worth waiting for.
    NoPrimary,
    /// No server may take this read, and configuration forbids the primary.
    NoReplica,
    /// A hint names a server that does not exist or takes nothing.
    NoSuchServer,
}

/// Why it goes there. The words are those of the log, of EXPLAIN ROUTE and of the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Because {
    /// A read, in turn among the replicas.
    Replica,
    /// Not proven read-only; the statement says why.
    Write,
    /// Within a transaction.
    Transaction,
    /// Within, or beginning, a READ ONLY transaction.
    ReadOnlyTransaction,
    /// autocommit is off: a read opens a transaction.
    AutocommitOff,
    Serializable,
    /// The session is tied to its connection; the pins say why.
    Pinned,
    HintPrimary,
    HintReplica,
    HintServer,
    /// It reads what the statements before it left behind.
    FollowsStatement,
    /// A read that no replica may take now.
    NoReplicaServing,
    /// The primary's turn to read, by configuration.
    PrimaryTurn,
    /// No replica had what the session wrote in time.
    OwnWrite,
    /// No replica had all that was acknowledged in time.
    GlobalWrite,
    /// It reads a variable of the proxy's.
    ProxyVariable,
    /// Before the first write of a transaction whose isolation allows it.
    TransactionSplit,
    /// A read that ties the session to its connection: from there it must be able to write.
    Pins,
    /// A replica lacked a table, a column, a grant or the like; the primary knows whether it exists.
    Lacking,
}

impl Because {
    pub const ALL: [Because; 19] = [
        Because::Replica,
        Because::Write,
        Because::Transaction,
        Because::ReadOnlyTransaction,
        Because::AutocommitOff,
        Because::Serializable,
        Because::Pinned,
        Because::HintPrimary,
        Because::HintReplica,
        Because::HintServer,
        Because::FollowsStatement,
        Because::NoReplicaServing,
        Because::PrimaryTurn,
        Because::OwnWrite,
        Because::GlobalWrite,
        Because::ProxyVariable,
        Because::TransactionSplit,
        Because::Pins,
        Because::Lacking,
    ];
}

/// What choosing among replicas depends on besides their standing.
#[derive(Clone, Copy, Debug)]
pub struct Spread<'a> {
    /// Counts routed reads; successive values take successive turns.
    pub ticket: u64,
    /// A stable hash of the client's address.
    pub client: u64,
    /// Connections in use per server, for `least_connections`.
    pub in_use: &'a [u32],
    /// Servers that failed this very statement.
    pub avoid: &'a [ServerId],
}

/// Decides for one statement.
pub fn route(
    judged: &Judged,
    session: &SessionState,
    snapshot: &Snapshot,
    policy: &Routing,
    spread: Spread<'_>,
) -> Route {
    if let Some(because) = held(session) {
        return Route { to: Destination::Held, because };
    }
    let statement = &*judged.statement;
    if let Kind::Begin { read_only: true } = statement.kind {
        return read(snapshot, policy, spread, Because::ReadOnlyTransaction);
    }
    if statement.access != Access::Read {
        return primary(snapshot, Because::Write);
    }
    let hint = judged.hint.as_ref().filter(|_| policy.hints);
    if let Some(Hint::Primary) = hint {
        return primary(snapshot, Because::HintPrimary);
    }
    if !statement.pins.is_empty() {
        return primary(snapshot, Because::Pins);
    }
    if statement.needs.newest {
        return primary(snapshot, Because::Lacking);
    }
    if statement.needs.proxy_variable {
        return primary(snapshot, Because::ProxyVariable);
    }
    if !session.autocommit {
        return primary(snapshot, Because::AutocommitOff);
    }
    if session.serializable {
        return primary(snapshot, Because::Serializable);
    }
    match hint {
        Some(Hint::Server(name)) => named(snapshot, name),
        Some(Hint::Replica) => read(snapshot, policy, spread, Because::HintReplica),
        _ => read(snapshot, policy, spread, Because::Replica),
    }
}

fn held(session: &SessionState) -> Option<Because> {
    match session.transaction {
        Transaction::ReadWrite => Some(Because::Transaction),
        Transaction::ReadOnly => Some(Because::ReadOnlyTransaction),
        Transaction::None if !session.pins.is_empty() => Some(Because::Pinned),
        Transaction::None => None,
    }
}

fn primary(snapshot: &Snapshot, because: Because) -> Route {
    let to = snapshot.primary.map_or(Destination::NoPrimary, Destination::Server);
    Route { to, because }
}

fn named(snapshot: &Snapshot, name: &str) -> Route {
    let server = snapshot.servers.iter().find(|server| &*server.name == name);
    let to = match server {
        Some(server) if server.standing == Standing::Serving => Destination::Server(server.id),
        _ => Destination::NoSuchServer,
    };
    Route { to, because: Because::HintServer }
}

fn read(snapshot: &Snapshot, policy: &Routing, spread: Spread<'_>, because: Because) -> Route {
    let takes_turn = |id: ServerId| {
        let server = snapshot.server(id);
        let role_fits = match server.role {
            Role::Replica => true,
            Role::Primary => policy.primary_reads == PrimaryReads::Always && snapshot.primary == Some(id),
            Role::Unknown => false,
        };
        let serves = server.standing == Standing::Serving && server.weight > 0;
        (role_fits && serves && !spread.avoid.contains(&id)).then_some(server.weight)
    };
    let turns = || snapshot.servers.iter().filter_map(|s| takes_turn(s.id).map(|weight| (s.id, weight)));
    let chosen = match policy.policy {
        Policy::RoundRobin => in_turn(turns, spread.ticket),
        Policy::SourceIp => stable(turns, spread.client),
        Policy::LeastConnections => least_used(turns, spread),
    };
    match chosen {
        Some(id) if snapshot.primary == Some(id) => {
            Route { to: Destination::Server(id), because: Because::PrimaryTurn }
        }
        Some(id) => Route { to: Destination::Server(id), because },
        None if policy.primary_reads == PrimaryReads::Never => {
            Route { to: Destination::NoReplica, because: Because::NoReplicaServing }
        }
        None => primary(snapshot, Because::NoReplicaServing),
    }
}

/// Each server gets `weight` turns of every round; equal weights alternate.
fn in_turn<I>(turns: impl Fn() -> I, ticket: u64) -> Option<ServerId>
where
    I: Iterator<Item = (ServerId, u32)>,
{
    let (divisor, sum) = turns().fold((0, 0), |(divisor, sum), (_, weight)| {
        (greatest_common_divisor(divisor, weight), sum + u64::from(weight))
    });
    let mut turn = ticket.checked_rem(sum.checked_div(divisor.into())?)?;
    for (id, weight) in turns() {
        let weight = u64::from(weight / divisor);
        if turn < weight {
            return Some(id);
        }
        turn -= weight;
    }
    None
}

/// Rendezvous hashing: when a server leaves, only its own clients move.
fn stable<I>(turns: impl Fn() -> I, client: u64) -> Option<ServerId>
where
    I: Iterator<Item = (ServerId, u32)>,
{
    let score = |(id, weight): (ServerId, u32)| {
        let draw = mix(client ^ mix(u64::from(id.0) + 1));
        // Weighted rendezvous: -weight / ln(draw in 0..1); larger wins.
        let unit = ((draw >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        (-f64::from(weight) / unit.ln(), id)
    };
    turns().map(score).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, id)| id)
}

/// Fewest connections in use per weight; ties take turns.
fn least_used<I>(turns: impl Fn() -> I, spread: Spread<'_>) -> Option<ServerId>
where
    I: Iterator<Item = (ServerId, u32)>,
{
    let load = |(id, weight): (ServerId, u32)| {
        let used = spread.in_use.get(usize::from(id.0)).copied().unwrap_or(0);
        u64::from(used) * 1_000 / u64::from(weight)
    };
    let least = turns().map(load).min()?;
    in_turn(|| turns().filter(|turn| load(*turn) == least).map(|(id, _)| (id, 1)), spread.ticket)
}

fn greatest_common_divisor(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// The finaliser of SplitMix64: every input bit reaches every output bit.
fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

impl Route {
    /// The reason in words, with the statement's own where the route's is only "a write".
    pub fn explain(&self, judged: &Judged, session: &SessionState) -> String {
        match (&self.because, &judged.statement.access) {
            (Because::Write, Access::Write(because)) => because.to_string(),
            (Because::Write, Access::Read) => WriteBecause::Unknown.to_string(),
            (Because::Pinned, _) => {
                let causes: Vec<String> = session.pins.iter().map(|cause| cause.to_string()).collect();
                format!("pinned: {}", causes.join(", "))
            }
            (because, _) => because.to_string(),
        }
    }
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Because::Replica => "read-only",
            Because::Write => "not proven read-only",
            Because::Transaction => "in a transaction",
            Because::ReadOnlyTransaction => "in a read-only transaction",
            Because::AutocommitOff => "autocommit is off",
            Because::Serializable => "isolation level is SERIALIZABLE",
            Because::Pinned => "pinned",
            Because::HintPrimary => "hint: primary",
            Because::HintReplica => "hint: replica",
            Because::HintServer => "hint: server",
            Because::FollowsStatement => "reads what the session left behind",
            Because::NoReplicaServing => "no replica may take reads now",
            Because::PrimaryTurn => "the primary takes reads in turn",
            Because::OwnWrite => "no replica has the session's own write yet",
            Because::GlobalWrite => "no replica has all acknowledged writes yet",
            Because::ProxyVariable => "reads a variable of the proxy",
            Because::TransactionSplit => "before the first write of a transaction",
            Because::Pins => "pins the session",
            Because::Lacking => "a replica lacks what it names",
        })
    }
}
