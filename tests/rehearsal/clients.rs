//! The clients of a rehearsal: they write, read what they wrote, and move money, and keep a book of what they are told.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use super::history::{ACCOUNTS, BALANCE, History, OwnRead, Told, Write};

/// Sessions that insert rows, each row once.
const WRITERS: u32 = 4;
/// Sessions that write and read a counter of their own.
const OWN: u32 = 3;
/// Sessions that move money.
const TELLERS: u32 = 2;
/// All that write.
const AT_WORK_MAX: u32 = WRITERS + OWN + TELLERS;
/// Between two statements of a session: enough of them to see what happens, and a machine that is not busy.
const PAUSE: Duration = Duration::from_millis(5);
/// Between two attempts to connect.
const AGAIN: Duration = Duration::from_millis(50);
/// How long anything may take to come about.
const LIMIT: Duration = Duration::from_secs(120);

/// Clients at work.
pub(crate) struct Clients {
    book: Book,
    tasks: JoinSet<()>,
}

/// What all of them share.
#[derive(Clone)]
struct Book {
    began: Instant,
    opts: OptsBuilder,
    stop: Arc<AtomicBool>,
    /// One permit for each that has a statement under way, so that all can be made to rest.
    at_work: Arc<Semaphore>,
    next: Arc<AtomicU64>,
    history: Arc<Mutex<History>>,
}

/// Makes the tables, through the proxy.
pub(crate) async fn prepare(opts: OptsBuilder) -> Result<()> {
    let mut conn = connected(opts).await?;
    for table in [
        "written (seq BIGINT AUTO_INCREMENT PRIMARY KEY, id BIGINT, by_server INT)",
        "counters (session INT PRIMARY KEY, value BIGINT)",
        "accounts (id INT PRIMARY KEY, balance BIGINT)",
        "transfers (seq BIGINT AUTO_INCREMENT PRIMARY KEY, id BIGINT)",
    ] {
        conn.query_drop(format!("CREATE TABLE {table}")).await?;
    }
    for account in 0..ACCOUNTS {
        conn.query_drop(format!("INSERT INTO accounts VALUES ({account}, {BALANCE})")).await?;
    }
    for session in 0..OWN {
        conn.query_drop(format!("INSERT INTO counters VALUES ({session}, 0)")).await?;
    }
    Ok(conn.disconnect().await?)
}

/// It may have been started a moment ago.
async fn connected(opts: OptsBuilder) -> Result<Conn> {
    let deadline = Instant::now() + LIMIT;
    loop {
        match Conn::new(opts.clone()).await {
            Err(error) if Instant::now() > deadline => return Err(error).context("through the proxy"),
            Err(_) => tokio::time::sleep(AGAIN).await,
            Ok(conn) => return Ok(conn),
        }
    }
}

impl Clients {
    pub(crate) fn start(began: Instant, opts: OptsBuilder) -> Self {
        let book = Book {
            began,
            opts,
            stop: Arc::default(),
            at_work: Arc::new(Semaphore::new(AT_WORK_MAX as usize)),
            next: Arc::new(AtomicU64::new(1)),
            history: Arc::default(),
        };
        let mut tasks = JoinSet::new();
        for _ in 0..WRITERS {
            tasks.spawn(write(book.clone()));
        }
        for session in 0..OWN {
            tasks.spawn(write_and_read(book.clone(), session));
        }
        for _ in 0..TELLERS {
            tasks.spawn(transfer(book.clone()));
        }
        tasks.spawn(audit(book.clone()));
        Self { book, tasks }
    }

    /// How many rows are acknowledged so far.
    pub(crate) fn acknowledged(&self) -> usize {
        self.book.history().writes.iter().filter(|write| write.told == Told::Done).count()
    }

