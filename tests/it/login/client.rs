//! Our client against servers that follow a script: late, wrong, half, never.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use pointsman::backend::{Conn, ConnectError, Login};
use pointsman::config::BackendTlsMode;
use pointsman::net::{Channel, Stream};
use pointsman::wire::auth::{AuthSwitch, auth_more};
use pointsman::wire::{
    ErrPacket, Greeting, HandshakeResponse, OkPacket, attribute, capability, handshake, push_packet, status,
};

use super::rig::{backend_tls, credential, target};

/// What a scripted server does next.
#[derive(Clone)]
enum Act {
    /// Sends a payload as the packet of this number.
    Send(u8, Vec<u8>),
    /// Sends these bytes as they are.
    Raw(Vec<u8>),
    Receive,
    /// Says nothing until the client leaves.
    Hang,
}

fn greeting(extra: u32, without: u32) -> Vec<u8> {
    let greeting = Greeting {
        version: "9.7.4".to_owned(),
        thread_id: 4711,
        nonce: *b"abcdefghijklmnopqrst",
        capabilities: (capability::offered_to_clients(true, false) | extra) & !without,
        collation: 255,
        status: status::AUTOCOMMIT,
        plugin: "caching_sha2_password".to_owned(),
    };
    greeting.payload()
}

fn ok() -> Vec<u8> {
    let mut payload = Vec::new();
    let ok = OkPacket { status: status::AUTOCOMMIT, ..OkPacket::default() };
    ok.push_payload(&mut payload, 0, capability::SESSION_TRACK);
    payload
}

fn switch(plugin: &str) -> Vec<u8> {
    AuthSwitch { plugin: plugin.as_bytes(), data: b"ABCDEFGHIJKLMNOPQRST" }.payload()
}

/// Serves one connection. Returns the payloads received, and all bytes that came after the script.
async fn follow(listener: TcpListener, script: Vec<Act>) -> (Vec<Vec<u8>>, Vec<u8>) {
    let (tcp, _) = listener.accept().await.expect("a client");
    let mut channel = Channel::new(Stream::Tcp(tcp));
    let mut received = Vec::new();
    for act in script {
        match act {
            Act::Send(sequence, payload) => {
                let mut out = Vec::new();
                push_packet(&mut out, &payload, sequence);
                channel.write_all(&out).await.expect("a client that listens");
            }
            Act::Raw(bytes) => channel.write_all(&bytes).await.expect("a client that listens"),
            Act::Receive => {
                let message = channel.read_message_alone(1 << 20).await.expect("a message");
                received.push(message.0);
            }
            Act::Hang => break,
        }
    }
    let Ok(mut stream) = channel.into_stream() else { panic!("the client spoke out of turn") };
    let mut rest = Vec::new();
    // A client that gives up may reset the connection.
    let _ = stream.read_to_end(&mut rest).await;
    (received, rest)
}

/// As `follow`, but the server closes at the end of the script.
async fn follow_and_close(listener: TcpListener, script: Vec<Act>) {
    let (mut tcp, _) = listener.accept().await.expect("a client");
    for act in script {
        match act {
            Act::Raw(bytes) => tcp.write_all(&bytes).await.expect("a client that listens"),
            _ => panic!("not needed here"),
        }
    }
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    (listener, address)
}

fn login() -> Login {
    Login {
        client_capabilities: capability::offered_to_clients(true, false),
        collation: 33,
        schema: Some("shop".to_owned()),
    }
}

async fn connect(address: &str, mode: BackendTlsMode, limit: Option<Duration>) -> Result<Conn, ConnectError> {
    let mut target = target(address, &backend_tls(mode, None));
    target.connect_timeout = limit.unwrap_or(target.connect_timeout);
    Conn::connect(&target, &credential("app", "secret"), &login()).await
}

/// The error in few words; the texts of the operating system and of rustls are left out.
fn show(error: &ConnectError) -> String {
    match error {
        ConnectError::Unreachable(_) => "unreachable".to_owned(),
        ConnectError::Tls(_) => "tls".to_owned(),
        ConnectError::Timeout(_) => "timeout".to_owned(),
        other => other.to_string(),
    }
}

