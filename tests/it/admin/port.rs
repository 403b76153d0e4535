//! The admin port itself: logins, commands of the protocol, orders, limits.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use arc_swap::ArcSwap;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Error, OptsBuilder, Row, SslOpts};
use pointsman::admin::{self, Desk};
use pointsman::backend::{self, BackendTlsSetup, Credential, Login, Pool, SessionSetup, Target};
use pointsman::config::{BackendTls, BackendTlsMode, Config};
use pointsman::control::Control;
use pointsman::control::orders::Orders;
use pointsman::serve::accounts::CredentialCache;
use pointsman::serve::login::{FrontLogin, listed};
use pointsman::serve::tls::load_rsa_key;
use pointsman::serve::{
    self, Acknowledged, Counters, Digests, House, PinCounters, Positions, Registry, Statements,
};
use pointsman::shutdown;
use pointsman::sql::{self, Catalog, Judge};
use pointsman::topology::{self, Publisher, ServerId};
use pointsman::wire::auth::Password;
use pointsman::wire::{Expect, OkPacket, ResponseTracker, capability, push_packet};
use tokio::task::JoinSet;

use super::{config, snapshot};

/// A front and an admin port over servers that are never asked.
struct Rig {
    admin: SocketAddr,
    front: SocketAddr,
    orders: Orders,
    trigger: shutdown::Trigger,
    folder: std::path::PathBuf,
    _publisher: Publisher,
    tasks: JoinSet<()>,
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn rig(name: &str) -> Rig {
    let folder = std::env::temp_dir().join(format!("pointsman-admin-{name}-{}", std::process::id()));
    let config = Config { data_dir: folder.clone(), ..config() };
    let (publisher, topology) = topology::channel(snapshot());
    let (_, outlook) = Control::new(&config.cluster, config.routing.max_lag);
    let house = Arc::new(house(&config, topology, outlook.catalog));
    let (trigger, shutdown) = shutdown::channel();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let (front, admin) = (serve::bind(any).expect("a port"), admin::bind(any).expect("a port"));
    let addresses = (front.address().expect("bound"), admin.address().expect("bound"));
    let login = admin::front_login(&config).expect("keys");
    let desk = Desk {
        lead: None,
        house: Arc::clone(&house),
        events: outlook.events,
        orders: outlook.orders.clone(),
        config: Arc::new(config),
        login,
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(front.run(house, shutdown.clone()));
    tasks.spawn(admin.run(Arc::new(desk), shutdown));
    let (front, admin) = addresses;
    Rig { admin, front, orders: outlook.orders, trigger, folder, _publisher: publisher, tasks }
}

fn house(config: &Config, topology: topology::Reader, dictionary: topology::catalog::CatalogReader) -> House {
    let tls = BackendTls { mode: BackendTlsMode::Disabled, ca: None, certificate: None, key: None };
    let tls = Arc::new(BackendTlsSetup::load(&tls).expect("no TLS"));
    let setup = SessionSetup { tracked: sql::tracked_variables };
    let pool = |(id, server): (usize, &pointsman::config::Server)| {
        let address = server.address.as_str().into();
        let target = Target {
            address,
            tls: Arc::clone(&tls),
            connect_timeout: Duration::from_secs(1),
            compression: None,
            proxy_protocol: false,
        };
        Pool::new(ServerId(id as u16), target, config.pool.clone(), setup)
    };
    House {
        topology,
        pools: config.cluster.servers.iter().enumerate().map(pool).collect(),
        login: FrontLogin {
            tls: None,
            rsa: load_rsa_key(&config.data_dir).expect("a key"),
            users: listed(&config.users),
            servers: None,
            accounts: Box::new(|_| None),
            cache: CredentialCache::new(Duration::ZERO),
            login_timeout: Duration::from_secs(20),
            extra: 0,
            withheld: 0,
            proxy_protocol: None,
        },
        judge: Judge::new(16),
        catalog: Arc::new(ArcSwap::from_pointee(Catalog::default())),
        dictionary,
        listen: config.listen.clone(),
        routing: config.routing.clone(),
        limits: config.limits.clone(),
        registry: Registry::default(),
        digests: Digests::new(16, 3),
        statements: Statements::default(),
        positions: Positions::new(3),
        acknowledged: Acknowledged::default(),
        counters: Counters::default(),
        pins: PinCounters::default(),
        turns: AtomicU64::new(0),
    }
}

fn options(address: SocketAddr, user: &str, password: &str) -> OptsBuilder {
    OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(address.port())
        .user(Some(user))
        .pass(Some(password))
        .prefer_socket(false)
}

async fn connect(rig: &Rig) -> Conn {
    Conn::new(options(rig.admin, "admin", "admin-secret")).await.expect("a login")
}

fn refusal(error: Error) -> String {
    match error {
        Error::Server(error) => format!("{} ({}): {}", error.code, error.state, error.message),
        error => panic!("not the port's words: {error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn people_log_in_with_the_listed_password_only() {
    let rig = rig("login");
    // mysql_async asks for variables at its start, so that a connection is more than a login.
    connect(&rig).await.disconnect().await.expect("a goodbye");
    let tls = SslOpts::default().with_danger_accept_invalid_certs(true);
    let over_tls = options(rig.admin, "admin", "admin-secret").ssl_opts(Some(tls));
    let mut conn = Conn::new(over_tls).await.expect("a login over TLS");
    let user: Option<String> = conn.query_first("SELECT CURRENT_USER()").await.expect("an answer");
    assert_eq!(user.as_deref(), Some("admin@127.0.0.1"));
    let denied = |user: &str| {
        format!("1045 (28000): Access denied for user '{user}'@'127.0.0.1' (using password: YES)")
    };
    for (user, password) in [
        ("admin", "wrong"),
        ("nobody", "admin-secret"),
        ("pointsman", "control-secret"),
        ("app", "app-secret"),
    ] {
        let error = Conn::new(options(rig.admin, user, password)).await.expect_err("a refusal");
        assert_eq!(refusal(error), denied(user));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_read_by_type() {
    let rig = rig("types");
    let mut conn = connect(&rig).await;
    let rows: Vec<Row> = conn.query("SHOW SERVERS").await.expect("rows");
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[2].get::<String, _>("name").as_deref(), Some("db3"));
    assert_eq!(rows[2].get::<f64, _>("lag_seconds"), Some(12.3));
    assert_eq!(rows[2].get::<u64, _>("max"), Some(200));
    assert_eq!(rows[0].get::<Option<f64>, _>("lag_seconds"), Some(None));
    assert_eq!(&*rows[0].columns_ref()[0].table_str(), "servers");
    let explained: Row =
        conn.query_first("EXPLAIN ROUTE FOR 'DELETE FROM t'").await.expect("an answer").expect("a row");
    assert_eq!(explained.get::<String, _>("server").as_deref(), Some("db1"));
    let counted: Option<(u64, String)> = conn
        .query_first("SELECT count(*), max(name) FROM servers WHERE role = 'replica'")
        .await
        .expect("an answer");
    assert_eq!(counted, Some((2, "db3".to_owned())));
    let none: Vec<Row> = conn.query("SHOW EVENTS").await.expect("no rows");
    assert!(none.is_empty());
    let error = conn.query_drop("SHOW SEVRERS").await.expect_err("a refusal");
    assert!(
        refusal(error).starts_with("1064 (42000): \"SHOW SEVRERS\" is no command of this port. Did you mean")
    );
    let error = conn.prep("SHOW SERVERS").await.expect_err("a refusal");
    assert_eq!(refusal(error), "1047 (08S01): Unknown command");
    conn.ping().await.expect("it goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn long_answers_come_whole() {
    let rig = rig("long");
    let mut conn = connect(&rig).await;
    let sql = "WITH RECURSIVE n AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM n LIMIT 50000) \
               SELECT x, hex(zeroblob(50)) FROM n";
    let rows: Vec<(u64, String)> = conn.query(sql).await.expect("rows");
    assert_eq!(rows.len(), 50_000);
    assert_eq!(rows[49_999], (50_000, "0".repeat(100)));
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_ends_the_session_that_is_shown() {
    let rig = rig("kill");
    let mut conn = connect(&rig).await;
    // Its settings are told, for there is no server to ask for them.
    let told =
        options(rig.front, "app", "app-secret").max_allowed_packet(Some(1 << 20)).wait_timeout(Some(60));
    let mut client = Conn::new(told).await.expect("a login at the front");
    let id: Option<u32> = conn.query_first("SELECT id FROM sessions WHERE user = 'app'").await.expect("rows");
    let id = id.expect("the session is shown");
    assert_eq!(id, client.id());
    conn.query_drop(format!("KILL {id}")).await.expect("OK");
    assert!(conn.info().contains("is told to end"), "{}", conn.info());
    let error = client.ping().await.expect_err("the session is gone");
    assert!(!matches!(&error, Error::Server(error) if error.code != 1317), "{error}");
    let error = conn.query_drop("KILL 4000000000").await.expect_err("nobody has that number");
    assert_eq!(refusal(error), "1094 (HY000): Unknown thread id: 4000000000");
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_reach_the_control_line() {
    let rig = rig("orders");
    let mut conn = connect(&rig).await;
    conn.query_drop("DRAIN db2").await.expect("OK");
    assert_eq!(conn.info(), "db2 takes no new statements");
    assert!(!rig.orders.drain(ServerId(1)), "it is draining already");
    conn.query_drop("DRAIN 10.0.0.2:3306").await.expect("OK");
    assert_eq!(conn.info(), "10.0.0.2:3306 was draining already");
    conn.query_drop("UNDRAIN DB2").await.expect("OK");
    assert_eq!(conn.info(), "DB2 may take statements again");
    assert!(!rig.orders.undrain(ServerId(1)), "it is draining no more");
    let error = conn.query_drop("DRAIN db9").await.expect_err("a refusal");
    assert_eq!(refusal(error), "1105 (HY000): there is no server \"db9\"; there are db1, db2, db3");
    conn.query_drop("RESET ROUTES").await.expect("OK");
}

/// A connection whose packets the test writes itself.
async fn raw(rig: &Rig, capabilities: u32) -> backend::Conn {
    let tls = BackendTls { mode: BackendTlsMode::Disabled, ca: None, certificate: None, key: None };
    let target = Target {
        address: rig.admin.to_string().into(),
        tls: Arc::new(BackendTlsSetup::load(&tls).expect("no TLS")),
        connect_timeout: Duration::from_secs(20),
        compression: None,
        proxy_protocol: false,
    };
    let credential = Credential { user: "admin".to_owned(), password: Password::clear("admin-secret") };
    let login = Login { client_capabilities: capabilities, collation: 45, ..Login::default() };
    backend::Conn::connect(&target, &credential, &login).await.expect("a login")
}

/// Sends one command and reads its whole reply.
async fn exchange(conn: &mut backend::Conn, command: &[u8], expect: Expect) -> Vec<u8> {
    conn.channel.write_message(command, 0).await.expect("a port that listens");
    let mut tracker = ResponseTracker::new(expect, conn.capabilities);
    let mut reply = Vec::new();
    while !tracker.is_done() {
        let progress = tracker.advance(conn.channel.input()).expect("well formed");
        let len = match progress.event {
            pointsman::wire::Event::Packet { len, .. } => progress.forward + len,
            _ => progress.forward,
        };
        reply.extend_from_slice(&conn.channel.input()[..len]);
        conn.channel.consume(len);
        if len == 0 && conn.channel.fill().await.expect("a port that answers") == 0 {
            panic!("closed after {reply:?}");
        }
    }
    reply
}

fn error_of(reply: &[u8]) -> String {
    pointsman::wire::ErrPacket::parse(&reply[4..]).expect("an error").to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_protocol_is_answered() {
    let rig = rig("protocol");
    for capabilities in [0, capability::DEPRECATE_EOF | capability::QUERY_ATTRIBUTES] {
        let mut conn = raw(&rig, capabilities).await;
        assert_eq!(conn.capabilities & capabilities, capabilities);
        let attributes = conn.capabilities & capability::QUERY_ATTRIBUTES != 0;
        let query =
            |text: &str| [if attributes { &[3, 0, 1][..] } else { &[3][..] }, text.as_bytes()].concat();
        let ok = |reply: Vec<u8>| OkPacket::parse(&reply[4..], 0).expect("OK").status;
        assert_eq!(ok(exchange(&mut conn, &[0x0e], Expect::Ok).await), 2);
        assert_eq!(ok(exchange(&mut conn, b"\x02shop", Expect::Ok).await), 2);
        let schema = exchange(&mut conn, &query("SELECT DATABASE()"), Expect::Results).await;
        assert!(schema.windows(5).any(|part| part == b"\x04shop"));
        assert_eq!(ok(exchange(&mut conn, &[0x1f], Expect::Ok).await), 2);
        let schema = exchange(&mut conn, &query("SELECT DATABASE()"), Expect::Results).await;
        assert!(!schema.windows(5).any(|part| part == b"\x04shop"));
        let statistics = exchange(&mut conn, &[0x09], Expect::Text).await;
        assert!(statistics[4..].starts_with(b"Uptime: "), "{statistics:?}");
        let fields = exchange(&mut conn, b"\x04servers\0%", Expect::Rows).await;
        assert!(fields.windows(11).any(|part| part == b"lag_seconds"));
        let unknown = exchange(&mut conn, b"\x04nothing\0", Expect::Rows).await;
        assert!(error_of(&unknown).starts_with("1146 (42S02): Table 'pointsman.nothing' doesn't exist"));
        for command in [0x05, 0x0a, 0x0d, 0x11, 0x12, 0x16, 0x17, 0x1c, 0x1e, 0x22, 0x77, 0xfe] {
            let reply = exchange(&mut conn, &[command, 0, 0, 0, 0], Expect::Ok).await;
            assert_eq!(error_of(&reply), "1047 (08S01): Unknown command", "{command:#x}");
        }
        let empty = exchange(&mut conn, &query(""), Expect::Results).await;
        assert_eq!(error_of(&empty), "1065 (42000): Query was empty");
        let wild = exchange(&mut conn, &query("SHOW SERVERS LIKE '\u{ff}\0'"), Expect::Results).await;
        assert!(!wild.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_sent_ahead_are_answered_in_order() {
    let rig = rig("pipeline");
    let mut conn = raw(&rig, 0).await;
    let mut ahead = Vec::new();
    for number in 0..50 {
        push_packet(&mut ahead, format!("\x03SELECT 'answer {number}'").as_bytes(), 0);
    }
    push_packet(&mut ahead, &[0x01], 0);
    conn.channel.write_all(&ahead).await.expect("a port that listens");
    let mut all = Vec::new();
    while conn.channel.fill().await.expect("answers") > 0 {
        all.extend_from_slice(conn.channel.input());
        let len = conn.channel.input().len();
        conn.channel.consume(len);
    }
    let text = String::from_utf8_lossy(&all);
    let mut from = 0;
    for number in 0..50 {
        // Twice: in the heading and in the row.
        let found = text[from..].find(&format!("answer {number}")).expect("in order");
        from += found;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_that_are_too_long_or_out_of_order_end_the_connection() {
    let rig = rig("hostile");
    let mut long = Vec::new();
    push_packet(&mut long, &vec![3; (1 << 20) + 1], 0);
    let mut out_of_order = Vec::new();
    push_packet(&mut out_of_order, &[0x0e], 7);
    let cases: [(&[u8], &str); 3] = [
        (&long, "1153 (08S01): Got a packet bigger than 'max_allowed_packet' bytes"),
        (&out_of_order, "1156 (08S01): Got packets out of order"),
        (&[0, 0, 0, 0], "1835 (HY000): Malformed communication packet"),
    ];
    for (bytes, words) in cases {
        let mut conn = raw(&rig, 0).await;
        // The port may close before it has read all.
        let _ = conn.channel.write_all(bytes).await;
        let (payload, _) = conn.channel.read_message(1 << 16).await.expect("an error packet");
        assert_eq!(pointsman::wire::ErrPacket::parse(&payload).expect("an error").to_string(), words);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_people_is_limited() {
    let rig = rig("limit");
    let mut conns = Vec::new();
    for _ in 0..64 {
        conns.push(raw(&rig, 0).await);
    }
    let error = Conn::new(options(rig.admin, "admin", "admin-secret")).await.expect_err("too many");
    assert!(error.to_string().contains("Too many connections"), "{error}");
    conns.pop().expect("one of many").channel.shutdown().await;
    // The place is free as soon as the port has noticed.
    let admitted = async {
        while Conn::new(options(rig.admin, "admin", "admin-secret")).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), admitted).await.expect("room for one more");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_port_outlives_draining_and_ends_when_all_is_closed() {
    let mut rig = rig("shutdown");
    let mut conn = connect(&rig).await;
    rig.trigger.drain();
    rig.tasks.join_next().await.expect("the front").expect("has drained");
    conn.ping().await.expect("people may look on");
    rig.trigger.close();
    rig.tasks.join_next().await.expect("the port").expect("has ended");
    // The port ends, and each of its sessions as soon as it sees that.
    let ended = async {
        while conn.ping().await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), ended).await.expect("the session ends too");
}
