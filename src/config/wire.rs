//! How connections are made beyond addresses and TLS: compression, Unix sockets, the PROXY protocol.

use std::fmt;
use std::net::IpAddr;

use super::CompressionAlgorithm::{self, Zlib, Zstd};
use super::file::{Section, Value};
use super::refer::Surroundings;
use super::{ListenSocket, ProxyProtocol};

const ALGORITHMS: [(&str, CompressionAlgorithm); 2] = [("zlib", Zlib), ("zstd", Zstd)];

/// `listen.compression`: a list of names, each once.
pub(super) fn offered(listen: &Section<'_, '_>) -> Option<Vec<CompressionAlgorithm>> {
    let mut offered = Vec::new();
    for entry in listen.get("compression")?.list()? {
        let name = entry.text()?;
        match ALGORITHMS.iter().find(|(known, _)| *known == name) {
            Some((_, algorithm)) if offered.contains(algorithm) => {
                entry.wrong(format!("{name:?} is listed twice"), "remove one of them");
            }
            Some((_, algorithm)) => offered.push(*algorithm),
            None => entry.wrong(format!("{name:?} is not a choice"), "allowed is \"zlib\" and \"zstd\""),
        }
    }
    Some(offered)
}

/// `cluster.compression`.
pub(super) fn towards_servers(cluster: &Section<'_, '_>) -> Option<CompressionAlgorithm> {
    let choices = [("off", None), ("zlib", Some(Zlib)), ("zstd", Some(Zstd))];
    cluster.choice("compression", None, &choices)
}

/// As it is written in the file.
pub(super) fn name(algorithm: CompressionAlgorithm) -> &'static str {
    match algorithm {
        Zlib => "zlib",
        Zstd => "zstd",
    }
}

/// Who may connect where nothing is said: everybody on the machine, as to servers' own sockets.
const MODE: u32 = 0o777;

/// `listen.socket`: a path, or a path and a mode.
pub(super) fn socket(listen: &Section<'_, '_>, around: &Surroundings<'_>) -> Option<ListenSocket> {
    let value = listen.get("socket")?;
    if value.is_text() {
        return Some(ListenSocket { path: around.folder.join(socket_path(&value)?), mode: MODE });
    }
    if !value.is_table() {
        value.mistyped("a path in quotes or { path = \"…\", mode = \"0770\" }");
        return None;
    }
    let section = value.as_section();
    let path = section.get("path");
    if path.is_none() {
        section.missing("path", "write path = \"/run/pointsman.sock\"");
    }
    let path = path.and_then(|path| socket_path(&path).map(|path| around.folder.join(path)));
    let mode = section.get("mode").map_or(Some(MODE), |mode| octal(&mode));
    section.finish();
    Some(ListenSocket { path: path?, mode: mode? })
}

/// Longer paths do not fit into a socket's address.
const PATH_LEN_MAX: usize = 100;

fn socket_path<'t>(value: &Value<'t, '_>) -> Option<&'t str> {
    let path = value.text()?;
    if path.is_empty() || path.len() > PATH_LEN_MAX || path.contains('\0') {
        value.wrong(
            format!("{path:?} is no path of a socket"),
            format!("allowed is 1 to {PATH_LEN_MAX} bytes"),
        );
        return None;
    }
    Some(path)
}

fn octal(value: &Value<'_, '_>) -> Option<u32> {
    let text = value.text()?;
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
    if mode.is_none() {
        value.wrong(format!("{text:?} is no mode"), "write it as in \"0770\" or \"0777\"");
    }
    mode
}

/// `listen.proxy_protocol`.
pub(super) fn proxy_protocol(listen: &Section<'_, '_>) -> Option<ProxyProtocol> {
    let value = listen.get("proxy_protocol")?;
    if !value.is_table() {
        value.mistyped("{ from = [\"10.0.0.0/8\"], required = false }");
        return None;
    }
    let section = value.as_section();
    let list = section.get("from");
    if list.is_none() {
        section.missing("from", "name the load balancers: from = [\"10.0.0.0/8\"]");
    }
    let mut from = Vec::new();
    for entry in list.and_then(|list| list.list()).unwrap_or_default() {
        from.extend(network(&entry));
    }
    let required = section.flag("required", false);
    section.finish();
    Some(ProxyProtocol { from, required })
}

fn network(value: &Value<'_, '_>) -> Option<Network> {
    let text = value.text()?;
    let network = Network::parse(text);
    if network.is_none() {
        value.wrong(
            format!("{text:?} is no network"),
            "write it as in \"10.0.0.0/8\", \"192.0.2.7\" or \"fd00::/8\"",
        );
    }
    network
}

impl ProxyProtocol {
    pub fn trusts(&self, ip: IpAddr) -> bool {
        self.from.iter().any(|network| network.contains(ip))
    }
}

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    /// Leading bits in common.
    bits: u32,
}

impl Network {
    /// An address, or an address and the number of bits that count.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        (bits <= most).then_some(Self { address, bits })
    }

    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                let differ = u32::from(ours) ^ u32::from(theirs);
                differ.leading_zeros() >= self.bits
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                let differ = u128::from(ours) ^ u128::from(theirs);
                differ.leading_zeros() >= self.bits
            }
            _ => false,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}
