//! Composition root: builds every room and hands each what it needs.

mod accounts;
pub(crate) mod catalog;
mod failover;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use tokio::task::JoinHandle;

use crate::admin::{self, Desk};
use crate::backend::{BackendTlsSetup, Pool, SessionSetup, Target};
use crate::config::{CompressionAlgorithm, Config, ListenSocket};
use crate::control::{self, Control, Outlook};
use crate::serve::accounts::CredentialCache;
use crate::serve::login::{FrontLogin, Servers, listed};
use crate::serve::tls::{FrontTlsSetup, load_rsa_key};
use crate::serve::{
    self, Acknowledged, Counters, Digests, House, PinCounters, Positions, Registry, Statements,
};
use crate::shutdown::Shutdown;
use crate::sql;
use crate::topology::{self, Exclusion, Role, Snapshot, Standing};
use crate::wire::{Compression, capability};

/// How long clients are kept waiting at start for the first look at the servers.
const FIRST_LOOK: Duration = Duration::from_secs(5);

/// How hard zstd tries towards servers: its own default.
const ZSTD_LEVEL: u8 = 3;

/// Digests whose statistics are kept.
const DIGEST_STATS_MAX: usize = 10_000;

/// A proxy that serves.
pub struct Running {
    /// Where clients connect.
    pub front: SocketAddr,
    /// Where people connect; `None` where the port is switched off.
    pub admin: Option<SocketAddr>,
    pub house: Arc<House>,
    pub outlook: Outlook,
    /// Changes of primary; `None` where the configuration only follows.
    pub lead: Option<control::failover::lead::Desk>,
    finished: JoinHandle<()>,
}

impl Running {
    /// Returns when the proxy has drained.
    pub async fn finished(self) -> anyhow::Result<()> {
        self.finished.await.context("the front stopped by an error in the program")
    }
}

/// Runs the proxy until it has drained.
///
/// # Errors
/// Where a port cannot be bound or a file cannot be written.
pub async fn run(config: Config, shutdown: Shutdown) -> anyhow::Result<()> {
    start(config, shutdown).await?.finished().await
}

/// Starts the proxy: binds its ports, looks at the servers, serves.
///
/// # Errors
/// Where a port cannot be bound or a file cannot be read or written.
pub async fn start(config: Config, shutdown: Shutdown) -> anyhow::Result<Running> {
    let bound = serve::bind(config.listen.address)
        .with_context(|| format!("cannot listen on {}", config.listen.address))?;
    let bound = match &config.listen.socket {
        Some(ListenSocket { path, mode }) => {
            let socket = serve::BoundSocket::bind(path, *mode);
            bound.with_socket(socket.with_context(|| format!("cannot listen on {}", path.display()))?)
        }
        None => bound,
    };
    let front = bound.address()?;
    let desk_port = match config.admin.address {
        Some(address) => {
            Some(admin::bind(address).with_context(|| format!("cannot listen on {address} (admin)"))?)
        }
        None => None,
    };
    let admin_address = desk_port.as_ref().map(admin::Bound::address).transpose()?;
    let (control, outlook) = Control::new(&config.cluster, config.routing.max_lag);
    let house = Arc::new(house(&config, &outlook)?);
    let (control, lead) = failover::equip(control, &config, &house)?;
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(control::run(control, shutdown.clone()));
    tasks.spawn(catalog::follow(outlook.catalog.clone(), Arc::clone(&house.catalog), house.pools.clone()));
    tasks.spawn(follow_topology(outlook.topology.clone(), house.pools.clone()));
    if let Some(port) = desk_port {
        let desk = Desk {
            house: Arc::clone(&house),
            events: outlook.events.clone(),
            orders: outlook.orders.clone(),
            lead: lead.clone(),
            login: admin::front_login(&config).context("the admin port's login")?,
            config: Arc::new(config.clone()),
        };
        tasks.spawn(port.run(Arc::new(desk), shutdown.clone()));
    }
    first_look(outlook.topology.clone()).await;
    tracing::info!(%front, admin = ?admin_address, servers = config.cluster.servers.len(), "serving");
    let served = bound.run(Arc::clone(&house), shutdown);
    let finished = tokio::spawn(async move {
        served.await;
        // The rest has nobody left to work for.
        drop(tasks);
    });
    Ok(Running { front, admin: admin_address, house, outlook, lead, finished })
}

