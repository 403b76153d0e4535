//! What the operator wrote, complete, typed and already valid.

mod check;
mod complaint;
mod document;
mod file;
mod levels;
mod quantity;
mod refer;
mod servers;
mod settings;
#[cfg(test)]
mod tests;
mod wire;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use crate::consistency::Consistency;
pub use complaint::{Complaint, Complaints};
#[allow(unused_imports, reason = "the admin port corrects names as the configuration does")]
pub(crate) use document::nearest;
pub use document::print;
pub use refer::Surroundings;
pub use settings::settings;
pub use wire::Network;

/// The whole configuration of one proxy.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where files that must outlive the process are kept (the generated certificate).
    pub data_dir: PathBuf,
    pub cluster: Cluster,
    pub listen: Listen,
    pub routing: Routing,
    pub failover: Failover,
    pub pool: Pool,
    pub limits: Limits,
    pub admin: Admin,
    pub log: Log,
    /// Users known by the configuration; all others are those of the database.
    pub users: Vec<User>,
}

/// The database servers and the account that watches them.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    pub servers: Vec<Server>,
    pub control: Control,
    /// How backend connections are encrypted.
    pub tls: BackendTls,
    /// How backend connections are compressed, where the server offers it.
    pub compression: Option<CompressionAlgorithm>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// The name shown to people and used in hints; the address where none is given.
    pub name: String,
    /// `host:port`, IPv6 hosts in brackets; or `unix:` and a path.
    pub address: String,
    /// Share of reads relative to the other replicas; 0 takes none.
    pub weight: u32,
    /// Takes no new statements; for maintenance.
    pub draining: bool,
    /// Never made the primary.
    pub no_promote: bool,
    /// Of several that could be made the primary, the one with the highest is.
    pub priority: u32,
    /// Connections begin with a header of the PROXY protocol that says they are the proxy's own.
    pub proxy_protocol: bool,
}

