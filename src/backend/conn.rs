//! One connection to a server: from its address to a session that is logged in.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream};
use zeroize::Zeroizing;

use super::tls::BackendTlsSetup;
use crate::config::BackendTlsMode;
use crate::net::{Channel, Peer, Stream};
use crate::wire::auth::{ClientError, ClientLogin, ClientStep, Password};
use crate::wire::{
    Command, Compression, ErrPacket, Greeting, HEADER_LEN, HandshakeResponse, LOCAL_HEADER, Malformed,
    OkPacket, capability, handshake, push_attribute, push_packet,
};

/// Largest packet a server may send before the login is over.
const LOGIN_PACKET_MAX: usize = 64 * 1024;

/// A dead peer is noticed after about a minute and a half of silence, also by a connection nobody reads.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// utf8mb4_general_ci, which every server since 5.5 knows.
const DEFAULT_COLLATION: u8 = 45;

/// Where to connect.
#[derive(Clone)]
pub struct Target {
    /// `host:port`, IPv6 hosts in brackets; or `unix:` and a path.
    pub address: Arc<str>,
    pub tls: Arc<BackendTlsSetup>,
    /// For the whole of connect, TLS handshake and login.
    pub connect_timeout: Duration,
    /// Where the server offers it.
    pub compression: Option<Compression>,
    /// Whether the server, or what stands before it, is told by the PROXY protocol whose connection it is: ours.
    pub proxy_protocol: bool,
}

/// Who logs in.
#[derive(Clone, Debug)]
pub struct Credential {
    pub user: String,
    pub password: Password,
}

/// How the session is to begin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Login {
    /// What the client negotiated; the server is asked for `capability::asked_of_server` of it.
    pub client_capabilities: u32,
    /// Numbers over 255 do not fit into a login: the session begins with utf8mb4_general_ci then.
    pub collation: u16,
    pub schema: Option<String>,
}

/// A session on a server, logged in and not in the midst of anything.
pub struct Conn {
    pub channel: Channel,
    /// What both sides agreed on.
    pub capabilities: u32,
    /// The server's number for the session, as KILL takes it.
    pub thread_id: u32,
    /// The greeting's version text.
    pub version: String,
    /// Status flags of the last OK.
    pub status: u16,
    /// The collation the session began with.
    pub collation: u8,
    pub opened: Instant,
}

/// Why there is no session. Tells whose fault it is, so that the caller knows whether to try elsewhere.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("cannot connect: {0}")]
    Unreachable(io::Error),
    #[error("no session within {0:?}")]
    Timeout(Duration),
    /// The server's own words.
    #[error("refused: {0}")]
    Refused(ErrPacket),
    #[error("protocol: {0}")]
    Protocol(&'static str),
    #[error("TLS: {0}")]
    Tls(io::Error),
    #[error("TLS is required and the server offers none")]
    TlsNotOffered,
    #[error("cannot answer the login plugin {plugin}")]
    CredentialInsufficient { plugin: String },
}

impl Conn {
    /// Connects, encrypts as configured and logs in with whatever plugin the account has.
    pub async fn connect(
        target: &Target,
        credential: &Credential,
        login: &Login,
    ) -> Result<Self, ConnectError> {
        let limit = target.connect_timeout;
        let attempt = connect_without_limit(target, credential, login);
        tokio::time::timeout(limit, attempt).await.unwrap_or(Err(ConnectError::Timeout(limit)))
    }

    /// Says goodbye, so that the server does not count an aborted client.
    pub async fn quit(mut self) {
        // The server may be gone already; there is nobody to tell.
        let _ = self.channel.write_message(&[Command::QUIT], 0).await;
        self.channel.shutdown().await;
    }
}

async fn connect_without_limit(
    target: &Target,
    credential: &Credential,
    login: &Login,
) -> Result<Conn, ConnectError> {
    let stream = reach(&target.address).await.map_err(ConnectError::Unreachable)?;
    let mut channel = Channel::new(stream);
    if target.proxy_protocol {
        // Connections are shared, so there is no one client to name.
        channel.write_all(&LOCAL_HEADER).await.map_err(ConnectError::Unreachable)?;
    }
    let (greeting, sequence) = read_greeting(&mut channel).await?;
    let mut capabilities = capability::asked_of_server(login.client_capabilities, greeting.capabilities);
    let compression = target.compression.filter(|wanted| greeting.capabilities & wanted.flag() != 0);
    capabilities |= compression.map_or(0, Compression::flag);
    if login.schema.is_none() {
        // Servers go by the flags of a request for TLS, so these must be right there already.
        capabilities &= !capability::CONNECT_WITH_DB;
    }
    let plan = Plan { capabilities, compression, collation: collation_of(login), greeting };
    let (channel, sequence) = encrypt(channel, sequence, target, &plan).await?;
    let (mut channel, status) = log_in(channel, sequence, credential, login, &plan).await?;
    let Plan { capabilities, compression, collation, greeting } = plan;
    if let Some(compression) = compression {
        channel.compress(compression, Peer::Server);
    }
    let Greeting { thread_id, version, .. } = greeting;
    Ok(Conn { channel, capabilities, thread_id, version, status, collation, opened: Instant::now() })
}

/// What the greeting made of the login.
struct Plan {
    greeting: Greeting,
    capabilities: u32,
    compression: Option<Compression>,
    collation: u8,
}

async fn reach(address: &str) -> io::Result<Stream> {
    if let Some(path) = address.strip_prefix("unix:") {
        return UnixStream::connect(path).await.map(Stream::Unix);
    }
    let tcp = TcpStream::connect(address).await?;
    prepare_socket(&tcp)?;
    Ok(Stream::Tcp(tcp))
}

