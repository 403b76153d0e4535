//! Servers and proxy as containers: killed, paused, and cut off by Docker; single edges from within their network.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use pointsman::flavour::Flavour;
use pointsman::playground::free_port;

use super::stage::{NAMES, Node, SERVERS, Settings, Stage, client};

/// How long a server may take to make its data directory and answer.
const START_LIMIT: Duration = Duration::from_secs(180);
const LOOK: Duration = Duration::from_millis(100);
/// Nobody's: what is sent there is lost, and nobody is told.
const NOBODY: &str = "02:00:00:00:00:01";

/// Gone when dropped.
pub(crate) struct Containers {
    flavour: Flavour,
    /// Names of everything begin with that.
    prefix: String,
    /// The first three numbers of all addresses, with a point behind them.
    subnet: String,
    folder: PathBuf,
    /// Of the servers, the proxy, and its admin port; on this machine's loopback.
    ports: [u16; 5],
}

impl Containers {
    /// `image` runs the proxy, `root` is the folder of this repository.
    pub(crate) async fn set(flavour: Flavour, image: &str, root: &Path) -> Result<Self> {
        let pid = std::process::id();
        let mut ports = [0; 5];
        for port in &mut ports {
            *port = free_port().context("a free port")?;
        }
        let set = Self {
            flavour,
            prefix: format!("drill{pid}"),
            subnet: format!("10.{}.{}.", 150 + (pid >> 8) % 50, pid % 256),
            folder: std::env::temp_dir().join(format!("pointsman-drill-{pid}")),
            ports,
        };
        set.remove();
        let subnet = format!("{}0/24", set.subnet);
        docker(&["network", "create", "--subnet", &subnet, &set.prefix])?;
        set.run_server(0, root)?;
        set.answers(0).await?;
        for replica in [1, 2] {
            set.run_server(replica, root)?;
        }
        for replica in [1, 2] {
            set.answers(replica).await?;
        }
        set.wait_for_replicas().await?;
        set.run_proxy(image)?;
        Ok(set)
    }

    fn run_server(&self, index: usize, root: &Path) -> Result<()> {
        let (folder, image) = match self.flavour {
            Flavour::MySql => ("mysql", mysql_image()),
            Flavour::MariaDb => ("mariadb", mariadb_image()),
        };
        let scripts = root.join("docker").join(folder);
        let mount =
            |name: &str| format!("{}:/docker-entrypoint-initdb.d/{name}:ro", scripts.join(name).display());
        let mut words = self.run_words(Node::Server(index), &[(self.ports[index], 3306)]);
        let names: &[&str] = if index == 0 { &["primary.sql", "promote.sql"] } else { &["replica.sql"] };
        words.extend(names.iter().flat_map(|name| ["-v".to_owned(), mount(name)]));
        let upper = folder.to_uppercase();
        for variable in [format!("{upper}_ROOT_PASSWORD=root"), format!("{upper}_INITDB_SKIP_TZINFO=1")] {
            words.extend(["-e".to_owned(), variable]);
        }
        words.push(image);
        words.extend([format!("--server-id={}", index + 1), format!("--report-host={}", NAMES[index])]);
        words.extend(server_options(self.flavour, index > 0).iter().map(|option| (*option).to_owned()));
        docker_words(&words)
    }

    fn run_proxy(&self, image: &str) -> Result<()> {
        let data = self.folder.join("data");
        fs::create_dir_all(&data)?;
        // The proxy's user in the container is not ours.
        fs::set_permissions(&data, fs::Permissions::from_mode(0o777))?;
        let settings = Settings {
            data_dir: "/var/lib/pointsman",
            servers: NAMES.map(|name| format!("{name}:3306")),
            listen: "0.0.0.0:3307",
            admin: "0.0.0.0:3308",
        };
        let config = self.folder.join("proxy.toml");
        fs::write(&config, settings.text())?;
        let mut words = self.run_words(Node::Proxy, &[(self.ports[3], 3307), (self.ports[4], 3308)]);
        words.extend(["-v".to_owned(), format!("{}:/var/lib/pointsman", data.display())]);
        words.extend(["-v".to_owned(), format!("{}:/etc/pointsman/proxy.toml:ro", config.display())]);
        words.push(image.to_owned());
        docker_words(&words)
    }

    /// What every container is run with.
    fn run_words(&self, node: Node, ports: &[(u16, u16)]) -> Vec<String> {
        let (name, host) = (self.container(node), node.to_string());
        let mut words: Vec<String> = ["run", "--detach", "--name", &name, "--hostname", &host]
            .into_iter()
            .chain(["--network", &self.prefix, "--network-alias", &host, "--ip", &self.address(node)])
            .map(str::to_owned)
            .collect();
        for (ours, its) in ports {
            words.extend(["-p".to_owned(), format!("127.0.0.1:{ours}:{its}")]);
        }
        words
    }