/// The account for health checks and catalog, and how often it is used.
#[derive(Clone, Debug, PartialEq)]
pub struct Control {
    pub user: String,
    pub password: Secret,
    /// Time from one probe of a server to the next.
    pub interval: Duration,
    /// How long one probe may take before it counts as failed.
    pub timeout: Duration,
    /// Consecutive failed probes after which a server is down.
    pub failures: u32,
    /// Consecutive good probes after which a server is up again.
    pub successes: u32,
    /// Time from one reading of routines, views and accounts to the next.
    pub catalog_interval: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub struct BackendTls {
    pub mode: BackendTlsMode,
    /// PEM file of the authority that signed the servers' certificates.
    pub ca: Option<PathBuf>,
    /// PEM files of the client certificate the proxy shows to servers.
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendTlsMode {
    /// Never encrypted.
    Disabled,
    /// Encrypted when the server offers it, certificate not checked.
    Preferred,
    /// Encrypted or refused, certificate not checked.
    Required,
    /// Certificate signed by `ca`; its names are not checked (MySQL's own certificates have none).
    VerifyCa,
    /// Certificate signed by `ca` and naming the host.
    VerifyFull,
}

/// The port applications connect to.
#[derive(Clone, Debug, PartialEq)]
pub struct Listen {
    pub address: SocketAddr,
    /// Clients served at once; the next is told 1040.
    pub max_clients: usize,
    /// How long a client may take to log in.
    pub login_timeout: Duration,
    /// How long a client may be silent outside a statement.
    pub idle_timeout: Duration,
    pub tls: FrontTls,
    /// How long a verified password is trusted before a server is asked again.
    pub auth_cache: Duration,
    /// Of the clients of this port; `routing.consistency` where none is given.
    pub consistency: Option<Consistency>,
    /// A Unix socket to connect to, beside the port.
    pub socket: Option<ListenSocket>,
    /// Load balancers that say who their clients are.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Whether LOAD DATA LOCAL works.
    pub local_infile: bool,
    /// What clients are offered; none compresses unless it asks for it.
    pub compression: Vec<CompressionAlgorithm>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenSocket {
    pub path: PathBuf,
    /// Who may connect, as the file's mode.
    pub mode: u32,
}

/// Who may, or must, begin a connection with a header of the PROXY protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyProtocol {
    pub from: Vec<Network>,
    /// A connection from there without a header is refused.
    pub required: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompressionAlgorithm {
    Zlib,
    Zstd,
}

#[derive(Clone, Debug, PartialEq)]
pub struct FrontTls {
    pub mode: FrontTlsMode,
    /// PEM files; generated under `data_dir` where none are given.
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// PEM file; clients must show a certificate signed by it.
    pub client_ca: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrontTlsMode {
    Disabled,
    Preferred,
    Required,
}

/// How reads are spread.
#[derive(Clone, Debug, PartialEq)]
pub struct Routing {
    pub policy: Policy,
    /// A replica further behind than this takes no reads.
    pub max_lag: Duration,
    pub primary_reads: PrimaryReads,
    /// Whether `/* pointsman: … */` comments are obeyed.
    pub hints: bool,
    /// How long a write waits for a primary before it fails.
    pub primary_wait: Duration,
    pub consistency: Consistency,
    /// How long a replica may be waited for to apply what a read must see.
    pub causal_wait: Duration,
    /// Whether reads before the first write of a transaction may go to a replica, where its isolation allows.
    pub transaction_split: bool,
    /// Users with a level of their own, be they listed here or in the database.
    pub users: Vec<UserLevel>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct UserLevel {
    pub name: String,
    pub consistency: Consistency,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    RoundRobin,
    LeastConnections,
    /// A stable hash of the client's address.
    SourceIp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrimaryReads {
    /// Only when no replica may take the read.
    Fallback,
    /// The primary takes its turn like a replica.
    Always,
    /// A read that no replica may take fails.
    Never,
}

/// Whether and when the primary is replaced.
#[derive(Clone, Debug, PartialEq)]
pub struct Failover {
    pub mode: FailoverMode,
    /// How durable writes must have been for a failover without an operator.
    pub min_class: DurabilityClass,
    /// Whether a new primary takes writes although no replica is left to acknowledge them.
    pub allow_degraded: bool,
    /// What replicas log in to their source with.
    pub replication_user: String,
    pub replication_password: Secret,
    /// Whether replicas encrypt their connection to their source.
    pub replication_tls: bool,
    /// How long open transactions may go on when a switchover begins.
    pub grace: Duration,
    /// How long a switchover waits for its target to catch up.
    pub catch_up: Duration,
    /// Least time between two failovers without an operator.
    pub min_interval: Duration,
    /// Failovers without an operator within half an hour.
    pub max_failovers: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailoverMode {
    /// A dead primary is replaced.
    Automatic,
    /// The primary is replaced when an operator says so.
    Manual,
    /// Whoever was made the primary by others is taken for it.
    Follow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DurabilityClass {
    BestEffort,
    Bounded,
    Lossless,
}

/// Backend connections kept for reuse.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Backend connections to one server, over all users.
    pub max_per_server: usize,
    /// Statements prepared on one server over all connections; keep it under its `max_prepared_stmt_count`.
    pub max_prepared_per_server: usize,
    /// Idle connections kept open per server and user after `idle_timeout`.
    pub min_idle: usize,
    pub idle_timeout: Duration,
    /// A connection older than this is closed when it is next idle.
    pub max_age: Duration,
    /// How long a statement waits for a connection when all are in use.
    pub wait_timeout: Duration,
    /// How long opening and logging in a backend connection may take.
    pub connect_timeout: Duration,
    /// Whether a connection that was given back is handed out again; off only in tests.
    pub reuse: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Largest statement or row a client may send, in bytes.
    pub max_allowed_packet: usize,
    /// A statement longer than this, in bytes, is streamed to the primary and judged by its beginning.
    pub statement_buffer: usize,
    /// Verdicts remembered by digest.
    pub digest_cache: usize,
    /// How long open transactions may go on after a signal to stop.
    pub drain_timeout: Duration,
}

/// The port for people.
#[derive(Clone, Debug, PartialEq)]
pub struct Admin {
    /// `None` switches the port off.
    pub address: Option<SocketAddr>,
    /// Who may log in; the control account where none is given.
    pub users: Vec<User>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct User {
    pub name: String,
    pub password: Secret,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    pub format: LogFormat,
    /// A `tracing` filter: `info`, `warn`, `pointsman=debug`, …
    pub level: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// A password: never shown by `Debug`, wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(zeroize::Zeroizing<String>);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(zeroize::Zeroizing::new(text.into()))
    }

    /// The password itself. Keep the borrow short and never log it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Config {
    /// Reads a configuration file, and what it refers to, from this machine.
    ///
    /// # Errors
    /// Every mistake of the file at once.
    pub fn load(path: &Path) -> Result<Self, Complaints> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| {
            Complaints(vec![Complaint {
                file: name.clone(),
                line: None,
                key: String::new(),
                problem: format!("cannot be read: {error}"),
                mend: "name a configuration file; `pointsman print-config` prints one".to_owned(),
            }])
        })?;
        let surroundings = Surroundings {
            folder: path.parent().unwrap_or(Path::new("")),
            variable: &|name| std::env::var(name).ok(),
            read: &|path| std::fs::read(path),
        };
        Self::parse(&name, &text, &surroundings)
    }

    /// Reads a configuration from its text; `name` is what complaints call it.
    ///
    /// # Errors
    /// Every mistake of the text at once.
    pub fn parse(name: &str, text: &str, surroundings: &Surroundings<'_>) -> Result<Self, Complaints> {
        check::check(name, text, surroundings)
    }
}

impl Routing {
    /// What a user's reads must have seen, unless a session or a statement wants something else.
    pub fn consistency_of(&self, user: &str, listen: &Listen) -> Consistency {
        let own = self.users.iter().find(|level| level.name == user).map(|level| level.consistency);
        own.or(listen.consistency).unwrap_or(self.consistency)
    }
}

impl Default for Config {
    /// The documented defaults; `cluster.servers` and `cluster.control` have none that could run.
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("/var/lib/pointsman"),
            cluster: Cluster {
                servers: Vec::new(),
                control: Control {
                    user: String::new(),
                    password: Secret::new(""),
                    interval: Duration::from_millis(500),
                    timeout: Duration::from_secs(1),
                    failures: 3,
                    successes: 2,
                    catalog_interval: Duration::from_secs(10),
                },
                tls: BackendTls { mode: BackendTlsMode::Preferred, ca: None, certificate: None, key: None },
                compression: None,
            },
            listen: Listen {
                address: SocketAddr::from(([0, 0, 0, 0], 3307)),
                max_clients: 10_000,
                login_timeout: Duration::from_secs(10),
                idle_timeout: Duration::from_secs(8 * 3600),
                tls: FrontTls {
                    mode: FrontTlsMode::Preferred,
                    certificate: None,
                    key: None,
                    client_ca: None,
                },
                auth_cache: Duration::from_secs(300),
                consistency: None,
                socket: None,
                proxy_protocol: None,
                local_infile: true,
                compression: vec![CompressionAlgorithm::Zlib, CompressionAlgorithm::Zstd],
            },
            routing: Routing {
                policy: Policy::RoundRobin,
                max_lag: Duration::from_secs(10),
                primary_reads: PrimaryReads::Fallback,
                hints: true,
                primary_wait: Duration::from_secs(10),
                consistency: Consistency::Session,
                causal_wait: Duration::from_millis(200),
                transaction_split: false,
                users: Vec::new(),
            },
            failover: Failover {
                mode: FailoverMode::Follow,
                min_class: DurabilityClass::Lossless,
                allow_degraded: true,
                replication_user: String::new(),
                replication_password: Secret::new(""),
                replication_tls: false,
                grace: Duration::from_secs(1),
                catch_up: Duration::from_secs(10),
                min_interval: Duration::from_secs(60),
                max_failovers: 2,
            },
            pool: Pool {
                max_per_server: 200,
                max_prepared_per_server: 12_000,
                min_idle: 0,
                idle_timeout: Duration::from_secs(300),
                max_age: Duration::from_secs(3600),
                wait_timeout: Duration::from_secs(10),
                connect_timeout: Duration::from_secs(3),
                reuse: true,
            },
            limits: Limits {
                max_allowed_packet: 1 << 30,
                statement_buffer: 1 << 20,
                digest_cache: 10_000,
                drain_timeout: Duration::from_secs(30),
            },
            admin: Admin { address: Some(SocketAddr::from(([127, 0, 0, 1], 3308))), users: Vec::new() },
            log: Log { format: LogFormat::Text, level: "info".to_owned() },
            users: Vec::new(),
        }
    }
}
