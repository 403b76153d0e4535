//! `pointsman playground`: a cluster, the proxy before it, and what to try.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use super::accounts::REPLICATION;
use super::{APP, CONTROL, Cluster, Error, Options, Progress, chaos};
use crate::config::{Config, FailoverMode, Secret, Server, User};

/// Name and password of the admin port.
const ADMIN: &str = "admin";

/// What `pointsman playground` was asked for.
#[derive(Clone, Debug)]
pub struct TourOptions {
    pub cluster: Options,
    /// The proxy's port on 127.0.0.1; the admin port is the next.
    pub port: u16,
    /// Whether a client writes all the time, and servers are killed, stopped and cut off by lines of the standard input.
    pub chaos: bool,
}

/// Starts the cluster and a proxy before it, says what to try, and ends the cluster when the proxy has drained.
///
/// `start` starts the proxy by the configuration it is given; it comes from the composition root, which this room does
/// not know. It answers with the port clients connect to and a future that ends when the proxy has drained. Where the
/// process is told to stop before that, the servers end with it.
pub async fn run<E, S, F>(
    options: TourOptions,
    progress: Progress<'_>,
    start: impl FnOnce(Config) -> S,
) -> Result<(), E>
where
    E: From<Error>,
    S: Future<Output = Result<(SocketAddr, F), E>>,
    F: Future<Output = Result<(), E>>,
{
    let cluster = Cluster::start(&options.cluster, progress).await?;
    let mut config = config(&cluster, options.port)?;
    if options.chaos {
        // People who try things do not wait for a minute, and look all the time.
        config.failover.min_interval = Duration::from_secs(5);
        config.failover.max_failovers = usize::MAX;
    }
    let (front, drained) = start(config).await?;
    for line in guide(&cluster, front, options.chaos) {
        progress(&line);
    }
    let served = match options.chaos {
        true => chaos::beside(&cluster, front, progress, drained).await,
        false => drained.await,
    };
    progress("stopping the servers");
    cluster.stop().await;
    served
}

/// The configuration of a proxy before this cluster.
pub fn config(cluster: &Cluster, port: u16) -> Result<Config, Error> {
    let mut config = Config { data_dir: cluster.folder.join("proxy"), ..Config::default() };
    fs::create_dir_all(&config.data_dir).map_err(Error::file(&config.data_dir))?;
    config.cluster.servers = cluster
        .servers()
        .map(|server| Server { name: server.name.clone(), ..Server::plain(server.address()) })
        .collect();
    if cluster.semi_sync {
        config.failover.mode = FailoverMode::Automatic;
        config.failover.replication_user = REPLICATION.user.to_owned();
        config.failover.replication_password = Secret::new(REPLICATION.password);
    }
    config.cluster.control.user = CONTROL.user.to_owned();
    config.cluster.control.password = Secret::new(CONTROL.password);
    // A new table or routine is used at once by people who try things.
    config.cluster.control.catalog_interval = Duration::from_secs(1);
    config.listen.address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    // Port 0 asks for any free one, for both.
    let admin_port = if port == 0 { 0 } else { port.saturating_add(1) };
    config.admin.address = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, admin_port)));
    config.admin.users = vec![User { name: ADMIN.to_owned(), password: Secret::new(ADMIN) }];
    Ok(config)
}

fn guide(cluster: &Cluster, front: SocketAddr, chaos: bool) -> Vec<String> {
    let port = front.port();
    let client = cluster.programs.client.as_deref().unwrap_or(Path::new("mysql")).display();
    let (user, password, admin_port) = (APP.user, APP.password, port.saturating_add(1));
    let mut lines = vec![
        String::new(),
        format!("DSN     mysql://{user}:{password}@127.0.0.1:{port}/app"),
        format!("client  {client} -h127.0.0.1 -P{port} -u{user} -p{password} app"),
        format!("admin   {client} -h127.0.0.1 -P{admin_port} -u{ADMIN} -p{ADMIN}"),
    ];
    for server in cluster.servers() {
        lines.push(format!(
            "{:<7} {} (log: {})",
            server.name,
            server.address(),
            server.error_log().display()
        ));
    }
    lines.extend(["", "Try, as app:"].map(str::to_owned));
    lines.extend(TRY_APP.iter().map(|line| format!("  {line}")));
    lines.extend(["and as admin:"].map(str::to_owned));
    lines.extend(TRY_ADMIN.iter().map(|line| format!("  {line}")));
    if chaos {
        lines.extend(["", "A client writes all the time. Type:"].map(str::to_owned));
        lines.extend(chaos::HELP.iter().map(|line| format!("  {line}")));
    }
    lines.extend(["", "Ctrl-C ends it."].map(str::to_owned));
    lines
}

const TRY_APP: &[&str] = &[
    "SELECT @@server_id;                         -- a replica; again: the other one",
    "INSERT INTO fruit (name) VALUES ('cherry'); -- the primary",
    "SELECT * FROM fruit;                        -- a replica",
    "SELECT @@server_id FROM fruit FOR UPDATE;   -- the primary: it takes locks",
    "BEGIN; SELECT @@server_id; COMMIT;          -- the primary: it may yet write",
];

const TRY_ADMIN: &[&str] = &[
    "SHOW SERVERS;",
    "SHOW ROUTES;                                -- what went where, and why",
    "EXPLAIN ROUTE FOR 'SELECT * FROM fruit FOR UPDATE';",
];
