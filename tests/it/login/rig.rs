//! What the tests of the login share.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mysql_async::OptsBuilder;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

use pointsman::backend::{BackendTlsSetup, Credential, Target};
use pointsman::config::{BackendTls, BackendTlsMode, FrontTls, FrontTlsMode, Secret, User};
use pointsman::flavour::Flavour;
use pointsman::net::{Channel, Stream};
use pointsman::serve::accounts::CredentialCache;
use pointsman::serve::login::{self, FrontLogin, Hello, LoggedIn, LoginError, Servers, Session};
use pointsman::serve::tls::FrontTlsSetup;
use pointsman::topology::{self, Epoch, Publisher, Role, Server, ServerId, Snapshot, Standing};
use pointsman::wire::auth::{Password, RsaKey};
use pointsman::wire::{Command, OkPacket};

/// One key for a whole test: it takes a tenth of a second to make.
pub(super) fn rsa_key() -> &'static RsaKey {
    static KEY: OnceLock<RsaKey> = OnceLock::new();
    KEY.get_or_init(fresh_rsa_key)
}

pub(super) fn fresh_rsa_key() -> RsaKey {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).expect("a key");
    RsaKey::new(key.serialized_der(), key.public_key_pem()).expect("an RSA key")
}

/// Long enough for anything that is to happen, on a busy machine too.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// A folder that is gone when the test is over.
pub(super) struct TempDir(PathBuf);

impl TempDir {
    pub(super) fn new() -> Self {
        let mut random = [0; 8];
        aws_lc_rs::rand::fill(&mut random).expect("randomness");
        let name = format!("pointsman-login-{:016x}", u64::from_le_bytes(random));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("a new folder");
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("a writable folder");
        path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // What is left is in the temporary folder anyway.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An authority, and certificates signed by it.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(super) pem: String,
}

impl Authority {
    pub(super) fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("a certificate");
        Self { pem: certificate.pem(), issuer: Issuer::new(params, key) }
    }

    /// Certificate and key in PEM.
    pub(super) fn sign(&self, names: &[&str]) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names).expect("names");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }
}

pub(super) fn backend_tls(mode: BackendTlsMode, ca: Option<PathBuf>) -> Arc<BackendTlsSetup> {
    let config = BackendTls { mode, ca, certificate: None, key: None };
    Arc::new(BackendTlsSetup::load(&config).expect("a TLS setup"))
}

pub(super) fn target(address: impl Into<Arc<str>>, tls: &Arc<BackendTlsSetup>) -> Target {
    Target {
        address: address.into(),
        tls: Arc::clone(tls),
        connect_timeout: PATIENCE,
        compression: None,
        proxy_protocol: false,
    }
}

pub(super) fn credential(user: &str, password: &str) -> Credential {
    Credential { user: user.to_owned(), password: Password::clear(password) }
}

/// A front with its own port. Sessions answer OK to everything.
pub(super) struct Front {
    pub(super) address: SocketAddr,
    /// How each login and each change of user ended, in order.
    ended: mpsc::UnboundedReceiver<String>,
    accepted: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Front {
    pub(super) async fn start(flavour: Flavour, login: FrontLogin) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (tell, ended) = mpsc::unbounded_channel();
        let login = Arc::new(login);
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        let task = tokio::spawn(async move {
            let mut sessions = JoinSet::new();
            loop {
                let Ok((tcp, _)) = listener.accept().await else { return };
                count.fetch_add(1, SeqCst);
                let (login, tell) = (Arc::clone(&login), tell.clone());
                sessions.spawn(async move { serve(tcp, flavour, &login, &tell).await });
            }
        });
        Self { address, ended, accepted, task }
    }

    /// How the next login ended.
    pub(super) async fn next(&mut self) -> String {
        let next = tokio::time::timeout(PATIENCE, self.ended.recv()).await;
        next.expect("a login in time").expect("a front that runs")
    }

