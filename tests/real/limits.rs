//! Every limit: what is kept below it, and what a client is told at it.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, TxOpts};
use pointsman::flavour::Flavour;
use pointsman::playground::{APP, Account, Options, ROOT};
use pointsman::wire::{Command, ErrPacket, Expect};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::binary::Binary;
use crate::clusters::{both, private, schema, shared};
use crate::load::{eventually, refusal};
use crate::raw::{Raw, query};
use crate::through::Proxy;

both![
    too_many_clients_are_told_so,
    waiting_for_a_connection_is_in_order_and_ends,
    many_clients_share_few_connections,
    idle_clients_hold_no_connection,
    silent_clients_are_told_and_closed,
    a_session_ends_by_its_own_wait_timeout,
    draining_lets_transactions_finish,
    draining_ends_in_time,
];

async fn too_many_clients_are_told_so(flavour: Flavour) -> Result<()> {
    let mut options = Options { replicas: 0, ..Options::new(Some(flavour)) };
    options.server_options.push("--max-connections=10".to_owned());
    let cluster = private(options).await?;
    let proxy = Proxy::start(&cluster, |config| config.listen.max_clients = 3).await?;
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(proxy.connect().await?);
    }
    let (code, _, message) = refusal(Conn::new(proxy.opts(APP)).await.map(drop))?;
    assert_eq!((code, &*message), (1040, "Too many connections"));
    let here = first_words(proxy.running.front.port()).await?;
    // One that leaves makes room.
    clients.pop().context("three")?.disconnect().await?;
    eventually("there is room", || async { Ok(Conn::new(proxy.opts(APP)).await.is_ok()) }).await?;
    drop(clients);
    // And the same from a server that is full, to the byte. The proxy's own connections come and go, so a place may be
    // free again by the time the question is put.
    let mut full = Vec::new();
    let mut there = Vec::new();
    for _ in 0..5 {
        while let Ok(conn) = cluster.primary.connect(APP).await {
            full.push(conn);
        }
        // One more is let in to see whether it is an administrator; the next is told at once.
        let mut greeted = TcpStream::connect(("127.0.0.1", cluster.primary.port)).await?;
        greeted.read_exact(&mut [0; 5]).await?;
        there = first_words(cluster.primary.port).await?;
        if here == there {
            break;
        }
    }
    assert_eq!(String::from_utf8_lossy(&here), String::from_utf8_lossy(&there));
    Ok(())
}

/// All that is said to a client that says nothing.
async fn first_words(port: u16) -> Result<Vec<u8>> {
    let mut said = Vec::new();
    TcpStream::connect(("127.0.0.1", port)).await?.read_to_end(&mut said).await?;
    Ok(said)
}

