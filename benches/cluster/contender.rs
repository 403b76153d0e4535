//! What is measured: the way straight to the primary, and the proxies, each started here.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use pointsman::playground::{APP, CONTROL, Cluster, Server, free_port};

use crate::options::{Options, Workload};
use crate::{machine, tools};

/// How long a proxy may take from its start to its first answer.
const START_LIMIT: Duration = Duration::from_secs(30);

/// More than any load here wants; every limit on the way is set to it.
const CONNECTIONS_MAX: usize = 11_000;

/// Files that a proxy opens besides its connections.
const FILES_OTHER: usize = 100;

/// The names by which the tables refer to them.
pub(crate) const DIRECT: &str = "direct";
pub(crate) const HAPROXY: &str = "haproxy";
/// HAProxy with half of its connections to each replica: the same servers that Pointsman's reads go to.
const HAPROXY_REPLICAS: &str = "haproxy-replicas";
pub(crate) const ROUTER: &str = "router";
pub(crate) const POINTSMAN: &str = "pointsman";

/// One way from sysbench to the servers. Its process ends when this is dropped.
pub(crate) struct Contender {
    pub(crate) name: String,
    pub(crate) port: u16,
    process: Option<Child>,
}

/// How to start a contender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Direct,
    HaProxy { program: PathBuf, replicas: bool },
    Router { program: PathBuf },
    Pointsman { name: String, program: PathBuf, tls: bool },
}

/// Options that let the servers take as many connections as are measured.
pub(crate) fn server_options() -> Vec<String> {
    vec![format!("--max-connections={CONNECTIONS_MAX}")]
}

/// Everybody who takes part, and a line for everybody who does not.
pub(crate) fn all(options: &Options) -> Result<(Vec<Kind>, Vec<String>)> {
    let program = tools::find("haproxy").context("no HAProxy: `scripts/install-bench` gets it")?;
    let mut kinds = vec![
        Kind::Direct,
        Kind::HaProxy { program: program.clone(), replicas: false },
        Kind::HaProxy { program, replicas: true },
    ];
    let mut missing = Vec::new();
    match tools::find("mysqlrouter") {
        Some(program) => kinds.push(Kind::Router { program }),
        None => missing.push(
            "MySQL Router was left out: it is not installed (`scripts/install-bench --with-router`)."
                .to_owned(),
        ),
    }
    let program = PathBuf::from(env!("CARGO_BIN_EXE_pointsman"));
    kinds.push(Kind::Pointsman { name: POINTSMAN.to_owned(), program: program.clone(), tls: false });
    if options.tls {
        kinds.push(Kind::Pointsman { name: "pointsman-tls".to_owned(), program, tls: true });
    }
    for also in &options.also {
        ensure!(also.program.is_file(), "{} is no program", also.program.display());
        kinds.push(Kind::Pointsman { name: also.name.clone(), program: also.program.clone(), tls: false });
    }
    kinds.retain(|kind| options.wants(kind.name()));
    Ok((kinds, missing))
}

impl Kind {
    pub(crate) fn name(&self) -> &str {
        match self {
            Kind::Direct => DIRECT,
            Kind::HaProxy { replicas: false, .. } => HAPROXY,
            Kind::HaProxy { replicas: true, .. } => HAPROXY_REPLICAS,
            Kind::Router { .. } => ROUTER,
            Kind::Pointsman { name, .. } => name,
        }
    }

    /// Whether it can be sent that: replicas take no writes.
    pub(crate) fn takes(&self, workload: Workload) -> bool {
        self.name() != HAPROXY_REPLICAS || workload != Workload::ReadWrite
    }

    /// Clients that it can have at once: those that give each client a connection of its own need two files for it.
    pub(crate) fn clients_max(&self) -> usize {
        let files = usize::try_from(machine::files()).unwrap_or(usize::MAX).saturating_sub(FILES_OTHER);
        let each = if matches!(self, Kind::HaProxy { .. } | Kind::Router { .. }) { 2 } else { 1 };
        CONNECTIONS_MAX.min(files / each)
    }

    /// What `--version` says of it.
    pub(crate) fn version(&self) -> Option<String> {
        let (program, argument) = match self {
            Kind::Direct => return None,
            Kind::HaProxy { program, .. } => (program, "-v"),
            Kind::Router { program } | Kind::Pointsman { program, .. } => (program, "--version"),
        };
        let output = Command::new(program).arg(argument).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout);
        text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit())).map(str::to_owned)
    }

    /// Starts it before the cluster and waits until it answers.
    pub(crate) async fn start(&self, cluster: &Cluster) -> Result<Contender> {
        if *self == Kind::Direct {
            return Ok(Contender { name: DIRECT.to_owned(), port: cluster.primary.port, process: None });
        }
        let port = free_port().context("no free port")?;
        let folder = cluster.folder.join(format!("{}-{port}", self.name()));
        fs::create_dir_all(&folder)?;
        let mut command = match self {
            Kind::HaProxy { program, replicas } => {
                haproxy(program, *replicas, self.clients_max(), cluster, port, &folder)?
            }
            Kind::Router { program } => router(program, cluster, port, &folder)?,
            Kind::Pointsman { program, tls, .. } => pointsman(program, *tls, cluster, port, &folder)?,
            Kind::Direct => unreachable!("it has no process"),
        };
        let log = folder.join("log");
        let output = File::create(&log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let process =
            command.spawn().with_context(|| format!("{}: scripts/install-bench gets it", self.name()))?;
        let mut contender = Contender { name: self.name().to_owned(), port, process: Some(process) };
        contender.answered(&log).await?;
        if let Kind::Pointsman { .. } = self {
            contender.splits_reads(cluster).await?;
        }
        Ok(contender)
    }
}