    /// Connections so far.
    pub(super) fn accepted(&self) -> usize {
        self.accepted.load(SeqCst)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(tcp: TcpStream, flavour: Flavour, login: &FrontLogin, tell: &mpsc::UnboundedSender<String>) {
    let version = if flavour == Flavour::MySql { "9.7.4" } else { "10.11.19-MariaDB" };
    let hello = Hello { thread_id: 1, version, flavour, collation: 45 };
    let mut result = login::log_in(Channel::new(Stream::Tcp(tcp)), &hello, login).await;
    loop {
        // The test may be over.
        let _ = tell.send(summary(&result));
        let Ok(mut session) = result else { return };
        let Some((payload, sequence)) = answer_all(&mut session).await else { return };
        let LoggedIn { channel, peer, capabilities, collation, nonce, .. } = session;
        let session = Session { channel, peer, capabilities, collation, nonce, stays: false };
        result = login::change_user(session, &payload, sequence, login).await.map_err(|(error, _)| error);
    }
}

fn summary(result: &Result<LoggedIn, LoginError>) -> String {
    match result {
        Ok(session) => {
            let user = &session.credential.user;
            let schema = session.schema.as_deref().map(|schema| format!("/{schema}")).unwrap_or_default();
            let tls = if session.channel.stream().is_tls() { " over TLS" } else { "" };
            let backend = match &session.backend {
                Some((id, _)) => format!(", session on server {}", id.0),
                None => String::new(),
            };
            let how = match session.credential.password {
                Password::Clear(_) => "",
                Password::NativeHash(_) => " by hash",
            };
            format!("{user}{schema}{tls}: {:?}{how}{backend}", session.admitted)
        }
        Err(error) => error.to_string(),
    }
}

/// Answers OK until the client leaves (`None`) or wants to be another user.
async fn answer_all(session: &mut LoggedIn) -> Option<(Vec<u8>, u8)> {
    let mut ok = Vec::new();
    OkPacket::default().push_payload(&mut ok, 0, session.capabilities);
    loop {
        let (payload, sequence) = session.channel.read_message(1 << 20).await.ok()?;
        match Command::of(*payload.first()?) {
            Command::Quit => return None,
            Command::ChangeUser => return Some((payload, sequence)),
            _ => session.channel.write_message(&ok, sequence).await.ok()?,
        };
    }
}

/// A front for listed users only, without TLS.
pub(super) fn front(users: &[(&str, &str)]) -> FrontLogin {
    let user =
        |(name, password): &(&str, &str)| User { name: (*name).to_owned(), password: Secret::new(*password) };
    FrontLogin {
        tls: None,
        rsa: fresh_rsa_key(),
        users: login::listed(&users.iter().map(user).collect::<Vec<_>>()),
        servers: None,
        accounts: Box::new(|_| None),
        cache: CredentialCache::new(Duration::from_secs(300)),
        login_timeout: PATIENCE,
        extra: 0,
        withheld: 0,
        proxy_protocol: None,
    }
}

/// TLS with the certificate that is generated in `dir`.
pub(super) fn front_tls(mode: FrontTlsMode, dir: &TempDir) -> Option<FrontTlsSetup> {
    let config = FrontTls { mode, certificate: None, key: None, client_ca: None };
    FrontTlsSetup::load(&config, dir.path()).expect("a TLS setup")
}

/// A cluster as the control line would publish it. All servers serve.
pub(super) fn snapshot(addresses: &[SocketAddr], primary: Option<u16>) -> Snapshot {
    let server = |(id, address): (usize, &SocketAddr)| Server {
        id: ServerId(u16::try_from(id).expect("few servers")),
        name: address.to_string().into(),
        address: address.to_string().into(),
        role: Role::Replica,
        standing: Standing::Serving,
        lag: None,
        weight: 1,
        version: None,
        version_text: "".into(),
        gtid: "".into(),
    };
    Snapshot {
        epoch: Epoch(1),
        primary: primary.map(ServerId),
        servers: addresses.iter().enumerate().map(server).collect(),
    }
}

/// The servers of a snapshot, to be asked without TLS.
pub(super) fn servers(snapshot: Snapshot) -> (Publisher, Servers) {
    let tls = backend_tls(BackendTlsMode::Disabled, None);
    let targets = snapshot.servers.iter().map(|server| target(Arc::clone(&server.address), &tls)).collect();
    let (publisher, reader) = topology::channel(snapshot);
    (publisher, Servers::new(reader, targets))
}

/// How a login with mysql_async ended: nothing, or the server's error.
pub(super) async fn try_login(options: OptsBuilder) -> Result<mysql_async::Conn, String> {
    let options = options.prefer_socket(false).max_allowed_packet(Some(1 << 24)).wait_timeout(Some(60));
    match tokio::time::timeout(PATIENCE, mysql_async::Conn::new(options)).await.expect("an end in time") {
        Ok(conn) => Ok(conn),
        Err(mysql_async::Error::Server(error)) => {
            Err(format!("{} ({}): {}", error.code, error.state, error.message))
        }
        Err(error) => Err(error.to_string()),
    }
}

pub(super) fn options(address: SocketAddr, user: &str, password: &str) -> OptsBuilder {
    OptsBuilder::default()
        .ip_or_hostname("localhost")
        .resolved_ips(Some(vec![address.ip()]))
        .tcp_port(address.port())
        .user(Some(user))
        .pass(Some(password))
}
