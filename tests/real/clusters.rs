//! Real clusters for tests: one shared for each flavour, and private ones for tests that break things.

use std::future::Future;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use pointsman::flavour::Flavour;
use pointsman::playground::{Cluster, Options};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

/// The cluster of that flavour that all tests share: they may write to schemas of their own, and must neither stop a
/// server nor change its settings. It ends with the test process.
pub(crate) async fn shared(flavour: Flavour) -> Result<&'static Cluster> {
    static MYSQL: OnceCell<Cluster> = OnceCell::const_new();
    static MARIADB: OnceCell<Cluster> = OnceCell::const_new();
    let cell = match flavour {
        Flavour::MySql => &MYSQL,
        Flavour::MariaDb => &MARIADB,
    };
    cell.get_or_try_init(|| private(Options::new(Some(flavour)))).await
}

/// A cluster of the test's own, gone when dropped.
pub(crate) async fn private(options: Options) -> Result<Cluster> {
    let silent = |_: &str| {};
    Cluster::start(&options, &silent)
        .await
        .context("these tests need real servers: run scripts/install-servers")
}

/// Runs the test on the runtime that all tests of this process share: what one of them starts (a cluster, a proxy, a
/// connection) must not end with the test that happened to start it.
pub(crate) fn block_on(test: impl Future<Output = Result<()>>) -> Result<()> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    const SECONDS: u64 = 300;
    // More for long runs by hand.
    let seconds = std::env::var("POINTSMAN_TEST_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    let limit = Duration::from_secs(seconds.unwrap_or(SECONDS));
    let runtime = RUNTIME.get_or_init(|| Runtime::new().expect("a runtime can be built"));
    runtime.block_on(async { tokio::time::timeout(limit, test).await.context("the test hangs")? })
}

/// A fresh schema for one test, so that tests do not see each other's tables.
pub(crate) async fn schema(cluster: &Cluster, name: &str) -> Result<Conn> {
    let mut conn = cluster.primary.connect(pointsman::playground::ROOT).await?;
    conn.query_drop(format!("CREATE DATABASE {name}")).await?;
    conn.query_drop(format!("GRANT ALL ON {name}.* TO 'app'@'%'")).await?;
    conn.query_drop(format!("USE {name}")).await?;
    Ok(conn)
}

/// Writes the same test once for each flavour: `both!(name)` runs `async fn name(Flavour) -> Result<()>`.
macro_rules! both {
    ($($name:ident),+ $(,)?) => {
        mod mysql {
            $(#[test] fn $name() -> anyhow::Result<()> {
                crate::clusters::block_on(super::$name(pointsman::flavour::Flavour::MySql))
            })+
        }
        mod mariadb {
            $(#[test] fn $name() -> anyhow::Result<()> {
                crate::clusters::block_on(super::$name(pointsman::flavour::Flavour::MariaDb))
            })+
        }
    };
}
pub(crate) use both;