    /// Waits until the server answers over TCP, which is closed while it is set up.
    async fn answers(&self, index: usize) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let connect = tokio::time::timeout(Duration::from_secs(5), Conn::new(self.server(index)));
            let last = match connect.await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer".to_owned(),
            };
            let name = NAMES[index];
            ensure!(Instant::now() < deadline, "{name}: {last}\n{}", self.log_of(Node::Server(index)));
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Lets commits wait until a replica has them, now that both are there.
    async fn wait_for_replicas(&self) -> Result<()> {
        let side = match self.flavour {
            Flavour::MySql => "source",
            Flavour::MariaDb => "master",
        };
        let mut conn = Conn::new(self.server(0)).await?;
        let deadline = Instant::now() + START_LIMIT;
        let show = format!("SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_{side}_clients'");
        while conn.query_first::<(String, u32), _>(&show).await?.is_none_or(|(_, clients)| clients < 2) {
            ensure!(Instant::now() < deadline, "two replicas do not come to acknowledge");
            tokio::time::sleep(LOOK).await;
        }
        Ok(conn.query_drop(format!("SET GLOBAL rpl_semi_sync_{side}_enabled = ON")).await?)
    }

    fn container(&self, node: Node) -> String {
        format!("{}-{node}", self.prefix)
    }

    fn address(&self, node: Node) -> String {
        let number = match node {
            Node::Server(index) => 11 + index,
            Node::Proxy => 20,
        };
        format!("{}{number}", self.subnet)
    }

    fn log_of(&self, node: Node) -> String {
        let output = Command::new("docker").args(["logs", "--tail", "30", &self.container(node)]).output();
        output.map_or_else(
            |error| error.to_string(),
            |output| String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        )
    }

    /// What the proxy has logged.
    pub(crate) fn log(&self) -> String {
        self.log_of(Node::Proxy)
    }

    /// Runs `ip` in the container's network: the images have none of their own.
    fn ip_in(&self, node: Node, words: &[&str]) -> Result<()> {
        let pid = docker(&["inspect", "--format", "{{.State.Pid}}", &self.container(node)])?;
        let output =
            Command::new("nsenter").args(["--target", pid.trim(), "--net", "ip"]).args(words).output();
        let output = output.context("nsenter, of util-linux")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "ip {} at {node}: {}", words.join(" "), said.trim());
        Ok(())
    }

    fn is_running(&self, node: Node) -> bool {
        docker(&["inspect", "--format", "{{.State.Running}}", &self.container(node)])
            .is_ok_and(|running| running.trim() == "true")
    }

    fn is_connected(&self, node: Node) -> bool {
        let networks = ["inspect", "--format", "{{json .NetworkSettings.Networks}}", &self.container(node)];
        docker(&networks).is_ok_and(|networks| networks.contains(&self.prefix))
    }

    fn remove(&self) {
        for node in nodes() {
            // Not there is as good as gone.
            let _ = docker(&["rm", "--force", "--volumes", &self.container(node)]);
        }
        let _ = docker(&["network", "rm", &self.prefix]);
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        self.remove();
    }
}

impl Stage for Containers {
    fn flavour(&self) -> Flavour {
        self.flavour
    }

    fn server(&self, index: usize) -> OptsBuilder {
        client("127.0.0.1", self.ports[index], "root", "root")
    }

    fn proxy(&self) -> OptsBuilder {
        client("127.0.0.1", self.ports[3], "app", "app").db_name(Some("app"))
    }

    fn admin(&self) -> OptsBuilder {
        client("127.0.0.1", self.ports[4], "admin", "admin")
    }

    async fn kill(&self, node: Node) -> Result<()> {
        docker(&["kill", "--signal", "KILL", &self.container(node)]).map(drop)
    }

    async fn start(&self, node: Node) -> Result<()> {
        docker(&["start", &self.container(node)])?;
        match node {
            Node::Server(index) => self.answers(index).await,
            Node::Proxy => Ok(()),
        }
    }

    async fn freeze(&self, node: Node) -> Result<()> {
        docker(&["pause", &self.container(node)]).map(drop)
    }

    async fn thaw(&self, node: Node) -> Result<()> {
        docker(&["unpause", &self.container(node)]).map(drop)
    }

    async fn cut(&self, from: Node, to: Node) -> Result<()> {
        let to = self.address(to);
        self.ip_in(from, &["neigh", "replace", &to, "lladdr", NOBODY, "dev", "eth0", "nud", "permanent"])
    }

