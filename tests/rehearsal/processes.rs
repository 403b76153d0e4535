//! Servers and proxy as processes: plain ones, or each in a network namespace of its own.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use mysql_async::OptsBuilder;
use pointsman::flavour::Flavour;
use pointsman::playground::{Cluster, Options, ROOT, Server, free_port};

use super::proxy::Process;
use super::stage::{Node, SERVERS, Settings, Stage, client};
use namespaces::Net;

mod namespaces;

pub(crate) use namespaces::can as can_cut;

pub(crate) struct Processes {
    // Dropped in this order: the namespaces go when nobody lives in them any more.
    proxy: Process,
    cluster: Cluster,
    net: Option<Net>,
    host: String,
    ports: (u16, u16),
}

/// The port of a proxy that has an address of its own.
const PORTS: (u16, u16) = (3307, 3308);

impl Processes {
    /// `program` runs the proxy. With `namespaces` edges can be cut; that takes root and iproute2.
    pub(crate) async fn set(flavour: Flavour, program: PathBuf, namespaces: bool) -> Result<Self> {
        let net = if namespaces { Some(Net::build().context("network namespaces")?) } else { None };
        let mut options = Options { semi_sync: true, ..Options::new(Some(flavour)) };
        options.places = net.as_ref().map(Net::places).unwrap_or_default();
        let cluster = Cluster::start(&options, &|_: &str| {}).await?;
        let (host, ports) = match &net {
            Some(net) => (net.host(Node::Proxy), PORTS),
            None => {
                let free = || free_port().context("a free port");
                ("127.0.0.1".to_owned(), (free()?, free()?))
            }
        };
        let folder = cluster.folder.join("proxy");
        fs::create_dir_all(&folder)?;
        let servers: Vec<String> = cluster.servers().map(Server::address).collect();
        let settings = Settings {
            data_dir: folder.to_str().context("a path of text")?,
            servers: servers.try_into().map_err(|_| anyhow::anyhow!("three servers"))?,
            listen: &format!("{host}:{}", ports.0),
            admin: &format!("{host}:{}", ports.1),
        };
        fs::write(folder.join("proxy.toml"), settings.text())?;
        let before = net.as_ref().map(|net| net.enter(Node::Proxy)).unwrap_or_default();
        let proxy = Process::new(program, before, folder);
        proxy.start()?;
        Ok(Self { proxy, cluster, net, host, ports })
    }

    fn server_of(&self, index: usize) -> &Server {
        self.cluster.servers().nth(index).expect("three servers")
    }

    fn net(&self) -> Result<&Net> {
        self.net.as_ref().context("plain processes cannot be cut off from one another")
    }

    /// What the proxy has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.proxy.folder().join("log")).unwrap_or_default()
    }
}

impl Stage for Processes {
    fn flavour(&self) -> Flavour {
        self.cluster.flavour()
    }

    fn server(&self, index: usize) -> OptsBuilder {
        let server = self.server_of(index);
        client(server.host(), server.port, ROOT.user, ROOT.password)
    }

    fn proxy(&self) -> OptsBuilder {
        client(&self.host, self.ports.0, "app", "app").db_name(Some("app"))
    }

    fn admin(&self) -> OptsBuilder {
        client(&self.host, self.ports.1, "admin", "admin")
    }

    async fn kill(&self, node: Node) -> Result<()> {
        match node {
            Node::Server(index) => self.server_of(index).kill().await,
            Node::Proxy => self.proxy.kill()?,
        }
        Ok(())
    }

    async fn start(&self, node: Node) -> Result<()> {
        match node {
            Node::Server(index) => Ok(self.server_of(index).start().await?),
            Node::Proxy => self.proxy.start(),
        }
    }

    async fn freeze(&self, node: Node) -> Result<()> {
        match node {
            Node::Server(index) => self.server_of(index).freeze(),
            Node::Proxy => bail!("the proxy is killed, not frozen"),
        }
        Ok(())
    }

    async fn thaw(&self, node: Node) -> Result<()> {
        match node {
            Node::Server(index) => self.server_of(index).thaw(),
            Node::Proxy => bail!("the proxy is killed, not frozen"),
        }
        Ok(())
    }

    async fn cut(&self, from: Node, to: Node) -> Result<()> {
        self.net()?.cut(from, to)
    }

    async fn isolate(&self, node: Node) -> Result<()> {
        let net = self.net()?;
        for other in SERVERS.into_iter().chain([Node::Proxy]).filter(|other| *other != node) {
            net.cut(node, other)?;
            net.cut(other, node)?;
        }
        Ok(())
    }

    async fn heal(&self) -> Result<()> {
        self.net()?.heal()
    }

    fn journal(&self) -> Result<String> {
        Ok(fs::read_to_string(self.proxy.folder().join("failover.journal")).unwrap_or_default())
    }
}