fn haproxy(
    program: &Path,
    replicas: bool,
    clients_max: usize,
    cluster: &Cluster,
    port: u16,
    folder: &Path,
) -> Result<Command> {
    let configuration = folder.join("haproxy.cfg");
    let threads = std::thread::available_parallelism()?;
    let servers: Vec<&Server> =
        if replicas { cluster.replicas.iter().collect() } else { vec![&cluster.primary] };
    let servers = servers.iter().map(|server| format!("  server {} {}\n", server.name, server.address()));
    let text = format!(
        "global\n  nbthread {threads}\n  maxconn {clients_max}\n\
         defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n\
         listen front\n  bind 127.0.0.1:{port}\n{}",
        servers.collect::<String>()
    );
    fs::write(&configuration, text)?;
    let mut command = Command::new(program);
    command.arg("-f").arg(configuration).arg("-db");
    Ok(command)
}

/// Plain routing to the primary. (Its read/write splitting wants an InnoDB cluster or ReplicaSet.)
fn router(program: &Path, cluster: &Cluster, port: u16, folder: &Path) -> Result<Command> {
    let configuration = folder.join("router.conf");
    let here = folder.display();
    let unpacked = tools::unpacked("mysqlrouter");
    // Where it was unpacked to, it does not find them by itself.
    let plugins = match program.starts_with(&unpacked) {
        true => format!("plugin_folder={}\n", unpacked.join("usr/lib/mysqlrouter/plugin").display()),
        false => String::new(),
    };
    let threads = std::thread::available_parallelism()?;
    let text = format!(
        "[DEFAULT]\n{plugins}logging_folder={here}\nruntime_folder={here}\ndata_folder={here}\n\
         config_folder={here}\nmax_total_connections={CONNECTIONS_MAX}\n\
         [io]\nthreads={threads}\n[logger]\nlevel=WARNING\n\
         [routing:primary]\nbind_address=127.0.0.1\nbind_port={port}\nprotocol=classic\n\
         destinations={}\nrouting_strategy=first-available\nmax_connections={CONNECTIONS_MAX}\n",
        cluster.primary.address()
    );
    fs::write(&configuration, text)?;
    let mut command = Command::new(program);
    command.arg("-c").arg(configuration);
    Ok(command)
}

fn pointsman(program: &Path, tls: bool, cluster: &Cluster, port: u16, folder: &Path) -> Result<Command> {
    let configuration = folder.join("pointsman.toml");
    let servers: Vec<String> = cluster.servers().map(|server| format!("{:?}", server.address())).collect();
    // The others do not encrypt what the client does not, so neither does it unless that is what is measured.
    let mode = if tls { "preferred" } else { "disabled" };
    let text = format!(
        "data_dir = \"data\"\n[cluster]\nservers = [{}]\n[cluster.control]\nuser = {:?}\npassword = {:?}\n\
         [cluster.tls]\nmode = {mode:?}\n[listen]\naddress = \"127.0.0.1:{port}\"\nmax_clients = {CONNECTIONS_MAX}\n\
         [pool]\nmax_per_server = 1000\n[admin]\naddress = \"off\"\n[log]\nlevel = \"warn\"\n",
        servers.join(", "),
        CONTROL.user,
        CONTROL.password,
    );
    fs::write(&configuration, text)?;
    fs::create_dir_all(folder.join("data"))?;
    let mut command = Command::new(program);
    command.args(["run", "--config"]).arg(configuration);
    Ok(command)
}

impl Contender {
    /// `None` where there is no proxy.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    async fn connect(&self) -> mysql_async::Result<Conn> {
        let opts = OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(self.port)
            .prefer_socket(false)
            .user(Some(APP.user))
            .pass(Some(APP.password))
            .db_name(Some("app"));
        Conn::new(opts).await
    }

    async fn answered(&mut self, log: &Path) -> Result<()> {
        let begun = Instant::now();
        loop {
            let said = || fs::read_to_string(log).unwrap_or_default();
            if let Some(process) = &mut self.process
                && let Some(status) = process.try_wait()?
            {
                bail!("{} ended while starting ({status}):\n{}", self.name, said());
            }
            match self.connect().await {
                Ok(conn) => return Ok(conn.disconnect().await?),
                Err(error) if begun.elapsed() > START_LIMIT => {
                    bail!("{} does not answer: {error}\n{}", self.name, said());
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// Waits until reads go to every replica in turn: otherwise it would not be the split that is measured.
    async fn splits_reads(&self, cluster: &Cluster) -> Result<()> {
        let begun = Instant::now();
        let mut conn = self.connect().await?;
        loop {
            let mut seen = Vec::new();
            for _ in &cluster.replicas {
                let server: Option<u32> = conn.query_first("SELECT @@server_id").await?;
                seen.extend(server);
            }
            seen.sort_unstable();
            // The primary is 1.
            if seen.iter().copied().eq(2..=cluster.replicas.len() as u32 + 1) {
                return Ok(conn.disconnect().await?);
            }
            ensure!(begun.elapsed() < START_LIMIT, "{} does not split reads: they go to {seen:?}", self.name);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
