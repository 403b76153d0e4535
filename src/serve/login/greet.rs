//! The first words: our greeting, TLS if the client asks for it, and its response.

use std::io;

use zeroize::Zeroizing;

use super::exchange::{Announced, Exchange};
use super::{FrontLogin, Hello, LoginError};
use crate::flavour::{Flavour, Version};
use crate::net::PeerAddress;
use crate::wire::auth::{self, NONCE_LEN, Plugin};
use crate::wire::{Greeting, Malformed, capability, handshake, status};

/// What both sides may agree on.
pub(super) fn offered(hello: &Hello<'_>, front: &FrontLogin) -> u32 {
    let mysql = hello.flavour == Flavour::MySql;
    let mut offered = capability::offered_to_clients(mysql, front.tls.is_some());
    // What servers cannot do must not be agreed on with clients.
    let number = Version::parse(hello.version).number;
    if number < BULK_SINCE {
        offered &= !capability::MARIADB_BULK;
    }
    if number < EXTENDED_METADATA_SINCE {
        offered &= !capability::MARIADB_EXTENDED_METADATA;
    }
    (offered & !front.withheld) | front.extra
}

/// MariaDB's versions.
const BULK_SINCE: u32 = 100_200;
const EXTENDED_METADATA_SINCE: u32 = 100_502;

/// `VERSION()` as greetings have it. MariaDB before 11 puts a MySQL version before its own, and there are clients
/// that take it for a MySQL of this number without, and ask for collations it has not.
pub(super) fn greeted_version(version: &str, flavour: Flavour) -> String {
    match flavour {
        Flavour::MariaDb if version.starts_with("10.") => format!("5.5.5-{version}"),
        _ => version.to_owned(),
    }
}

/// Whether the peer is a load balancer that may, or must, say who its client is.
fn announced(front: &FrontLogin, peer: PeerAddress) -> Announced {
    match &front.proxy_protocol {
        Some(rule) if peer.ip().is_some_and(|ip| rule.trusts(ip)) => {
            if rule.required {
                Announced::Always
            } else {
                Announced::Maybe
            }
        }
        _ => Announced::Never,
    }
}

pub(super) fn fresh_nonce() -> Result<[u8; NONCE_LEN], LoginError> {
    let mut random = [0; NONCE_LEN];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| LoginError::Client(io::Error::other("no randomness")))?;
    Ok(auth::nonce(random))
}

/// Sends the greeting, turns to TLS if asked to, and reads the handshake response.
pub(super) async fn greet(
    exchange: &mut Exchange,
    hello: &Hello<'_>,
    nonce: [u8; NONCE_LEN],
    front: &FrontLogin,
    peer: &mut PeerAddress,
) -> Result<Zeroizing<Vec<u8>>, LoginError> {
    // What most clients of the flavour speak, and what most accounts have.
    let plugin = match hello.flavour {
        Flavour::MySql => Plugin::CachingSha2Password,
        Flavour::MariaDb => Plugin::NativePassword,
    };
    let greeting = Greeting {
        version: greeted_version(hello.version, hello.flavour),
        thread_id: hello.thread_id,
        nonce,
        capabilities: offered(hello, front),
        collation: hello.collation,
        status: status::AUTOCOMMIT,
        plugin: plugin.name().to_owned(),
    };
    exchange.send(&greeting.payload()).await?;
    let (first, client) = exchange.receive_first(announced(front, *peer)).await?;
    if let Some(client) = client {
        *peer = client.into();
    }
    let asks_for_tls = handshake::client_capabilities(&first)? & capability::SSL != 0;
    match &front.tls {
        Some(tls) if asks_for_tls => {
            if first.len() != handshake::SSL_REQUEST_LEN {
                return Err(Malformed("length of the request for TLS").into());
            }
            exchange.encrypt(tls).await?;
            exchange.receive().await
        }
        Some(tls) if tls.certificate_required || (tls.required && !exchange.is_secure()) => {
            Err(LoginError::TlsRequired)
        }
        _ => Ok(first),
    }
}