    async fn isolate(&self, node: Node) -> Result<()> {
        docker(&["network", "disconnect", &self.prefix, &self.container(node)]).map(drop)
    }

    async fn heal(&self) -> Result<()> {
        for node in nodes().filter(|node| self.is_running(*node)) {
            if self.is_connected(node) {
                self.ip_in(node, &["neigh", "flush", "dev", "eth0", "nud", "permanent"])?;
            } else {
                let (address, name) = (self.address(node), node.to_string());
                let place = ["--ip", &address, "--alias", &name, &self.prefix, &self.container(node)];
                docker(&[&["network", "connect"], &place[..]].concat())?;
            }
        }
        Ok(())
    }

    fn journal(&self) -> Result<String> {
        Ok(fs::read_to_string(self.folder.join("data/failover.journal")).unwrap_or_default())
    }
}

fn mysql_image() -> String {
    format!("mysql:{}", std::env::var("MYSQL_TAG").as_deref().unwrap_or("9.7"))
}

fn mariadb_image() -> String {
    format!("mariadb:{}", std::env::var("MARIADB_TAG").as_deref().unwrap_or("10.11"))
}

/// With which commits can be made to wait for replicas, which notice within seconds that their source is silent.
fn server_options(flavour: Flavour, is_replica: bool) -> Vec<&'static str> {
    let mut options = match flavour {
        Flavour::MySql => vec![
            "--gtid-mode=ON",
            "--enforce-gtid-consistency=ON",
            "--replica-net-timeout=4",
            "--relay-log-recovery=OFF",
            "--plugin-load-add=semisync_source.so",
            "--plugin-load-add=semisync_replica.so",
            "--loose-rpl-semi-sync-source-timeout=86400000",
        ],
        Flavour::MariaDb => vec![
            "--log-bin=binlog",
            "--log-slave-updates",
            "--gtid-strict-mode",
            "--sync-binlog=1",
            "--slave-net-timeout=4",
            "--rpl-semi-sync-master-timeout=86400000",
            "--rpl-semi-sync-master-wait-point=AFTER_SYNC",
        ],
    };
    match (flavour, is_replica) {
        (Flavour::MySql, true) => options.push("--loose-rpl-semi-sync-replica-enabled=ON"),
        (Flavour::MariaDb, true) => options.extend(["--rpl-semi-sync-slave-enabled=ON", "--read-only=ON"]),
        (_, false) => {}
    }
    options
}

/// Whether a daemon answers.
pub(crate) fn daemon() -> Result<()> {
    docker(&["version", "--format", "{{.Server.Version}}"]).map(drop)
}

/// Whether edges can be cut: from this machine, as root, into the networks of a daemon on it.
pub(crate) fn can_cut() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|id| id.stdout.trim_ascii() == b"0")
        && ["nsenter", "ip"].iter().all(|tool| Command::new(tool).arg("-V").output().is_ok())
}

/// An image that runs this very program, where it would run in Debian's; else the one that `docker/Dockerfile` makes.
pub(crate) fn image(root: &Path, program: &Path) -> Result<String> {
    let system = fs::read_to_string("/etc/os-release").unwrap_or_default();
    if !system.contains("VERSION_CODENAME=bookworm") {
        let file = root.join("docker/Dockerfile").display().to_string();
        docker(&["build", "--tag", "pointsman", "--file", &file, &root.display().to_string()])?;
        return Ok("pointsman".to_owned());
    }
    let context = std::env::temp_dir().join(format!("pointsman-drill-image-{}", std::process::id()));
    fs::create_dir_all(&context)?;
    fs::copy(program, context.join("pointsman"))?;
    fs::write(
        context.join("Dockerfile"),
        "FROM debian:bookworm-slim\nCOPY pointsman /usr/local/bin/pointsman\nUSER 999\n\
         ENTRYPOINT [\"pointsman\"]\nCMD [\"run\", \"--config\", \"/etc/pointsman/proxy.toml\"]\n",
    )?;
    let built = docker(&["build", "--tag", "pointsman-drill", &context.display().to_string()]);
    fs::remove_dir_all(&context)?;
    built.map(|_| "pointsman-drill".to_owned())
}

fn nodes() -> impl Iterator<Item = Node> {
    SERVERS.into_iter().chain([Node::Proxy])
}

fn docker_words(words: &[String]) -> Result<()> {
    docker(&words.iter().map(String::as_str).collect::<Vec<_>>()).map(drop)
}

fn docker(words: &[&str]) -> Result<String> {
    let output = Command::new("docker").args(words).output().context("docker")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "docker {}: {}", words.join(" "), said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