fn house(config: &Config, outlook: &Outlook) -> anyhow::Result<House> {
    let tls = Arc::new(BackendTlsSetup::load(&config.cluster.tls).context("cluster.tls")?);
    let setup = SessionSetup { tracked: sql::tracked_variables };
    let pools = config.cluster.servers.iter().enumerate().map(|(index, server)| {
        let target = Target {
            address: server.address.as_str().into(),
            tls: Arc::clone(&tls),
            connect_timeout: config.pool.connect_timeout,
            compression: config.cluster.compression.map(compression),
            proxy_protocol: server.proxy_protocol,
        };
        Pool::new(topology::ServerId(index as u16), target, config.pool.clone(), setup)
    });
    let pools: Vec<Arc<Pool>> = pools.collect();
    Ok(House {
        topology: outlook.topology.clone(),
        login: front_login(config, outlook, &pools)?,
        pools,
        judge: sql::Judge::new(config.limits.digest_cache),
        catalog: Arc::new(ArcSwap::from_pointee(sql::Catalog::default())),
        dictionary: outlook.catalog.clone(),
        listen: config.listen.clone(),
        routing: config.routing.clone(),
        limits: config.limits.clone(),
        registry: Registry::default(),
        digests: Digests::new(DIGEST_STATS_MAX, config.cluster.servers.len()),
        statements: Statements::default(),
        positions: Positions::new(config.cluster.servers.len()),
        acknowledged: Acknowledged::default(),
        pins: PinCounters::default(),
        counters: Counters::default(),
        turns: AtomicU64::new(0),
    })
}

fn front_login(config: &Config, outlook: &Outlook, pools: &[Arc<Pool>]) -> anyhow::Result<FrontLogin> {
    let targets = pools.iter().map(|pool| pool.target().clone()).collect();
    Ok(FrontLogin {
        tls: FrontTlsSetup::load(&config.listen.tls, &config.data_dir).context("listen.tls")?,
        rsa: load_rsa_key(&config.data_dir).context("the password key")?,
        users: listed(&config.users),
        servers: Some(Servers::new(outlook.topology.clone(), targets)),
        accounts: accounts::lookup(outlook.catalog.clone()),
        cache: CredentialCache::new(config.listen.auth_cache),
        login_timeout: config.listen.login_timeout,
        extra: config.listen.compression.iter().fold(0, |flags, way| flags | compression(*way).flag()),
        withheld: if config.listen.local_infile { 0 } else { capability::LOCAL_FILES },
        proxy_protocol: config.listen.proxy_protocol.clone(),
    })
}

fn compression(algorithm: CompressionAlgorithm) -> Compression {
    match algorithm {
        CompressionAlgorithm::Zlib => Compression::Zlib,
        CompressionAlgorithm::Zstd => Compression::Zstd { level: ZSTD_LEVEL },
    }
}

/// Waits until there is a server to send clients to, but not for long: they are told what is wrong otherwise.
async fn first_look(mut topology: topology::Reader) {
    let ready = async {
        while !topology.load().servers.iter().any(|server| server.standing == Standing::Serving) {
            topology.changed().await;
        }
    };
    if tokio::time::timeout(FIRST_LOOK, ready).await.is_err() {
        tracing::warn!("no server can be used yet; serving all the same");
    }
}

/// Lets pools act on what the control line publishes: connections to a replica that is held to be
/// unreachable are cut, those to one that takes nothing are not kept.
async fn follow_topology(mut topology: topology::Reader, pools: Vec<Arc<Pool>>) {
    let mut before = topology.load().clone();
    loop {
        topology.changed().await;
        let now = Arc::clone(&topology.load());
        for pool in &pools {
            act_on_change(pool, &before, &now);
        }
        before = now;
    }
}

fn act_on_change(pool: &Arc<Pool>, before: &Snapshot, now: &Snapshot) {
    let (was, is) = (before.server(pool.server), now.server(pool.server));
    if was.standing == is.standing {
        return;
    }
    match &is.standing {
        Standing::Serving => {
            let pool = Arc::clone(pool);
            tokio::spawn(async move { pool.warm().await });
        }
        // Whoever waits for a replica's answer is better off asking another. A primary's silence is not for
        // us to end: its statements may yet be executed and answered.
        Standing::Excluded(Exclusion::Unreachable(_)) if is.role == Role::Replica => pool.sever(),
        Standing::Excluded(_) => pool.close_idle(),
    }
}
