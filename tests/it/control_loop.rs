//! The control line performed against ports that refuse, are silent, or turn everybody away.

use std::net::SocketAddr;
use std::time::Duration;

use pointsman::config::{self, Config, Secret};
use pointsman::control::{self, Control};
use pointsman::shutdown;
use pointsman::topology::events::EventKind;
use pointsman::topology::{Exclusion, Snapshot, Standing};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

#[tokio::test]
async fn a_first_round_of_failures_is_published_at_once_and_told() {
    let cluster = cluster(&[
        ("refusing", refusing().await),
        ("silent", silent().await),
        ("full", greeting_with_error(1040, "Too many connections").await),
        ("strict", greeting_with_error(1130, "Host '127.0.0.1' is not allowed to connect").await),
        ("broken", greeting_with(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()).await),
    ]);
    let (control, mut outlook) = Control::new(&cluster, Duration::from_secs(10));
    assert!(outlook.topology.load().servers.iter().all(|server| reason(server) == "not probed yet"));
    let (trigger, shutdown) = shutdown::channel();
    let running = tokio::spawn(control::run(control, shutdown));
    outlook.topology.changed().await;
    let snapshot: Snapshot = Snapshot::clone(&outlook.topology.load());
    assert_eq!(snapshot.primary, None);
    let reasons: Vec<String> = snapshot.servers.iter().map(reason).collect();
    assert!(reasons[0].starts_with("unreachable: Connection refused"), "{}", reasons[0]);
    assert_eq!(reasons[1], "unreachable: no answer within 200ms");
    assert_eq!(reasons[2], "unreachable: ERROR 1040 (HY000): Too many connections");
    let refused = "control account refused: ERROR 1130 (HY000): Host '127.0.0.1' is not allowed to connect";
    assert_eq!(reasons[3], refused);
    assert!(matches!(snapshot.servers[4].standing, Standing::Excluded(Exclusion::Unreachable(_))));
    let kinds: Vec<EventKind> = outlook.events.all().iter().map(|event| event.kind).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == EventKind::ServerExcluded).count(), 5);
    assert_eq!(kinds.iter().filter(|kind| **kind == EventKind::PrimaryLost).count(), 1);
    trigger.close();
    running.await.expect("the control line ends when everything is closed");
}

fn reason(server: &pointsman::topology::Server) -> String {
    server.standing.to_string()
}

fn cluster(servers: &[(&str, SocketAddr)]) -> config::Cluster {
    let mut cluster = Config::default().cluster;
    let server = |(name, address): &(&str, SocketAddr)| config::Server {
        name: (*name).to_owned(),
        ..config::Server::plain(address.to_string())
    };
    cluster.servers = servers.iter().map(server).collect();
    cluster.control.user = "control".to_owned();
    cluster.control.password = Secret::new("password");
    cluster.control.interval = Duration::from_millis(50);
    cluster.control.timeout = Duration::from_millis(200);
    cluster
}

/// A port that nobody listens on any more.
async fn refusing() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    listener.local_addr().expect("bound")
}

async fn silent() -> SocketAddr {
    greeting_with(Vec::new()).await
}

async fn greeting_with_error(code: u16, text: &str) -> SocketAddr {
    let mut payload = vec![0xff];
    payload.extend(code.to_le_bytes());
    payload.extend(text.as_bytes());
    let mut packet = u32::try_from(payload.len()).expect("short").to_le_bytes()[..3].to_vec();
    packet.push(0);
    packet.extend(payload);
    greeting_with(packet).await
}

/// Sends the bytes to everybody who connects, and says nothing more.
async fn greeting_with(bytes: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            // The peer may be gone already; that is its own affair.
            let _ = stream.write_all(&bytes).await;
            held.push(stream);
        }
    });
    address
}