async fn waiting_for_a_connection_is_in_order_and_ends(flavour: Flavour) -> Result<()> {
    let cluster = shared(flavour).await?;
    let wait = Duration::from_secs(1);
    let proxy = Proxy::start(cluster, |config| {
        config.pool.max_per_server = 2;
        config.pool.wait_timeout = wait;
    })
    .await?;
    let pool = Arc::clone(proxy.running.house.pool(proxy.snapshot().primary.context("a primary")?));
    let (mut first, mut second, mut third) =
        (proxy.connect().await?, proxy.connect().await?, proxy.connect().await?);
    for client in [&mut first, &mut second] {
        client.query_drop("BEGIN").await?;
        client.query_drop("SELECT COUNT(*) FROM fruit").await?;
    }
    let asked = Instant::now();
    let (code, state, message) = refusal(third.query_drop("/* pointsman: primary */ SELECT 1").await)?;
    assert_eq!((code, &*state), (1040, "08004"), "{message}");
    assert!((wait..wait + Duration::from_secs(1)).contains(&asked.elapsed()), "{:?}", asked.elapsed());
    assert_eq!(pool.gauge().waiting, 0, "whoever has given up stands in line no more");
    // Reads are a replica's, and there is room.
    assert_eq!(third.query_first("SELECT 5").await?, Some(5));
    drop(proxy);

    let proxy = Proxy::start(cluster, |config| config.pool.max_per_server = 1).await?;
    let pool = Arc::clone(proxy.running.house.pool(proxy.snapshot().primary.context("a primary")?));
    let mut holder = proxy.connect().await?;
    holder.query_drop("BEGIN").await?;
    holder.query_drop("SELECT COUNT(*) FROM fruit").await?;
    let (served, mut waiters) = (Arc::<Mutex<Vec<usize>>>::default(), JoinSet::new());
    for number in 0..5 {
        let (mut client, served) = (proxy.connect().await?, Arc::clone(&served));
        waiters.spawn(async move {
            client.query_drop("/* pointsman: primary */ SELECT COUNT(*) FROM fruit").await?;
            served.lock().expect("nobody panics with it").push(number);
            anyhow::Ok(())
        });
        eventually("it stands in line", || async { Ok(pool.gauge().waiting == number + 1) }).await?;
    }
    // One that leaves is not waited for, nor does it run; its place in line costs nobody a connection.
    let mut leaves = Raw::connect(proxy.running.front.port(), APP, Some("app")).await?;
    leaves.send(&query("INSERT INTO fruit (name) VALUES ('left')")).await?;
    eventually("it stands in line", || async { Ok(pool.gauge().waiting == 6) }).await?;
    drop(leaves);
    eventually("it has left", || async { Ok(pool.gauge().waiting == 5) }).await?;
    holder.query_drop("COMMIT").await?;
    while let Some(waiter) = waiters.join_next().await {
        waiter??;
    }
    assert_eq!(*served.lock().expect("nobody panics with it"), [0, 1, 2, 3, 4]);
    let rows = holder.query_first("SELECT COUNT(*) FROM fruit WHERE name = 'left' FOR UPDATE").await?;
    assert_eq!(rows, Some(0));
    Ok(())
}

async fn many_clients_share_few_connections(flavour: Flavour) -> Result<()> {
    let cluster = shared(flavour).await?;
    drop(schema(cluster, "few").await?);
    cluster.wait_applied().await?;
    let proxy = Proxy::start(cluster, |config| {
        config.pool.max_per_server = 2;
        config.pool.wait_timeout = Duration::from_secs(30);
    })
    .await?;
    let mut clients = JoinSet::new();
    for number in 0..24_u32 {
        // Some in another schema, some of another user, so that connections must also be exchanged.
        let account = if number % 4 == 0 { ROOT } else { APP };
        let opts = proxy.opts(account).db_name(Some(if number % 3 == 0 { "few" } else { "app" }));
        clients.spawn(async move {
            let mut conn = Conn::new(opts).await?;
            for round in 0..25_u32 {
                let value = number * 1000 + round;
                let read: Option<u32> = conn.query_first(format!("SELECT {value}")).await?;
                ensure!(read == Some(value));
                if round % 5 == 0 {
                    let mut transaction = conn.start_transaction(TxOpts::default()).await?;
                    let read: Option<u32> = transaction.query_first(format!("SELECT {value} + 1")).await?;
                    ensure!(read == Some(value + 1));
                    transaction.commit().await?;
                }
                if round % 7 == 0 {
                    conn.query_drop(format!("SET SESSION sql_select_limit = {}", 100 + value)).await?;
                }
            }
            anyhow::Ok(())
        });
    }
    while let Some(client) = clients.join_next().await {
        client??;
    }
    for pool in &proxy.running.house.pools {
        eventually("all is given back", || async {
            let gauge = pool.gauge();
            Ok(gauge.in_use == 0 && gauge.waiting == 0 && gauge.open <= 2)
        })
        .await?;
    }
    Ok(())
}

