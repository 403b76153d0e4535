//! Gives an order to a running proxy, by its admin port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, OptsBuilder};

use crate::config::Config;

/// What came of it: what the proxy says, or why it refuses.
pub(super) type Told = Result<String, String>;

/// Why the proxy could not be asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error("admin.address is not set: a running proxy cannot be asked")]
    NoPort,
    #[error("the admin port {0}: {1}")]
    Unreachable(SocketAddr, mysql_async::Error),
}

/// Logs in to the admin port of the proxy that runs with this configuration, and has it carry out one command.
///
/// # Errors
/// Where nobody answers there, or turns this account away.
pub(super) async fn ask(config: &Config, command: &str) -> Result<Told, AskError> {
    let address = config.admin.address.ok_or(AskError::NoPort)?;
    let control = &config.cluster.control;
    let (user, password) = match config.admin.users.first() {
        Some(user) => (&user.name, &user.password),
        None => (&control.user, &control.password),
    };
    let options = OptsBuilder::default()
        .ip_or_hostname(reached(address.ip()).to_string())
        .tcp_port(address.port())
        .prefer_socket(false)
        .user(Some(user))
        .pass(Some(password.reveal()))
        // Else the client asks for them first.
        .max_allowed_packet(Some(1 << 20))
        .wait_timeout(Some(28_800));
    let unreachable = |error| AskError::Unreachable(address, error);
    let mut conn = Conn::new(options).await.map_err(unreachable)?;
    match conn.query_drop(command).await {
        Ok(()) => Ok(Ok(conn.info().into_owned())),
        Err(mysql_async::Error::Server(error)) => Ok(Err(error.message)),
        Err(error) => Err(unreachable(error)),
    }
}

/// A port bound on every address is reached on this machine's own.
fn reached(bound: IpAddr) -> IpAddr {
    match bound {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        bound => bound,
    }
}
