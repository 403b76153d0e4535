//! How the control account gets into a server.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mysql_async::{ClientIdentity, Conn, DriverError, Error, IoError, OptsBuilder, SslOpts};
use tokio::net::lookup_host;

use super::observation::{Failure, FailureKind, Row};
use crate::config::{self, BackendTls, BackendTlsMode, Secret};

/// Rows of the dictionary may be as long as the longest view.
const PACKET_MAX: usize = 64 << 20;
/// Asked for so that the client does not ask the server; the connection is used far more often.
const WAIT_TIMEOUT_SECONDS: usize = 28_800;

/// One server's address and the account to enter with.
#[derive(Clone)]
pub(super) struct Door {
    /// As configured; brackets around IPv6 removed.
    host: String,
    port: u16,
    /// Entered by a Unix socket instead.
    socket: Option<String>,
    account: Arc<ControlAccount>,
}

pub(super) struct ControlAccount {
    user: String,
    password: Secret,
    tls: BackendTls,
}

impl Door {
    /// The doors of all configured servers, in their order.
    pub(super) fn all(cluster: &config::Cluster) -> Vec<Self> {
        let account = Arc::new(ControlAccount {
            user: cluster.control.user.clone(),
            password: cluster.control.password.clone(),
            tls: cluster.tls.clone(),
        });
        cluster.servers.iter().map(|server| Self::new(&server.address, Arc::clone(&account))).collect()
    }

    fn new(address: &str, account: Arc<ControlAccount>) -> Self {
        if let Some(path) = address.strip_prefix("unix:") {
            return Self { host: "localhost".to_owned(), port: 0, socket: Some(path.to_owned()), account };
        }
        let (host, port) = address.rsplit_once(':').unwrap_or((address, "3306"));
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Self { host, port: port.parse().unwrap_or(3306), socket: None, account }
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Connects and logs in. The caller bounds the time: the client itself has no timeouts.
    pub(super) async fn open(&self) -> Result<Conn, Failure> {
        let addresses = self.addresses().await?;
        // This client cannot speak TLS over a Unix socket, where nobody listens in anyway.
        let tls = if self.socket.is_some() { None } else { tls(&self.account.tls) };
        let opened = Conn::new(self.options(&addresses, tls)).await;
        let opened = match opened {
            Err(Error::Driver(DriverError::NoClientSslFlagFromServer))
                if self.account.tls.mode == BackendTlsMode::Preferred =>
            {
                Conn::new(self.options(&addresses, None)).await
            }
            opened => opened,
        };
        opened.map_err(|error| failure(&error))
    }

    async fn addresses(&self) -> Result<Vec<IpAddr>, Failure> {
        if self.socket.is_some() {
            return Ok(Vec::new());
        }
        let addresses = lookup_host((self.host.as_str(), self.port)).await.map_err(|error| {
            let text = format!("the name {} cannot be resolved: {error}", self.host);
            Failure { kind: FailureKind::Other, text: text.into() }
        })?;
        Ok(addresses.map(|address| address.ip()).collect())
    }

    fn options(&self, addresses: &[IpAddr], tls: Option<SslOpts>) -> OptsBuilder {
        OptsBuilder::default()
            .ip_or_hostname(self.host.as_str())
            .tcp_port(self.port)
            .resolved_ips(Some(addresses))
            .user(Some(self.account.user.as_str()))
            .pass(Some(self.account.password.reveal()))
            // Else a local server would be probed through its socket and not the way applications go.
            .prefer_socket(false)
            .socket(self.socket.clone())
            .max_allowed_packet(Some(PACKET_MAX))
            .wait_timeout(Some(WAIT_TIMEOUT_SECONDS))
            .tcp_keepalive(Some(Duration::from_secs(10)))
            .stmt_cache_size(0)
            .ssl_opts(tls)
    }
}

/// `verify-ca` is performed as `verify-full`: this client cannot leave out the check of names (its option for
/// that has no effect with rustls), and to check less than was asked for is worse than to refuse.
fn tls(tls: &BackendTls) -> Option<SslOpts> {
    let identity = tls.certificate.clone().zip(tls.key.clone());
    let identity = identity.map(|(certificate, key)| ClientIdentity::new(certificate.into(), key.into()));
    let options = SslOpts::default().with_client_identity(identity);
    match tls.mode {
        BackendTlsMode::Disabled => None,
        BackendTlsMode::Preferred | BackendTlsMode::Required => {
            Some(options.with_danger_accept_invalid_certs(true))
        }
        BackendTlsMode::VerifyCa | BackendTlsMode::VerifyFull => {
            let authorities = tls.ca.iter().map(|path| path.clone().into()).collect();
            Some(options.with_root_certs(authorities).with_disable_built_in_roots(true))
        }
    }
}

/// Whether the connection, and not the statement, is at fault.
pub(super) fn is_broken(error: &Error) -> bool {
    match error {
        // Shutdown in progress; closed for being idle.
        Error::Server(error) => matches!(error.code, 1053 | 1927 | 4031),
        _ => true,
    }
}

/// What an error of the client says about the server.
pub(super) fn failure(error: &Error) -> Failure {
    let kind = match error {
        Error::Server(error) => FailureKind::of_code(error.code),
        Error::Io(IoError::Io(error)) => match error.kind() {
            std::io::ErrorKind::ConnectionRefused => FailureKind::Refused,
            std::io::ErrorKind::TimedOut => FailureKind::Timeout,
            _ => FailureKind::Other,
        },
        _ => FailureKind::Other,
    };
    let text = match error {
        Error::Server(error) => error.to_string(),
        Error::Io(IoError::Io(error)) => error.to_string(),
        Error::Io(IoError::Tls(error)) => format!("TLS: {error}"),
        Error::Driver(error) => error.to_string(),
        error => error.to_string(),
    };
    Failure { kind, text: text.trim_end_matches('.').into() }
}

/// A row as the pure rooms read it. Bytes that are no text are shown as such.
pub(super) fn row(row: &mysql_async::Row) -> Row {
    let column = |(index, column): (usize, &mysql_async::Column)| {
        (column.name_str().into_owned(), bytes(row, index).map(|b| String::from_utf8_lossy(b).into_owned()))
    };
    Row(row.columns_ref().iter().enumerate().map(column).collect())
}

/// A column's bytes, as the text protocol sends every value; `None` for NULL.
pub(super) fn bytes(row: &mysql_async::Row, index: usize) -> Option<&[u8]> {
    match row.as_ref(index) {
        Some(mysql_async::Value::Bytes(bytes)) => Some(bytes),
        _ => None,
    }
}