async fn idle_clients_hold_no_connection(flavour: Flavour) -> Result<()> {
    let cluster = shared(flavour).await?;
    let mut root = schema(cluster, "idles").await?;
    root.query_drop("CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, n INT)").await?;
    root.query_drop("CREATE USER idler@'%' IDENTIFIED BY 'idler'").await?;
    root.query_drop("GRANT ALL ON idles.* TO idler@'%'").await?;
    cluster.wait_applied().await?;
    let proxy = Proxy::start(cluster, |_| {}).await?;
    let opts = proxy.opts(Account { user: "idler", password: "idler" }).db_name(Some("idles"));
    let mut clients = Vec::new();
    for number in 0..200 {
        let mut conn = Conn::new(opts.clone()).await?;
        conn.query_drop("SELECT COUNT(*) FROM t").await?;
        conn.query_drop(format!("INSERT INTO t (n) VALUES ({number})")).await?;
        clients.push(conn);
    }
    assert_eq!(proxy.running.house.registry.len(), 200);
    for server in cluster.servers() {
        let mut conn = server.connect(ROOT).await?;
        let count = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'idler'";
        let connections: Option<u32> = conn.query_first(count).await?;
        assert!(connections <= Some(4), "{}: {connections:?}", server.name);
    }
    let rows: Option<u32> = root.query_first("SELECT COUNT(*) FROM t").await?;
    assert_eq!(rows, Some(200));
    Ok(())
}

async fn silent_clients_are_told_and_closed(flavour: Flavour) -> Result<()> {
    let cluster = shared(flavour).await?;
    let idle_timeout = Duration::from_secs(2);
    let proxy = Proxy::start(cluster, |config| config.listen.idle_timeout = idle_timeout).await?;
    let port = proxy.running.front.port();
    let (mut rests, mut holds, mut works) = (
        Raw::connect(port, APP, Some("app")).await?,
        Raw::connect(port, APP, Some("app")).await?,
        Raw::connect(port, APP, Some("app")).await?,
    );
    holds.query("BEGIN").await?;
    holds.query("INSERT INTO fruit (name) VALUES ('never committed')").await?;
    works.send(&query("SELECT SLEEP(5)")).await?;
    let since = Instant::now();
    for client in [&mut rests, &mut holds] {
        let (packet, sequence) = client.conn.channel.read_message(1000).await?;
        assert_eq!((ErrPacket::parse(&packet)?.code, sequence), (4031, 1));
        assert!(client.is_closed().await);
    }
    let took = since.elapsed();
    assert!((idle_timeout..idle_timeout * 5).contains(&took), "{took:?}");
    assert_eq!(works.reply(Expect::Results).await?.len(), 4, "at work is not silent");
    let mut conn = cluster.primary.connect(ROOT).await?;
    let count = "SELECT COUNT(*) FROM app.fruit WHERE name = 'never committed' FOR UPDATE";
    assert_eq!(conn.query_first(count).await?, Some(0));
    Ok(())
}

