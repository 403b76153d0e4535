//! The door to whatever a scenario is played on: servers and a proxy that can be killed, frozen and cut off.

use std::fmt;

use anyhow::Result;
use mysql_async::OptsBuilder;
use pointsman::flavour::Flavour;

/// Who is on the stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    /// By its place in the configuration: 0 is the first primary.
    Server(usize),
    Proxy,
}

pub(crate) const SERVERS: [Node; 3] = [Node::Server(0), Node::Server(1), Node::Server(2)];
pub(crate) const PRIMARY: Node = Node::Server(0);
pub(crate) const NAMES: [&str; 3] = ["primary", "replica1", "replica2"];

/// A primary, two replicas whose acknowledgements commits wait for, and a proxy before them that may promote.
pub(crate) trait Stage {
    fn flavour(&self) -> Flavour;
    /// Past the proxy, as one who may do anything; also while others do not reach the server.
    fn server(&self, index: usize) -> OptsBuilder;
    /// As the application.
    fn proxy(&self) -> OptsBuilder;
    fn admin(&self) -> OptsBuilder;
    /// kill -9. Returns when it is gone.
    async fn kill(&self, node: Node) -> Result<()>;
    /// Starts one that was killed. A server answers when this returns.
    async fn start(&self, node: Node) -> Result<()>;
    /// It stands still, with its connections open.
    async fn freeze(&self, node: Node) -> Result<()>;
    async fn thaw(&self, node: Node) -> Result<()>;
    /// What one sends to the other is lost.
    async fn cut(&self, from: Node, to: Node) -> Result<()>;
    /// Nothing reaches it, nothing comes from it.
    async fn isolate(&self, node: Node) -> Result<()>;
    /// Nothing is cut any more.
    async fn heal(&self) -> Result<()>;
    /// The proxy's journal of changes of primary.
    fn journal(&self) -> Result<String>;
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Node::Server(index) => NAMES[*index],
            Node::Proxy => "proxy",
        })
    }
}

/// With which the proxy of any stage is run.
pub(crate) struct Settings<'s> {
    pub(crate) data_dir: &'s str,
    /// In the order of `NAMES`.
    pub(crate) servers: [String; 3],
    pub(crate) listen: &'s str,
    pub(crate) admin: &'s str,
}

impl Settings<'_> {
    /// The configuration file. Failovers may follow one another at once: that they keep their distance is tested
    /// elsewhere.
    pub(crate) fn text(&self) -> String {
        let server =
            |(name, address): (&str, &String)| format!("{{ name = \"{name}\", address = \"{address}\" }}");
        let servers: Vec<String> = NAMES.into_iter().zip(&self.servers).map(server).collect();
        format!(
            r#"data_dir = "{data_dir}"

[cluster]
servers = [{servers}]

[cluster.control]
user = "pointsman"
password = "pointsman"

[listen]
address = "{listen}"

[routing]
primary_wait = "60s"

[failover]
mode = "automatic"
replication_user = "replication"
replication_password = "replication"
min_interval = "1s"
max_failovers = 100

[admin]
address = "{admin}"
users = [{{ name = "admin", password = "admin" }}]
"#,
            data_dir = self.data_dir,
            servers = servers.join(", "),
            listen = self.listen,
            admin = self.admin,
        )
    }
}

/// A client of that account, whose first statement is its own.
pub(crate) fn client(host: &str, port: u16, user: &str, password: &str) -> OptsBuilder {
    OptsBuilder::default()
        .ip_or_hostname(host)
        .tcp_port(port)
        .prefer_socket(false)
        .user(Some(user))
        .pass(Some(password))
        .max_allowed_packet(Some(64 << 20))
        .wait_timeout(Some(28_800))
}
