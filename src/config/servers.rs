//! `cluster.servers`: addresses as people write them, each once, each with a name.

use super::Server;
use super::file::{Section, Value};

/// More than any replication tree; keeps every list of servers short.
pub(super) const SERVERS_MAX: usize = 64;
pub(super) const WEIGHT_MAX: u32 = 1000;
const PRIORITY_MAX: u32 = 1000;
const DEFAULT_PORT: u16 = 3306;

const HOW: &str = "list every server of the cluster: servers = [\"10.0.0.1:3306\", \"10.0.0.2:3306\"]";

pub(super) fn read(cluster: &Section<'_, '_>) -> Vec<Server> {
    let Some(value) = cluster.get("servers") else {
        cluster.missing("servers", HOW);
        return Vec::new();
    };
    let Some(list) = value.list() else { return Vec::new() };
    if list.is_empty() {
        value.wrong("no server is listed", HOW);
    }
    if list.len() > SERVERS_MAX {
        value.wrong(format!("{} servers are listed", list.len()), format!("allowed is 1 to {SERVERS_MAX}"));
    }
    let mut servers: Vec<Server> = Vec::new();
    for entry in &list {
        let Some(server) = server(entry) else { continue };
        complain_of_twin(entry, &server, &servers);
        servers.push(server);
    }
    servers
}

fn server(entry: &Value<'_, '_>) -> Option<Server> {
    if entry.is_text() {
        let address = address(entry)?;
        return Some(Server::plain(address));
    }
    if !entry.is_table() {
        entry.mistyped(
            "\"host:port\" or { address = \"host:port\", name = \"…\", weight = 1, draining = false }",
        );
        return None;
    }
    let section = entry.as_section();
    let address = match section.get("address") {
        Some(value) => address(&value),
        None => {
            section.missing("address", "write address = \"host:port\"");
            None
        }
    };
    let name = section.get("name").and_then(|value| name(&value));
    let weight = section.number("weight", 1, 0..=WEIGHT_MAX);
    let draining = section.flag("draining", false);
    let no_promote = section.flag("no_promote", false);
    let priority = section.number("priority", 0, 0..=PRIORITY_MAX);
    let proxy_protocol = section.flag("proxy_protocol", false);
    section.finish();
    let plain = Server::plain(address?);
    Some(Server {
        name: name.unwrap_or(plain.name),
        weight,
        draining,
        no_promote,
        priority,
        proxy_protocol,
        ..plain
    })
}

impl Server {
    /// A server of which nothing is given but its address.
    pub fn plain(address: impl Into<String>) -> Self {
        let address = address.into();
        Self {
            name: address.clone(),
            address,
            weight: 1,
            draining: false,
            no_promote: false,
            priority: 0,
            proxy_protocol: false,
        }
    }
}

fn complain_of_twin(entry: &Value<'_, '_>, server: &Server, others: &[Server]) {
    let at = others.iter().position(|other| other.address == server.address);
    if let Some(at) = at {
        let problem = format!("{} is already listed as servers[{at}]", server.address);
        return entry.wrong(problem, "remove one of them");
    }
    if let Some(at) = others.iter().position(|other| other.name == server.name) {
        let problem = format!("the name {:?} is already that of servers[{at}]", server.name);
        entry.wrong(problem, "give each server its own name");
    }
}

/// Names stand in hints, logs and tables, so they hold no blanks and nothing that could end a comment.
fn name(value: &Value<'_, '_>) -> Option<String> {
    let text = value.text()?;
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.:[]".contains(c);
    if text.is_empty() || text.len() > 64 || !text.chars().all(good) {
        let mend = "allowed is 1 to 64 letters, digits, - _ . : [ ]";
        value.wrong(format!("{text:?} is not a server's name"), mend);
        return None;
    }
    Some(text.to_owned())
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`, as `host:port`; `unix:/path` as it is.
fn address(value: &Value<'_, '_>) -> Option<String> {
    let text = value.text()?;
    let address = complete(text);
    if address.is_none() {
        value.wrong(
            format!("{text:?} is not host:port"),
            "write it as in \"10.0.0.1:3306\", \"db1.example.org:3306\", \"[fd00::1]:3306\" or \"unix:/run/mysqld.sock\"",
        );
    }
    address
}

fn complete(text: &str) -> Option<String> {
    if let Some(path) = text.strip_prefix("unix:") {
        let good = path.starts_with('/') && path.len() <= 100 && path.chars().all(|c| c.is_ascii_graphic());
        return good.then(|| text.to_owned());
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => (host, port.parse().ok().filter(|port| *port != 0)?),
        _ => (text, DEFAULT_PORT),
    };
    let good = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)),
    };
    good.then(|| format!("{host}:{port}"))
}
