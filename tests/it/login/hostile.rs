//! Clients that are not as they should be: garbage, silence, wrong order, too much, too old.

use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use pointsman::config::FrontTlsMode;
use pointsman::flavour::Flavour;
use pointsman::net::{Channel, Stream};
use pointsman::serve::login::{LOGIN_PACKET_MAX, turn_away};
use pointsman::wire::{
    ErrPacket, Greeting, HEADER_LEN, HandshakeResponse, Header, capability, code, handshake, push_packet,
};

use super::rig::{Front, PATIENCE, TempDir, front, front_tls};

/// Connects and reads the greeting.
async fn greeted(front: &Front) -> TcpStream {
    let mut tcp = TcpStream::connect(front.address).await.expect("a front that listens");
    let mut header = [0; HEADER_LEN];
    tcp.read_exact(&mut header).await.expect("a greeting");
    let mut payload = vec![0; Header::read(&header).expect("a header").len];
    tcp.read_exact(&mut payload).await.expect("a greeting");
    Greeting::parse(&payload).expect("a greeting");
    tcp
}

fn packet(payload: &[u8], sequence: u8) -> Vec<u8> {
    let mut out = Vec::new();
    push_packet(&mut out, payload, sequence);
    out
}

fn response(capabilities: u32, plugin: Option<&[u8]>) -> Vec<u8> {
    let auth = [7; 20];
    HandshakeResponse { capabilities, user: b"app", auth: &auth, plugin, ..HandshakeResponse::default() }
        .payload()
}

/// The last packet before the front closes; `None` if there is none.
async fn last_words(tcp: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    // The front may close while bytes of ours are still unread, which resets the connection.
    let _ = tokio::time::timeout(PATIENCE, tcp.read_to_end(&mut bytes)).await.expect("an end in time");
    let mut last = None;
    let mut rest = bytes.as_slice();
    while let Some(header) = Header::read(rest) {
        let (packet, tail) = rest.split_at(HEADER_LEN + header.len);
        last = Some(ErrPacket::parse(&packet[HEADER_LEN..]).expect("an error").to_string());
        rest = tail;
    }
    last
}

#[tokio::test]
async fn what_is_no_login_is_refused() {
    const ALL: u32 = capability::offered_to_clients(true, false);
    let native = Some(&b"mysql_native_password"[..]);
    let no_plugins = ALL & !capability::PLUGIN_AUTH;
    let bad = "1043 (08S01): Bad handshake";
    let too_old = "1251 (08004): Client does not support authentication protocol requested by server; consider \
                   upgrading MySQL client";
    let cases = [
        ("an empty packet", packet(&[], 1), Some(bad)),
        ("flags alone", packet(&ALL.to_le_bytes(), 1), Some(bad)),
        ("the protocol before 4.1", packet(b"\x05\0\0\0\x01app\0secret\0", 1), Some(bad)),
        ("another protocol", b"GET / HTTP/1.1\r\nHost: db\r\n\r\n".to_vec(), Some(bad)),
        ("a response out of order", packet(&response(ALL, native), 2), Some(bad)),
        ("a request for TLS that is not offered", packet(&handshake::ssl_request(ALL, 45), 1), Some(bad)),
        (
            "a response too long",
            Header { len: LOGIN_PACKET_MAX + 1, sequence: 1 }.bytes().to_vec(),
            Some(bad),
        ),
        ("a wrong proof by a client without plugins", packet(&response(no_plugins, None), 1), Some(too_old)),
    ];
    let mut front = Front::start(Flavour::MySql, front(&[("app", "secret")])).await;
    for (title, bytes, expected) in cases {
        let mut tcp = greeted(&front).await;
        tcp.write_all(&bytes).await.expect("a front that reads");
        assert_eq!(last_words(&mut tcp).await.as_deref(), expected, "{title}");
        front.next().await;
    }
}

