//! The proxy before a real cluster, in this process.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use anyhow::{Context, Result};
use mysql_async::{Conn, OptsBuilder};
use pointsman::app::{self, Running};
use pointsman::config::Config;
use pointsman::flavour::Flavour;
use pointsman::playground::{self, APP, Account, Cluster};
use pointsman::serve::{Activity, Seen};
use pointsman::shutdown::{self, Trigger};
use pointsman::sql::PinSet;
use pointsman::topology::{Role, ServerId, Snapshot};
use tokio::sync::OnceCell;

use crate::clusters::shared;
use crate::load::eventually;

/// A running proxy.
pub(crate) struct Proxy {
    pub(crate) running: Running,
    /// Dropped, the proxy could no longer be told to stop.
    trigger: Trigger,
}

/// The proxy before the shared cluster; tests must not stop or reconfigure it.
pub(crate) async fn shared_proxy(flavour: Flavour) -> Result<&'static Proxy> {
    static MYSQL: OnceCell<Proxy> = OnceCell::const_new();
    static MARIADB: OnceCell<Proxy> = OnceCell::const_new();
    let cell = match flavour {
        Flavour::MySql => &MYSQL,
        Flavour::MariaDb => &MARIADB,
    };
    cell.get_or_try_init(|| async { Proxy::start(shared(flavour).await?, |_| {}).await }).await
}

impl Proxy {
    /// Before a cluster, with its configuration changed.
    pub(crate) async fn start(cluster: &Cluster, change: impl FnOnce(&mut Config)) -> Result<Self> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let mut config = playground::config(cluster, 0)?;
        // Each makes a certificate of its own, be there several before one cluster.
        config.data_dir.push(STARTED.fetch_add(1, Relaxed).to_string());
        std::fs::create_dir_all(&config.data_dir)?;
        change(&mut config);
        let (trigger, shutdown) = shutdown::channel();
        let running = app::start(config, shutdown).await?;
        Ok(Self { running, trigger })
    }

    /// Drains and waits for the end.
    pub(crate) async fn stop(self) -> Result<()> {
        self.trigger.drain();
        self.running.finished().await
    }

    pub(crate) fn opts(&self, account: Account) -> OptsBuilder {
        OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(self.running.front.port())
            .prefer_socket(false)
            .user(Some(account.user))
            .pass(Some(account.password))
            .db_name(Some("app"))
            // Else the client's own question at login would be the session's first statement.
            .max_allowed_packet(Some(64 << 20))
            .wait_timeout(Some(28_800))
    }

    pub(crate) async fn connect(&self) -> Result<Conn> {
        Conn::new(self.opts(APP)).await.context("through the proxy")
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot::clone(&self.running.outlook.topology.load())
    }

    /// Waits until what the control line publishes is as asked.
    pub(crate) async fn published(&self, is_so: impl Fn(&Snapshot) -> bool) {
        let mut reader = self.running.outlook.topology.clone();
        while !is_so(&reader.load()) {
            reader.changed().await;
        }
    }

    /// What the proxy shows of a session.
    pub(crate) fn seen(&self, conn: &Conn) -> Seen {
        self.running.house.registry.get(conn.id()).expect("the session is registered").seen()
    }

    /// Waits until that is what ties the session to its connection: its client may have the answer a little before,
    /// or none.
    pub(crate) async fn tied_by(&self, id: u32, pins: PinSet) -> Result<()> {
        let info = self.running.house.registry.get(id).context("the session is registered")?;
        let causes: Vec<String> = pins.iter().map(|cause| cause.to_string()).collect();
        let what = format!("tied by {causes:?}");
        eventually(&what, || async { Ok(info.activity() == Activity::Idle && info.seen().pins == pins) })
            .await
    }

    /// Waits until the session is done with its statement: its client may have the answer a little before.
    pub(crate) async fn at_rest(&self, conn: &Conn) -> Result<()> {
        let info = self.running.house.registry.get(conn.id()).context("the session is registered")?;
        eventually("the session rests", || async { Ok(info.activity() == Activity::Idle) }).await
    }

    pub(crate) fn role(&self, server: Option<ServerId>) -> Role {
        server.map_or(Role::Unknown, |id| self.snapshot().server(id).role)
    }
}
