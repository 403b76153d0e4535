//! The servers and the ways to them: straight to the primary, and through a proxy in each of its modes.

use std::fmt;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use pointsman::app::{self, Running};
use pointsman::flavour::Flavour;
use pointsman::playground::{self, Account, Cluster, ROOT};
use pointsman::shutdown::{self, Trigger};

/// The account that suites log in with: they make schemas, routines and users.
pub(crate) const SUITE: Account = Account { user: "conform", password: "conform" };
/// The schema that suites find empty.
pub(crate) const SCHEMA: &str = "conform";

/// How a suite reaches the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    /// To the primary, with no proxy.
    Direct,
    /// Through a proxy as it is by default.
    Shared,
    /// Through a proxy that takes a new connection for every statement that permits it.
    Fresh,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Way::Direct => "direct",
            Way::Shared => "shared",
            Way::Fresh => "fresh",
        })
    }
}

/// A cluster, and a proxy of each kind before it.
pub(crate) struct Stage {
    pub(crate) cluster: Cluster,
    shared: Proxy,
    fresh: Proxy,
}

struct Proxy {
    running: Running,
    /// Dropped, the proxy could no longer be told to stop.
    _trigger: Trigger,
}

impl Stage {
    pub(crate) async fn set(flavour: Flavour, say: playground::Progress<'_>) -> Result<Self> {
        let mut options = playground::Options::new(Some(flavour));
        options.server_options = vec!["--local-infile=ON".to_owned()];
        let cluster = Cluster::start(&options, say).await?;
        let shared = Proxy::start(&cluster, true).await?;
        let fresh = Proxy::start(&cluster, false).await?;
        Ok(Self { cluster, shared, fresh })
    }

    pub(crate) fn port(&self, way: Way) -> u16 {
        match way {
            Way::Direct => self.cluster.primary.port,
            Way::Shared => self.shared.running.front.port(),
            Way::Fresh => self.fresh.running.front.port(),
        }
    }

    /// Name and version of the servers.
    pub(crate) fn servers(&self) -> String {
        let name = match self.cluster.flavour() {
            Flavour::MySql => "MySQL",
            Flavour::MariaDb => "MariaDB",
        };
        let text = &self.cluster.programs.version_text;
        format!("{name} {}", text.split('-').next().unwrap_or(text))
    }

    /// Copies the servers' error logs to where they outlive them.
    pub(crate) fn keep_logs(&self) -> Result<PathBuf> {
        let folder = playground::cache().join("conformance/logs");
        fs::create_dir_all(&folder)?;
        for server in self.cluster.servers() {
            let name = format!("{}-{}.log", self.cluster.flavour(), server.name);
            fs::copy(server.error_log(), folder.join(name))?;
        }
        Ok(folder)
    }

    /// The servers as no suite has seen them, on every replica too.
    pub(crate) async fn clear(&self) -> Result<()> {
        let mut conn = self.cluster.primary.connect(ROOT).await?;
        let schemas: Vec<String> = conn.query("SHOW DATABASES").await?;
        for schema in schemas.iter().filter(|schema| !OURS.contains(&schema.as_str())) {
            conn.query_drop(format!("DROP DATABASE `{schema}`")).await?;
        }
        drop_accounts(&mut conn).await?;
        let Account { user, password } = SUITE;
        for statement in [
            format!("CREATE USER '{user}'@'%' IDENTIFIED BY '{password}'"),
            format!("GRANT ALL ON *.* TO '{user}'@'%' WITH GRANT OPTION"),
            format!("CREATE DATABASE {SCHEMA} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci"),
        ] {
            conn.query_drop(statement).await?;
        }
        conn.disconnect().await?;
        self.cluster.wait_applied().await.context("replicas do not catch up")
    }
}

/// Schemas that are no suite's.
const OURS: [&str; 5] = ["app", "information_schema", "mysql", "performance_schema", "sys"];

async fn drop_accounts(conn: &mut Conn) -> Result<()> {
    let accounts = "SELECT user, host FROM mysql.user WHERE host = '%' \
                    AND user NOT IN ('root', 'app', 'pointsman', 'replication')";
    for (user, host) in conn.query::<(String, String), _>(accounts).await? {
        conn.query_drop(format!("DROP USER '{user}'@'{host}'")).await?;
    }
    Ok(())
}

impl Proxy {
    async fn start(cluster: &Cluster, reuse: bool) -> Result<Self> {
        let mut config = playground::config(cluster, 0)?;
        // Each makes a certificate of its own.
        config.data_dir.push(if reuse { "shared" } else { "fresh" });
        fs::create_dir_all(&config.data_dir)?;
        config.pool.reuse = reuse;
        let (trigger, shutdown) = shutdown::channel();
        Ok(Self { running: app::start(config, shutdown).await?, _trigger: trigger })
    }
}
