//! A network of namespaces on this machine: a bridge in one of its own, a cable from it to every node.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use anyhow::{Context, Result, bail, ensure};
use pointsman::playground::Place;

use crate::rehearsal::stage::{NAMES, Node, SERVERS};

/// Nobody's: what is sent there is lost, and nobody is told.
const NOBODY: &str = "02:00:00:00:00:01";

/// Gone when dropped.
pub(crate) struct Net {
    /// Names of everything begin with that.
    prefix: String,
    /// `10.a.b`
    subnet: [u8; 3],
}

impl Net {
    /// Takes root and iproute2.
    pub(crate) fn build() -> Result<Self> {
        static BUILT: AtomicU32 = AtomicU32::new(0);
        let (pid, built) = (std::process::id(), BUILT.fetch_add(1, Relaxed));
        // Names have room for fifteen characters, and what is gone may linger a little under its own.
        let number = (pid + built * 4001) % 12_800;
        let prefix = format!("drill{:x}", pid * 64 + built % 64);
        let net = Self { prefix, subnet: [10, 200 + (number >> 8) as u8, number as u8] };
        // What an earlier process of this number left.
        net.remove();
        let hub = net.hub();
        ip(&["netns", "add", &hub])?;
        ip(&["-n", &hub, "link", "add", "bridge", "type", "bridge"])?;
        ip(&["-n", &hub, "link", "set", "bridge", "up"])?;
        for node in nodes() {
            let namespace = net.namespace(node);
            ip(&["netns", "add", &namespace])?;
            net.wire(&["netns", &namespace], "eth0", net.number(node))?;
            let in_it = |words: &[&str]| ip(&[&["-n", namespace.as_str()], words].concat());
            in_it(&["addr", "add", &format!("{}/24", net.host(node)), "dev", "eth0"])?;
            in_it(&["link", "set", "eth0", "up"])?;
            in_it(&["link", "set", "lo", "up"])?;
        }
        // The end of whoever conducts: nobody cuts it.
        let own = net.own_end();
        net.wire(&["netns", &pid.to_string()], &own, 254)?;
        ip(&["addr", "add", &format!("{}/24", net.address(254)), "dev", &own])?;
        ip(&["link", "set", &own, "up"])?;
        Ok(net)
    }

    /// A cable from the bridge to an end in that namespace.
    fn wire(&self, place: &[&str], end: &str, number: u8) -> Result<()> {
        let (hub, port) = (self.hub(), format!("port{number}"));
        let cable = ["-n", &hub, "link", "add", &port, "type", "veth", "peer", "name", end];
        ip(&[&cable[..], place].concat())?;
        ip(&["-n", &hub, "link", "set", &port, "master", "bridge"])?;
        ip(&["-n", &hub, "link", "set", &port, "up"])
    }

    pub(crate) fn places(&self) -> Vec<Place> {
        let place = |node| Place { host: self.host(node), before: self.enter(node) };
        SERVERS.into_iter().map(place).collect()
    }

    /// What runs a program there.
    pub(crate) fn enter(&self, node: Node) -> Vec<String> {
        ["ip", "netns", "exec", &self.namespace(node)].map(str::to_owned).to_vec()
    }

    pub(crate) fn host(&self, node: Node) -> String {
        self.address(self.number(node))
    }

    /// What the one sends to the other goes nowhere from now on.
    pub(crate) fn cut(&self, from: Node, to: Node) -> Result<()> {
        let (namespace, to) = (self.namespace(from), self.host(to));
        let neighbour = ["-n", &namespace, "neigh", "replace", &to, "lladdr", NOBODY];
        ip(&[&neighbour[..], &["dev", "eth0", "nud", "permanent"]].concat())
    }

    pub(crate) fn heal(&self) -> Result<()> {
        for node in nodes() {
            let namespace = self.namespace(node);
            ip(&["-n", &namespace, "neigh", "flush", "dev", "eth0", "nud", "permanent"])?;
        }
        Ok(())
    }

    fn hub(&self) -> String {
        format!("{}-hub", self.prefix)
    }

    fn own_end(&self) -> String {
        format!("{}h", self.prefix)
    }

    fn namespace(&self, node: Node) -> String {
        match node {
            Node::Server(index) => format!("{}-{}", self.prefix, NAMES[index]),
            Node::Proxy => format!("{}-proxy", self.prefix),
        }
    }

    fn number(&self, node: Node) -> u8 {
        match node {
            Node::Server(index) => index as u8 + 1,
            Node::Proxy => 10,
        }
    }

    fn address(&self, number: u8) -> String {
        let [a, b, c] = self.subnet;
        Ipv4Addr::new(a, b, c, number).to_string()
    }

    fn remove(&self) {
        // Not there is as good as gone. The other cables go with their namespaces, in their own time.
        let _ = ip(&["link", "del", &self.own_end()]);
        for namespace in nodes().map(|node| self.namespace(node)).chain([self.hub()]) {
            let _ = ip(&["netns", "del", &namespace]);
        }
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        self.remove();
    }
}

fn nodes() -> impl Iterator<Item = Node> {
    SERVERS.into_iter().chain([Node::Proxy])
}

fn ip(words: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(words).output().context("ip, of iproute2")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {}: {}", words.join(" "), said.trim());
    Ok(())
}

/// Whether namespaces can be had here.
pub(crate) fn can() -> Result<()> {
    match Net::build() {
        Ok(_) => Ok(()),
        Err(error) => bail!("{error:#}"),
    }
}