    /// Waits until as many more are.
    pub(crate) async fn await_acknowledged(&self, more: usize) -> Result<()> {
        let (wanted, deadline) = (self.acknowledged() + more, Instant::now() + LIMIT);
        while self.acknowledged() < wanted {
            ensure!(Instant::now() < deadline, "no {more} writes were acknowledged within {LIMIT:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Returns when nobody has a statement under way; nobody begins another until this is dropped.
    pub(crate) async fn rest(&self) -> Result<OwnedSemaphorePermit> {
        Ok(Arc::clone(&self.book.at_work).acquire_many_owned(AT_WORK_MAX).await?)
    }

    /// Lets every client finish what it is at, and closes the book.
    pub(crate) async fn stop(&mut self) -> Result<History> {
        self.book.stop.store(true, Relaxed);
        let all = async {
            while let Some(ended) = self.tasks.join_next().await {
                ended.context("a client of the rehearsal panicked")?;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(LIMIT, all).await.context("a client hangs")??;
        Ok(std::mem::take(&mut *self.book.history()))
    }
}

impl Book {
    async fn working(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.at_work).acquire_owned().await.expect("nobody closes it")
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Relaxed)
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new session, as soon as there is one to be had; `None` at the end.
    async fn connect(&self) -> Option<Conn> {
        while self.goes_on() {
            if let Ok(conn) = Conn::new(self.opts.clone()).await {
                return Some(conn);
            }
            tokio::time::sleep(AGAIN).await;
        }
        None
    }

    /// What the answer says; and whether the session is over.
    fn told(&self, answer: Result<(), mysql_async::Error>) -> (Told, bool) {
        match answer {
            Ok(()) => (Told::Done, false),
            Err(mysql_async::Error::Server(error)) if error.message.contains("outcome unknown") => {
                (Told::Unknown, false)
            }
            Err(mysql_async::Error::Server(error)) => (Told::Refused(error.to_string()), false),
            Err(_) => {
                self.history().lost_sessions += 1;
                (Told::Unknown, true)
            }
        }
    }
}

async fn write(book: Book) {
    while let Some(mut conn) = book.connect().await {
        while book.goes_on() {
            let working = book.working().await;
            let id = book.next.fetch_add(1, Relaxed);
            let sent = book.now();
            let insert = format!("INSERT INTO written (id, by_server) VALUES ({id}, @@server_id)");
            let (told, is_over) = book.told(conn.query_drop(insert).await);
            book.history().writes.push(Write { id, sent, answered: book.now(), told });
            drop(working);
            if is_over {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Each value is written once, and read twice by the session that wrote it.
async fn write_and_read(book: Book, key: u32) {
    let mut value = 0;
    while let Some(mut conn) = book.connect().await {
        // What another session was told is not promised to this one.
        let mut written = 0;
        while book.goes_on() {
            let working = book.working().await;
            value += 1;
            let update = format!("UPDATE counters SET value = {value} WHERE session = {key}");
            let (told, is_over) = book.told(conn.query_drop(update).await);
            if told == Told::Done {
                written = value;
            }
            if is_over || !read_own(&book, &mut conn, key, written).await {
                break;
            }
            drop(working);
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Whether the session goes on.
async fn read_own(book: &Book, conn: &mut Conn, key: u32, written: u64) -> bool {
    for _ in 0..2 {
        let select = format!("SELECT value FROM counters WHERE session = {key}");
        match conn.query_first::<u64, _>(select).await {
            Ok(read) => {
                let read = read.unwrap_or_default();
                book.history().own_reads.push(OwnRead { key, written, read, at: book.now() });
            }
            Err(error) => {
                let (_, is_over) = book.told(Err(error));
                return !is_over;
            }
        }
    }
    true
}

async fn transfer(book: Book) {
    while let Some(mut conn) = book.connect().await {
        while book.goes_on() {
            let working = book.working().await;
            let id = book.next.fetch_add(1, Relaxed);
            let (told, is_over) = book.told(transfer_once(&mut conn, id).await);
            book.history().transfers.insert(id, told);
            drop(working);
            if is_over {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Always from the account of the lower number, so that two tellers do not lock each other out.
async fn transfer_once(conn: &mut Conn, id: u64) -> Result<(), mysql_async::Error> {
    let (a, b) = (id as i64 % ACCOUNTS, (id / 3) as i64 % ACCOUNTS);
    let (from, to) = (a.min(b), a.max(b));
    let amount = if a < b { 1 } else { -1 };
    let statements = [
        "BEGIN".to_owned(),
        format!("UPDATE accounts SET balance = balance - {amount} WHERE id = {from}"),
        format!("UPDATE accounts SET balance = balance + {amount} WHERE id = {to}"),
        format!("INSERT INTO transfers (id) VALUES ({id})"),
    ];
    for statement in statements {
        if let Err(error) = conn.query_drop(statement).await {
            // Before COMMIT, nothing of it may stay, whatever was said.
            return Err(match error {
                mysql_async::Error::Server(mut error) => {
                    let _ = conn.query_drop("ROLLBACK").await;
                    error.message = error.message.replace("outcome unknown", "not committed");
                    mysql_async::Error::Server(error)
                }
                other => other,
            });
        }
    }
    conn.query_drop("COMMIT").await
}

/// Reads all accounts in one statement, on whichever replica's turn it is.
async fn audit(book: Book) {
    while let Some(mut conn) = book.connect().await {
        while book.goes_on() {
            match conn.query_first::<i64, _>("SELECT CAST(SUM(balance) AS SIGNED) FROM accounts").await {
                Ok(sum) => book.history().sums.push((book.now(), sum.unwrap_or_default())),
                Err(error) => {
                    if book.told(Err(error)).1 {
                        break;
                    }
                }
            }
            tokio::time::sleep(PAUSE * 4).await;
        }
    }
}