fn prepare_socket(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    SockRef::from(tcp).set_tcp_keepalive(&keepalive)
}

fn collation_of(login: &Login) -> u8 {
    match u8::try_from(login.collation) {
        Ok(0) | Err(_) => DEFAULT_COLLATION,
        Ok(collation) => collation,
    }
}

async fn read_greeting(channel: &mut Channel) -> Result<(Greeting, u8), ConnectError> {
    let (payload, sequence) = read(channel, 0).await?;
    if payload.first() == Some(&0xFF) {
        return Err(ConnectError::Refused(ErrPacket::parse(&payload)?));
    }
    Ok((Greeting::parse(&payload)?, sequence))
}

async fn encrypt(
    mut channel: Channel,
    sequence: u8,
    target: &Target,
    plan: &Plan,
) -> Result<(Channel, u8), ConnectError> {
    let offered = plan.greeting.capabilities & capability::SSL != 0;
    match target.tls.mode() {
        BackendTlsMode::Disabled => return Ok((channel, sequence)),
        // Nobody listens in to a Unix socket.
        BackendTlsMode::Preferred if !offered || channel.stream().is_secure() => {
            return Ok((channel, sequence));
        }
        BackendTlsMode::Required | BackendTlsMode::VerifyCa | BackendTlsMode::VerifyFull if !offered => {
            return Err(ConnectError::TlsNotOffered);
        }
        _ => {}
    }
    let request = handshake::ssl_request(plan.capabilities, plan.collation);
    let sequence = send(&mut channel, &request, sequence).await?;
    let socket = channel.into_stream().map_err(ConnectError::Tls)?.into_socket();
    let socket = socket.ok_or(ConnectError::Protocol("TLS within TLS"))?;
    let tls = target.tls.connect(host_of(&target.address), socket).await.map_err(ConnectError::Tls)?;
    Ok((Channel::new(Stream::Tls(Box::new(tls))), sequence))
}

async fn log_in(
    mut channel: Channel,
    mut sequence: u8,
    credential: &Credential,
    login: &Login,
    plan: &Plan,
) -> Result<(Channel, u16), ConnectError> {
    let encrypted = channel.stream().is_tls();
    let Greeting { plugin, nonce, .. } = &plan.greeting;
    let mut machine = ClientLogin::new(&credential.password, channel.stream().is_secure(), plugin, *nonce);
    let (plugin, answer) = machine.first();
    let response = HandshakeResponse {
        capabilities: if encrypted { plan.capabilities | capability::SSL } else { plan.capabilities },
        collation: plan.collation,
        user: credential.user.as_bytes(),
        auth: &answer,
        schema: login.schema.as_deref().map(str::as_bytes),
        plugin: Some(plugin.as_bytes()),
        attributes: &own_attributes(),
        zstd_level: plan.compression.map_or(0, Compression::level),
    };
    sequence = send(&mut channel, &response.payload(), sequence).await?;
    loop {
        let payload;
        (payload, sequence) = read(&mut channel, sequence).await?;
        match machine.handle(&payload)? {
            ClientStep::Send(answer) => sequence = send(&mut channel, &answer, sequence).await?,
            ClientStep::Wait => {}
            ClientStep::Done => {
                let status = OkPacket::parse(&payload, plan.capabilities)?.status;
                return Ok((channel, status));
            }
        }
    }
}

/// What servers are told of who connects. Connections are shared, so it is the proxy and none of its clients.
fn own_attributes() -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in [
        ("_client_name", "pointsman"),
        ("_client_version", env!("CARGO_PKG_VERSION")),
        ("_os", std::env::consts::OS),
        ("_platform", std::env::consts::ARCH),
        ("_pid", &std::process::id().to_string()),
        ("program_name", "pointsman"),
    ] {
        push_attribute(&mut block, name, value);
    }
    block
}

/// Reads the packet numbered `expected`. Returns the number after it.
async fn read(channel: &mut Channel, expected: u8) -> Result<(Vec<u8>, u8), ConnectError> {
    let (payload, next) = channel.read_message(LOGIN_PACKET_MAX).await.map_err(read_error)?;
    // An ERR may come out of turn: the server gives up without waiting for us.
    if next != expected.wrapping_add(1) && payload.first() != Some(&0xFF) {
        return Err(ConnectError::Protocol("packet out of order"));
    }
    Ok((payload, next))
}

fn read_error(error: io::Error) -> ConnectError {
    match error.get_ref().map(|inner| (inner.downcast_ref::<Malformed>(), inner.is::<rustls::Error>())) {
        Some((Some(malformed), _)) => ConnectError::from(*malformed),
        Some((None, true)) => ConnectError::Tls(error),
        _ => ConnectError::Unreachable(error),
    }
}

/// Sends one packet. Returns the number after it.
async fn send(channel: &mut Channel, payload: &[u8], sequence: u8) -> Result<u8, ConnectError> {
    // Wiped, because it may hold the password.
    let mut out = Zeroizing::new(Vec::with_capacity(payload.len() + HEADER_LEN));
    let next = push_packet(&mut out, payload, sequence);
    channel.write_all(&out).await.map_err(ConnectError::Unreachable)?;
    Ok(next)
}

/// `host` of `host:port`, without an IPv6 address's brackets.
fn host_of(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

impl From<Malformed> for ConnectError {
    fn from(Malformed(what): Malformed) -> Self {
        ConnectError::Protocol(what)
    }
}

impl From<ClientError> for ConnectError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused(refusal) => ConnectError::Refused(refusal),
            ClientError::Insufficient { plugin } => ConnectError::CredentialInsufficient { plugin },
            ClientError::Malformed(malformed) => malformed.into(),
        }
    }
}