/// Asked of the server itself too: it says the same, or nothing.
async fn a_session_ends_by_its_own_wait_timeout(flavour: Flavour) -> Result<()> {
    let cluster = shared(flavour).await?;
    let proxy = Proxy::start(cluster, |_| {}).await?;
    let mut last_words = Vec::new();
    for port in [cluster.primary.port, proxy.running.front.port()] {
        let mut client = Raw::connect(port, APP, Some("app")).await?;
        client.query("SET wait_timeout = 1").await?;
        assert_eq!(client.column("SELECT @@wait_timeout").await?, ["1"]);
        let since = Instant::now();
        // Whatever else the session is told meanwhile: that others wait for connections, say.
        let registry = &proxy.running.house.registry;
        let reminded = async {
            loop {
                registry.tend(Duration::from_secs(3600), true, Instant::now());
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let said = tokio::select! {
            said = tokio::time::timeout(Duration::from_secs(30), client.conn.channel.read_message(1000)) => said?.map_err(|error| error.to_string()),
            never = reminded => never,
        };
        assert!(client.is_closed().await);
        assert!(since.elapsed() >= Duration::from_millis(900), "{:?}", since.elapsed());
        last_words.push(said);
    }
    assert_eq!(last_words[0], last_words[1]);
    // Connections that a server closes so soon are not for the next session.
    assert_eq!(proxy.connect().await?.query_first("SELECT @@wait_timeout").await?, Some(28_800));
    Ok(())
}

async fn draining_lets_transactions_finish(flavour: Flavour) -> Result<()> {
    let cluster = shared(flavour).await?;
    let mut check = schema(cluster, "drains").await?;
    check.query_drop("CREATE TABLE t (n INT)").await?;
    cluster.wait_applied().await?;
    let mut proxy = Binary::start(cluster, "[limits]\ndrain_timeout = \"20s\"\n")?;
    let mut idle = Raw::connect(proxy.port, APP, Some("drains")).await?;
    idle.query("SELECT 1").await?;
    let mut open = Raw::connect(proxy.port, APP, Some("drains")).await?;
    open.query("BEGIN").await?;
    open.query("INSERT INTO t VALUES (1)").await?;
    let mut works = Raw::connect(proxy.port, APP, Some("drains")).await?;
    works.send(&query("SELECT SLEEP(1) + 5")).await?;
    // One that never logs in holds up nobody.
    let mut silent = TcpStream::connect(("127.0.0.1", proxy.port)).await?;
    let mut greeting = [0; 5];
    silent.read_exact(&mut greeting).await?;
    let told = Instant::now();
    proxy.terminate()?;
    let (packet, sequence) = idle.conn.channel.read_message(1000).await?;
    let error = ErrPacket::parse(&packet)?;
    assert_eq!((error.code, &*error.state, sequence), (1053, "08S01", 1));
    assert!(idle.is_closed().await);
    assert!(TcpStream::connect(("127.0.0.1", proxy.port)).await.is_err(), "nobody new is let in");
    assert_eq!(works.reply(Expect::Results).await?.len(), 4, "what runs is answered");
    for statement in ["INSERT INTO t VALUES (2)", "COMMIT"] {
        assert_eq!(open.query(statement).await?[0][0], 0, "{statement}");
    }
    let (packet, _) = open.conn.channel.read_message(1000).await?;
    assert_eq!(ErrPacket::parse(&packet)?.code, 1053);
    assert_eq!(proxy.ended().await?.code(), Some(0));
    assert!(told.elapsed() < Duration::from_secs(10), "{:?}", told.elapsed());
    let rows: Vec<u32> = check.query("SELECT n FROM t ORDER BY n").await?;
    assert_eq!(rows, [1, 2]);
    Ok(())
}

async fn draining_ends_in_time(flavour: Flavour) -> Result<()> {
    let cluster = shared(flavour).await?;
    let mut check = schema(cluster, "drains_late").await?;
    check.query_drop("CREATE TABLE t (n INT)").await?;
    cluster.wait_applied().await?;
    let mut proxy = Binary::start(cluster, "[limits]\ndrain_timeout = \"1s\"\n")?;
    let mut open = Raw::connect(proxy.port, APP, Some("drains_late")).await?;
    open.query("BEGIN").await?;
    open.query("INSERT INTO t VALUES (1)").await?;
    let mut works = Raw::connect(proxy.port, APP, Some("drains_late")).await?;
    works.send(&query("/* too late */ SELECT SLEEP(60)")).await?;
    let told = Instant::now();
    proxy.terminate()?;
    assert_eq!(proxy.ended().await?.code(), Some(0));
    assert!(told.elapsed() < Duration::from_secs(5), "{:?}", told.elapsed());
    assert!(open.is_closed().await && works.is_closed().await);
    let rows: Vec<u32> = check.query("SELECT n FROM t FOR UPDATE").await?;
    assert!(rows.is_empty(), "rolled back");
    // The second signal does not wait at all.
    let mut proxy = Binary::start(cluster, "")?;
    let mut open = Raw::connect(proxy.port, APP, Some("drains_late")).await?;
    open.query("BEGIN").await?;
    assert_eq!(open.ask(&[Command::PING], Expect::Ok).await?[0][0], 0);
    open.query("INSERT INTO t VALUES (1)").await?;
    let told = Instant::now();
    proxy.terminate()?;
    eventually("it drains", || async { Ok(TcpStream::connect(("127.0.0.1", proxy.port)).await.is_err()) })
        .await?;
    proxy.terminate()?;
    assert_eq!(proxy.ended().await?.code(), Some(0));
    assert!(told.elapsed() < Duration::from_secs(5), "{:?}", told.elapsed());
    Ok(())
}
