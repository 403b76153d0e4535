//! `--chaos`: a client that writes all the time, and a console by which its servers are killed, stopped and cut off.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use tokio::sync::mpsc;

use super::{APP, Cluster, Progress, Server};

/// From one write to the next.
const BEAT: Duration = Duration::from_millis(20);
/// A pause between acknowledgements that is worth a line.
const GAP: Duration = Duration::from_millis(500);
/// Lines that may be typed ahead.
const LINES_MAX: usize = 16;

/// What can be typed.
pub(super) const HELP: &[&str] = &[
    "kill NAME      kill -9 of a server: kill primary",
    "start NAME     starts one that was killed",
    "stop NAME      it stands still (SIGSTOP), with all its connections open",
    "continue NAME  it goes on (SIGCONT)",
    "cut NAME       nobody reaches it any more, and nobody is told",
    "heal           nothing is cut any more",
    "count          whether everything that was acknowledged is there",
];

/// One line of the console, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Kill(String),
    Start(String),
    Stop(String),
    Continue(String),
    Cut(String),
    Heal,
    Count,
    Help,
}

impl Order {
    /// `None`: it means nothing here.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let verb = words.next()?.to_ascii_lowercase();
        let name = words.next().map(|name| name.trim_end_matches(';').to_owned());
        if words.next().is_some() {
            return None;
        }
        match (verb.trim_end_matches(';'), name) {
            ("kill", Some(name)) => Some(Order::Kill(name)),
            ("start", Some(name)) => Some(Order::Start(name)),
            ("stop", Some(name)) => Some(Order::Stop(name)),
            ("continue", Some(name)) => Some(Order::Continue(name)),
            ("cut", Some(name)) => Some(Order::Cut(name)),
            ("heal", None) => Some(Order::Heal),
            ("count", None) => Some(Order::Count),
            ("help", None) => Some(Order::Help),
            _ => None,
        }
    }
}

/// Goes on until the proxy has drained.
pub(super) async fn beside<T>(
    cluster: &Cluster,
    front: SocketAddr,
    progress: Progress<'_>,
    drained: impl Future<Output = T>,
) -> T {
    let (gaps, mut beats) = mpsc::channel(LINES_MAX);
    let (asked, mut questions) = mpsc::channel(1);
    let mut lines = typed();
    let writes = write(front, gaps, &mut questions);
    let console = async {
        loop {
            tokio::select! {
                Some(said) = beats.recv() => progress(&format!("client  {said}")),
                Some(line) = lines.recv() => carry_out(cluster, &line, progress, &asked).await,
                // Nobody types, and nobody writes: only the end is to come.
                else => std::future::pending::<()>().await,
            }
        }
    };
    tokio::select! {
        served = drained => served,
        () = writes => unreachable!("it writes for ever"),
        () = console => unreachable!("it listens for ever"),
    }
}

/// Lines of the standard input. A thread of its own: a read of it cannot be given up.
fn typed() -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(LINES_MAX);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

async fn carry_out(cluster: &Cluster, line: &str, progress: Progress<'_>, asked: &mpsc::Sender<()>) {
    let named = |name: &str| cluster.servers().find(|server| server.name == name);
    let order = match Order::parse(line) {
        Some(order) => order,
        None if line.trim().is_empty() => return,
        None => return progress(&format!("chaos   not understood: {}; try help", line.trim())),
    };
    let said = match &order {
        Order::Heal => {
            cluster.servers().for_each(Server::heal);
            "nothing is cut any more".to_owned()
        }
        Order::Count => {
            // One question is enough while another waits.
            let _ = asked.try_send(());
            return;
        }
        Order::Help => return HELP.iter().for_each(|line| progress(&format!("  {line}"))),
        Order::Kill(name)
        | Order::Start(name)
        | Order::Stop(name)
        | Order::Continue(name)
        | Order::Cut(name) => match named(name) {
            Some(server) => act(server, &order).await,
            None => {
                let names: Vec<&str> = cluster.servers().map(|server| server.name.as_str()).collect();
                format!("no server is called {name}; there are {}", names.join(", "))
            }
        },
    };
    progress(&format!("chaos   {said}"));
}

