//! The ways to come in and to go on: load balancers before the proxy, Unix sockets, IPv6.

use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, SslOpts};
use pointsman::config::{FrontTlsMode, ListenSocket, Network, ProxyProtocol};
use pointsman::flavour::Flavour;
use pointsman::net::PeerAddress;
use pointsman::playground::{APP, Options, ROOT, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::clusters::{both, private, shared};
use crate::load::{eventually, refusal};
use crate::through::Proxy;

both![
    programs_are_known_by_name,
    load_balancers_name_their_clients,
    headers_that_may_not_be_sent_close_the_connection,
    clients_of_this_machine_use_the_socket,
    servers_are_reached_by_socket_and_by_ipv6,
    local_files_can_be_refused,
];

/// A load balancer: each connection to it is one to the proxy that begins with `header`.
async fn balancer(proxy: &Proxy, header: &[u8]) -> Result<SocketAddr> {
    let (front, header) = (proxy.running.front, header.to_vec());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let header = header.clone();
            tokio::spawn(async move {
                let Ok(mut server) = TcpStream::connect(front).await else { return };
                if server.write_all(&header).await.is_ok() {
                    // However it ends, both ends are closed then.
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    });
    Ok(address)
}

fn from(networks: &[&str], required: bool) -> Option<ProxyProtocol> {
    let from = networks.iter().filter_map(|network| Network::parse(network)).collect();
    Some(ProxyProtocol { from, required })
}

fn via(proxy: &Proxy, balancer: SocketAddr) -> OptsBuilder {
    proxy.opts(APP).tcp_port(balancer.port())
}

fn v2(rest: &[u8]) -> Vec<u8> {
    [b"\r\n\r\n\0\r\nQUIT\n", rest].concat()
}

async fn programs_are_known_by_name(flavour: Flavour) -> Result<()> {
    let cluster = shared(flavour).await?;
    let proxy = Proxy::start(cluster, |_| {}).await?;
    let mut client = Conn::new(proxy.opts(APP).connect_attribute("program_name", "billing\n")).await?;
    let thread: Option<u32> = client.query_first("SELECT 1 FROM fruit LIMIT 1").await?;
    assert!(thread.is_some());
    let session = proxy.running.house.registry.get(client.id()).context("registered")?;
    assert_eq!(session.program.as_deref(), Some("billing"), "shown without what would break a table");
    if flavour == Flavour::MySql {
        // The servers are told of the proxy, and of no client: connections are shared.
        client.query_drop("BEGIN").await?;
        let (_, thread) = session.seen().backend.context("the transaction holds a connection")?;
        let mut server = cluster.primary.connect(ROOT).await?;
        let named: Vec<String> = server
            .query(format!(
                "SELECT ATTR_VALUE FROM performance_schema.session_connect_attrs \
                 WHERE PROCESSLIST_ID = {thread} AND ATTR_NAME IN ('program_name', '_client_name')"
            ))
            .await?;
        assert_eq!(named, ["pointsman", "pointsman"]);
    }
    Ok(())
}

async fn load_balancers_name_their_clients(flavour: Flavour) -> Result<()> {
    let cluster = shared(flavour).await?;
    for required in [false, true] {
        let proxy = Proxy::start(cluster, |config| {
            config.listen.proxy_protocol = from(&["10.0.0.0/8", "127.0.0.1"], required);
        })
        .await?;
        let with_more = [&[0x21, 0x11, 0, 16, 192, 0, 2, 9, 127, 0, 0, 1, 0x10, 0, 1, 2][..], &[4, 0, 1, 0]];
        let headers = [
            (b"PROXY TCP4 192.0.2.7 127.0.0.1 56324 3307\r\n".to_vec(), "192.0.2.7"),
            (b"PROXY TCP6 2001:db8::5 ::1 56324 3307\r\n".to_vec(), "2001:db8::5"),
            (v2(&with_more.concat()), "192.0.2.9"),
            (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
            (v2(&[0x20, 0, 0, 0]), "127.0.0.1"),
        ];
        for (header, expected) in headers {
            let balancer = balancer(&proxy, &header).await?;
            for tls in [None, Some(SslOpts::default().with_danger_accept_invalid_certs(true))] {
                let mut client = Conn::new(via(&proxy, balancer).ssl_opts(tls)).await?;
                // A client may know that it is in before it is registered; not so when it has had an answer.
                client.ping().await?;
                let session = proxy.running.house.registry.get(client.id()).context("registered")?;
                assert_eq!(session.peer.host(), expected);
                // The same after a change of user.
                client
                    .change_user(
                        mysql_async::ChangeUserOpts::default()
                            .with_user(Some(APP.user.to_owned()))
                            .with_pass(Some(APP.password.to_owned())),
                    )
                    .await?;
                // A client may know that it is in before it is registered; not so when it has had an answer.
                client.ping().await?;
                let session = proxy.running.house.registry.get(client.id()).context("registered")?;
                assert_eq!(session.peer.host(), expected);
            }
            let denied = Conn::new(via(&proxy, balancer).pass(Some("wrong"))).await;
            let (code, _, message) = refusal(denied.map(drop))?;
            let words = format!("Access denied for user 'app'@'{expected}' (using password: YES)");
            assert_eq!((code, &*message), (1045, &*words));
        }
        // Without a header.
        let plain = proxy.connect().await;
        assert_eq!(plain.is_ok(), !required, "{:?}", plain.err());
    }
    Ok(())
}

async fn headers_that_may_not_be_sent_close_the_connection(flavour: Flavour) -> Result<()> {
    let cluster = shared(flavour).await?;
    let good: &[u8] = b"PROXY TCP4 192.0.2.7 127.0.0.1 56324 3307\r\n";
    let bad = [&b"PROXY TCP4 192.0.2.7\r\n"[..], &v2(&[0x31, 0x11, 0, 0]), b"PROXY nonsense without end"];
    let trusted = from(&["127.0.0.0/8"], false);
    let cases = [(None, good), (from(&["10.0.0.0/8", "fd00::/8"], true), good)]
        .into_iter()
        .chain(bad.map(|bytes| (trusted.clone(), bytes)));
    for (rule, header) in cases {
        let proxy = Proxy::start(cluster, |config| config.listen.proxy_protocol = rule).await?;
        let mut client = TcpStream::connect(proxy.running.front).await?;
        client.write_all(header).await?;
        // It may be closed by now. Closed with bytes unread, it is reset: what was said before may be lost.
        let _ = client.write_all(&[b'x'; 120]).await;
        let mut said = Vec::new();
        let _ = client.read_to_end(&mut said).await;
        assert!(said.is_empty() || said.get(4) == Some(&10), "the greeting and nothing else: {said:?}");
        assert!(!said.windows(4).any(|bytes| bytes == b"\x02\xff\x13\x04"));
        eventually("nobody is logged in", || async { Ok(proxy.running.house.registry.is_empty()) }).await?;
        if header == good {
            proxy.connect().await?.disconnect().await?;
        }
    }
    Ok(())
}

async fn clients_of_this_machine_use_the_socket(flavour: Flavour) -> Result<()> {
    let cluster = shared(flavour).await?;
    let path = cluster.folder.join("front.sock");
    // Left behind by a process that is gone.
    drop(std::os::unix::net::UnixListener::bind(&path)?);
    let socket = Some(ListenSocket { path: path.clone(), mode: 0o600 });
    let proxy = Proxy::start(cluster, |config| {
        config.listen.socket.clone_from(&socket);
        // What is never on a network counts as secure.
        config.listen.tls.mode = FrontTlsMode::Required;
    })
    .await?;
    assert_eq!(std::fs::metadata(&path)?.permissions().mode() & 0o777, 0o600);
    let here = || proxy.opts(APP).socket(path.to_str());
    let mut client = Conn::new(here()).await?;
    let one: Option<u8> = client.query_first("SELECT 1").await?;
    assert_eq!(one, Some(1));
    let session = proxy.running.house.registry.get(client.id()).context("registered")?;
    assert_eq!(session.peer, PeerAddress::Local);
    let (code, _, message) = refusal(Conn::new(here().pass(Some("wrong"))).await.map(drop))?;
    assert_eq!((code, &*message), (1045, "Access denied for user 'app'@'localhost' (using password: YES)"));
    let (code, ..) = refusal(Conn::new(proxy.opts(APP)).await.map(drop))?;
    assert_eq!(code, 3159, "TCP without TLS");
    // Somebody listens there: a second proxy does not take it away.
    let second = Proxy::start(cluster, |config| config.listen.socket = socket).await;
    let words = format!("{:#}", second.err().context("the socket is in use")?);
    assert!(words.contains("front.sock") && words.contains("in use"), "{words}");
    let still: Option<u8> = client.query_first("SELECT 2").await?;
    assert_eq!(still, Some(2));
    client.disconnect().await?;
    let before = std::fs::metadata(&path)?.ino();
    proxy.stop().await?;
    assert!(!path.exists(), "{before} is still there");
    // What is no socket is not removed.
    std::fs::write(&path, "precious")?;
    let socket = Some(ListenSocket { path: path.clone(), mode: 0o600 });
    assert!(Proxy::start(cluster, |config| config.listen.socket = socket).await.is_err());
    assert_eq!(std::fs::read_to_string(&path)?, "precious");
    std::fs::remove_file(&path)?;
    Ok(())
}

fn socket_of(server: &Server) -> Result<PathBuf> {
    let log = server.error_log();
    let folder = log.parent().context("a folder")?;
    let candidates = [folder.join("server.sock"), folder.join("data/server.sock")];
    candidates.into_iter().find(|path| path.exists()).context("the server's socket")
}

async fn servers_are_reached_by_socket_and_by_ipv6(flavour: Flavour) -> Result<()> {
    let mut options = Options { replicas: 1, ..Options::new(Some(flavour)) };
    options.server_options.push("--bind-address=127.0.0.1,::1".to_owned());
    if flavour == Flavour::MariaDb {
        options.server_options.push("--proxy-protocol-networks=127.0.0.1,::1,localhost".to_owned());
    }
    let cluster = private(options).await?;
    let mut addresses = Vec::new();
    for server in cluster.servers() {
        addresses.push([format!("unix:{}", socket_of(server)?.display()), format!("[::1]:{}", server.port)]);
    }
    for way in 0..2 {
        for header in [false, flavour == Flavour::MariaDb] {
            let proxy = Proxy::start(&cluster, |config| {
                config.listen.address = "[::1]:0".parse().expect("an address");
                for (server, address) in config.cluster.servers.iter_mut().zip(&addresses) {
                    server.address.clone_from(&address[way]);
                    server.proxy_protocol = header;
                }
            })
            .await?;
            assert!(proxy.running.front.is_ipv6());
            for tls in [None, Some(SslOpts::default().with_danger_accept_invalid_certs(true))] {
                let mut client =
                    Conn::new(proxy.opts(APP).ip_or_hostname("::1").ssl_opts(tls)).await.context("login")?;
                let from: Option<String> = client
                    .query_first("SELECT SUBSTRING_INDEX(USER(), '@', -1) FROM app.fruit LIMIT 1")
                    .await?;
                // A client may know that it is in before it is registered; not so when it has had an answer.
                let session = proxy.running.house.registry.get(client.id()).context("registered")?;
                assert_eq!(session.peer.host(), "::1");
                let expected = ["localhost", "::1"][way];
                assert_eq!(
                    from.as_deref().map(|host| host.replace("localhost", "::1")),
                    Some(expected.replace("localhost", "::1"))
                );
                client.query_drop("CREATE TABLE IF NOT EXISTS arrived (n INT)").await?;
                client.query_drop("INSERT INTO arrived VALUES (1)").await?;
                let rows: Option<u32> = client.query_first("SELECT COUNT(*) > 0 FROM arrived").await?;
                assert_eq!(rows, Some(1));
            }
        }
    }
    Ok(())
}

async fn local_files_can_be_refused(flavour: Flavour) -> Result<()> {
    let cluster = shared(flavour).await?;
    let mut server = cluster.primary.connect(ROOT).await?;
    server.query_drop("CREATE TABLE IF NOT EXISTS app.unloaded (n INT)").await?;
    let had: Option<u8> = server.query_first("SELECT @@GLOBAL.local_infile").await?;
    server.query_drop("SET GLOBAL local_infile = 1").await?;
    cluster.wait_applied().await?;
    let proxy = Proxy::start(cluster, |config| config.listen.local_infile = false).await?;
    let mut client = proxy.connect().await?;
    let load = "LOAD DATA LOCAL INFILE '/no/such/file' INTO TABLE unloaded";
    let (code, _, message) = refusal(client.query_drop(load).await)?;
    server.query_drop(format!("SET GLOBAL local_infile = {}", had.unwrap_or(0))).await?;
    let expected = match flavour {
        Flavour::MySql => 3948,
        Flavour::MariaDb => 4166,
    };
    assert_eq!(code, expected, "{message}");
    ensure!(message.contains("disabled"), "{message}");
    let goes_on: Option<u8> = client.query_first("SELECT 1").await?;
    assert_eq!(goes_on, Some(1));
    Ok(())
}