#[tokio::test]
async fn a_client_without_plugins_logs_in_by_the_native_one() {
    let front = Front::start(Flavour::MariaDb, front(&[("app", "secret")])).await;
    let mut channel = Channel::new(Stream::Tcp(TcpStream::connect(front.address).await.expect("a front")));
    let (payload, sequence) = channel.read_message(1 << 10).await.expect("a greeting");
    let nonce = Greeting::parse(&payload).expect("a greeting").nonce;
    let proof = mysql_common::scramble::scramble_native(&nonce, b"secret").expect("a proof");
    let capabilities = capability::offered_to_clients(false, false) & !capability::PLUGIN_AUTH;
    let response =
        HandshakeResponse { capabilities, user: b"app", auth: &proof, ..HandshakeResponse::default() };
    channel.write_message(&response.payload(), sequence).await.expect("a front that reads");
    let (payload, _) = channel.read_message(1 << 10).await.expect("an answer");
    assert_eq!(payload.first(), Some(&0), "{payload:x?}");
}

#[tokio::test]
async fn a_silent_client_is_cut_off() {
    let dir = TempDir::new();
    for part in [0, 2, 40] {
        let mut login = front(&[("app", "secret")]);
        login.login_timeout = Duration::from_millis(200);
        login.tls = front_tls(FrontTlsMode::Preferred, &dir);
        let mut front = Front::start(Flavour::MySql, login).await;
        let mut tcp = greeted(&front).await;
        // Nothing, half a header, half a response.
        let response = packet(&response(capability::offered_to_clients(true, false), None), 1);
        tcp.write_all(&response[..part]).await.expect("a front that reads");
        let words = last_words(&mut tcp).await;
        assert_eq!(
            words.as_deref(),
            Some("1159 (08S01): Got timeout reading communication packets"),
            "{part}"
        );
        assert_eq!(front.next().await, "the client took longer than the login may take");
    }
}

#[tokio::test]
async fn a_client_silent_in_the_tls_handshake_is_cut_off() {
    let dir = TempDir::new();
    let mut login = front(&[]);
    login.login_timeout = Duration::from_millis(200);
    login.tls = front_tls(FrontTlsMode::Preferred, &dir);
    let mut front = Front::start(Flavour::MySql, login).await;
    let mut tcp = greeted(&front).await;
    tcp.write_all(&packet(&handshake::ssl_request(!0, 45), 1)).await.expect("a front that reads");
    assert_eq!(last_words(&mut tcp).await, None);
    assert_eq!(front.next().await, "the client took longer than the login may take");
}

#[tokio::test]
async fn a_client_that_asks_for_tls_need_not_wait_for_leave() {
    let dir = TempDir::new();
    let mut login = front(&[]);
    login.tls = front_tls(FrontTlsMode::Preferred, &dir);
    let front = Front::start(Flavour::MySql, login).await;
    let mut tcp = greeted(&front).await;
    // The client hello comes in one piece with the request, as from clients that do not wait.
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let config = rustls::ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let mut tls = rustls::ClientConnection::new(config.into(), name).expect("a client");
    let mut bytes = packet(&handshake::ssl_request(!0, 45), 1);
    tls.write_tls(&mut bytes).expect("a hello");
    tcp.write_all(&bytes).await.expect("a front that reads");
    let mut record = [0; 1];
    tcp.read_exact(&mut record).await.expect("an answer");
    assert_eq!(record, [0x16], "a TLS handshake record");
}

#[tokio::test]
async fn plain_text_behind_the_request_for_tls_is_no_login() {
    let dir = TempDir::new();
    let mut login = front(&[("app", "")]);
    login.tls = front_tls(FrontTlsMode::Preferred, &dir);
    let mut front = Front::start(Flavour::MySql, login).await;
    let mut tcp = greeted(&front).await;
    let mut bytes = packet(&handshake::ssl_request(!0, 45), 1);
    let empty = HandshakeResponse { user: b"app", ..HandshakeResponse::default() };
    bytes.extend(packet(&empty.payload(), 2));
    tcp.write_all(&bytes).await.expect("a front that reads");
    assert!(front.next().await.starts_with("TLS with the client: "));
}

#[tokio::test]
async fn too_many_clients_are_told_before_a_greeting() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let mut client = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("a client");
    let (tcp, _) = listener.accept().await.expect("a client");
    let words = ErrPacket::new(code::CON_COUNT, "Too many connections");
    turn_away(Channel::new(Stream::Tcp(tcp)), &words).await;
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).await.expect("an end");
    assert_eq!(bytes, b"\x17\0\0\0\xff\x10\x04Too many connections");
}