/// Does it to the server, and says what was done.
async fn act(server: &Server, order: &Order) -> String {
    let name = &server.name;
    match order {
        Order::Kill(_) => {
            server.kill().await;
            format!("{name} is killed; start {name} brings it back")
        }
        Order::Start(_) if server.pid().is_some() => format!("{name} runs"),
        Order::Start(_) => match server.start().await {
            Ok(()) => format!("{name} is started"),
            Err(error) => error.to_string(),
        },
        Order::Stop(_) => {
            server.freeze();
            format!("{name} stands still; continue {name} lets it go on")
        }
        Order::Continue(_) => {
            server.thaw();
            format!("{name} goes on")
        }
        _ => {
            server.cut();
            format!("{name} is cut off; heal ends that")
        }
    }
}

/// What the client was told so far.
#[derive(Default)]
struct Book {
    acknowledged: BTreeSet<u64>,
    unknown: usize,
    refused: usize,
}

/// Writes for ever, and says when it had to wait, and when asked, whether all is there.
async fn write(front: SocketAddr, says: mpsc::Sender<String>, questions: &mut mpsc::Receiver<()>) {
    let mut book = Book::default();
    let mut last = Instant::now();
    for id in 1.. {
        let opts = OptsBuilder::default().ip_or_hostname(front.ip().to_string()).tcp_port(front.port());
        let opts =
            opts.prefer_socket(false).user(Some(APP.user)).pass(Some(APP.password)).db_name(Some("app"));
        let Ok(mut conn) = Conn::new(opts).await else {
            tokio::time::sleep(BEAT).await;
            continue;
        };
        let create = "CREATE TABLE IF NOT EXISTS beats (id BIGINT, part BIGINT, PRIMARY KEY (id, part))";
        if conn.query_drop(create).await.is_err() {
            tokio::time::sleep(BEAT).await;
            continue;
        }
        for part in 0.. {
            let key = (id << 32) | part;
            match conn.query_drop(format!("INSERT INTO beats VALUES ({id}, {part})")).await {
                Ok(()) => {
                    let gap = last.elapsed();
                    // The first has nothing before it.
                    if gap > GAP && !book.acknowledged.is_empty() {
                        // Whoever does not read misses a line.
                        let _ = says.try_send(format!("writes waited {:.1} s; {book}", gap.as_secs_f64()));
                    }
                    book.acknowledged.insert(key);
                    last = Instant::now();
                }
                Err(mysql_async::Error::Server(error)) if error.message.contains("outcome unknown") => {
                    book.unknown += 1;
                }
                Err(mysql_async::Error::Server(_)) => book.refused += 1,
                Err(_) => {
                    book.unknown += 1;
                    break;
                }
            }
            if questions.try_recv().is_ok() {
                let _ = says.try_send(count(&mut conn, &book).await);
            }
            tokio::time::sleep(BEAT).await;
        }
    }
}

/// Reads everything back, from the primary.
async fn count(conn: &mut Conn, book: &Book) -> String {
    let all = "SELECT id, part FROM beats FOR UPDATE";
    match conn.query::<(u64, u64), _>(all).await {
        Ok(rows) => {
            let found: BTreeSet<u64> = rows.into_iter().map(|(id, part)| (id << 32) | part).collect();
            let lost = book.acknowledged.difference(&found).count();
            format!("{book}; {lost} of the acknowledged ones are lost")
        }
        Err(error) => error.to_string(),
    }
}

impl fmt::Display for Book {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { acknowledged, unknown, refused } = self;
        write!(f, "{} acknowledged, {unknown} of unknown outcome, {refused} refused", acknowledged.len())
    }
}