fn error(code: u16, message: &str) -> Vec<u8> {
    ErrPacket::new(code, message).payload()
}

#[tokio::test]
async fn servers_that_misbehave() {
    use Act::{Hang, Raw, Receive, Send};
    use BackendTlsMode::{Disabled, Preferred, Required, VerifyFull};
    let hello = || Send(0, greeting(0, 0));
    let tls_hello = || Send(0, greeting(capability::SSL, 0));
    let blocked = ErrPacket::new(1129, "Host '10.0.0.9' is blocked");
    let cases: Vec<(&str, BackendTlsMode, Vec<Act>, &str)> = vec![
        ("silence", Disabled, vec![Hang], "timeout"),
        ("half a greeting", Disabled, vec![Raw(vec![74, 0, 0, 0, 10, b'9', b'.']), Hang], "timeout"),
        ("no answer to the login", Disabled, vec![hello(), Receive, Hang], "timeout"),
        ("silence after the request for TLS", Required, vec![tls_hello(), Receive, Hang], "timeout"),
        (
            "another protocol",
            Disabled,
            vec![Raw(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()), Hang],
            "protocol: longer than allowed",
        ),
        ("a greeting cut short", Disabled, vec![Send(0, vec![10, b'9', 0, 1]), Hang], "protocol: too short"),
        ("an empty packet", Disabled, vec![Send(0, vec![]), Hang], "protocol: too short"),
        (
            "a greeting out of order",
            Disabled,
            vec![Send(7, greeting(0, 0)), Hang],
            "protocol: packet out of order",
        ),
        (
            "too many connections, without SQLSTATE",
            Disabled,
            vec![Send(0, ErrPacket::new(1040, "Too many connections").payload_before_handshake()), Hang],
            "refused: 1040 (HY000): Too many connections",
        ),
        (
            "a blocked host, with SQLSTATE",
            Disabled,
            vec![Send(0, blocked.payload()), Hang],
            "refused: 1129 (HY000): Host '10.0.0.9' is blocked",
        ),
        (
            "a server without 4.1 authentication",
            Disabled,
            vec![Send(0, greeting(0, capability::SECURE_CONNECTION)), Hang],
            "protocol: a server without 4.1 authentication",
        ),
        (
            "access denied",
            Disabled,
            vec![hello(), Receive, Send(2, error(1045, "Access denied")), Hang],
            "refused: 1045 (28000): Access denied",
        ),
        (
            "an error out of order",
            Disabled,
            vec![hello(), Receive, Send(9, error(1049, "Unknown database 'shop'")), Hang],
            "refused: 1049 (42000): Unknown database 'shop'",
        ),
        (
            "an OK out of order",
            Disabled,
            vec![hello(), Receive, Send(5, ok()), Hang],
            "protocol: packet out of order",
        ),
        (
            "a plugin unheard of",
            Disabled,
            vec![hello(), Receive, Send(2, switch("auth_gssapi_client")), Hang],
            "cannot answer the login plugin auth_gssapi_client",
        ),
        (
            "the password in the clear",
            Preferred,
            vec![hello(), Receive, Send(2, switch("mysql_clear_password")), Hang],
            "cannot answer the login plugin mysql_clear_password",
        ),
        (
            "a public key that is none",
            Disabled,
            vec![
                hello(),
                Receive,
                Send(2, auth_more(&[4])),
                Receive,
                Send(4, auth_more(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")),
                Hang,
            ],
            "protocol: public key of the server",
        ),
        (
            "an unknown word of caching_sha2_password",
            Disabled,
            vec![hello(), Receive, Send(2, auth_more(&[9])), Hang],
            "protocol: unknown request of caching_sha2_password",
        ),
        (
            "a result set in the place of an OK",
            Disabled,
            vec![hello(), Receive, Send(2, vec![3]), Hang],
            "protocol: not a packet of a login",
        ),
        (
            "no TLS where it is required",
            Required,
            vec![hello(), Hang],
            "TLS is required and the server offers none",
        ),
        (
            "words in the place of a TLS handshake",
            Preferred,
            vec![tls_hello(), Receive, Raw(b"\x15 this is no TLS at all".to_vec()), Hang],
            "tls",
        ),
    ];
    for (title, mode, script, expected) in cases {
        let (listener, address) = listen().await;
        let limit = (expected == "timeout").then_some(Duration::from_millis(300));
        let server = tokio::spawn(follow(listener, script));
        match connect(&address, mode, limit).await {
            Ok(_) => panic!("{title}: connected"),
            Err(error) => assert_eq!(show(&error), expected, "{title}"),
        }
        let (received, rest) = server.await.expect("the script");
        let heard = [received.concat(), rest].concat();
        assert!(!heard.windows(6).any(|window| window == b"secret"), "{title}: the password in the clear");
    }
    // VerifyFull needs an authority, so it cannot be set up by accident.
    let config = pointsman::config::BackendTls { mode: VerifyFull, ca: None, certificate: None, key: None };
    assert!(pointsman::backend::BackendTlsSetup::load(&config).is_err());
}

#[tokio::test]
async fn servers_that_are_not_there() {
    let (listener, address) = listen().await;
    drop(listener);
    let refused = connect(&address, BackendTlsMode::Disabled, None).await.err().map(|error| show(&error));
    assert_eq!(refused.as_deref(), Some("unreachable"), "nobody listens");

    let (listener, address) = listen().await;
    let server: JoinHandle<()> = tokio::spawn(follow_and_close(listener, vec![Act::Raw(vec![74, 0])]));
    let closed = connect(&address, BackendTlsMode::Disabled, None).await.err().map(|error| show(&error));
    assert_eq!(closed.as_deref(), Some("unreachable"), "closed in mid-greeting");
    server.await.expect("the script");
}

#[tokio::test]
async fn what_a_server_is_told() {
    let (listener, address) = listen().await;
    let script = vec![Act::Send(0, greeting(0, 0)), Act::Receive, Act::Send(2, ok())];
    let server = tokio::spawn(follow(listener, script));
    let conn = connect(&address, BackendTlsMode::Preferred, None).await.expect("a session");
    assert_eq!((conn.thread_id, conn.version.as_str()), (4711, "9.7.4"));
    assert_eq!((conn.status, conn.collation), (status::AUTOCOMMIT, 33));
    let asked = capability::asked_of_server(login().client_capabilities, !0);
    assert_eq!(conn.capabilities, asked & capability::offered_to_clients(true, false));
    conn.quit().await;
    let (received, rest) = server.await.expect("the script");
    assert_eq!(rest, [1, 0, 0, 0, 1], "a goodbye");
    let response = HandshakeResponse::parse(&received[0]).expect("a response");
    assert_eq!((response.user, response.schema), (&b"app"[..], Some(&b"shop"[..])));
    assert_eq!(response.collation, 33);
    assert_eq!(attribute(response.attributes, b"program_name"), Some(&b"pointsman"[..]));
    assert_eq!(response.capabilities & capability::SSL, 0);
}

#[tokio::test]
async fn the_request_for_tls_and_the_login_have_the_same_flags() {
    // Servers go by those of the request.
    let (listener, address) = listen().await;
    let server = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.expect("a client");
        let mut channel = Channel::new(Stream::Tcp(tcp));
        channel.write_message(&greeting(capability::SSL, 0), 0).await.expect("a client that listens");
        channel.read_message_alone(1 << 10).await.expect("a request").0
    });
    let target = target(address.as_str(), &backend_tls(BackendTlsMode::Required, None));
    let login = Login { schema: None, ..login() };
    let result = Conn::connect(&target, &credential("app", "secret"), &login).await;
    assert!(matches!(result, Err(ConnectError::Tls(_))), "the server leaves at the handshake");
    let request = server.await.expect("the script");
    assert_eq!(request.len(), handshake::SSL_REQUEST_LEN);
    let flags = handshake::client_capabilities(&request).expect("flags");
    assert_eq!(flags & capability::CONNECT_WITH_DB, 0, "no schema, no flag for one");
    assert_ne!(flags & capability::SSL, 0);
}
