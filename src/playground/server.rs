//! One database server process: started, killed, frozen and started again.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};

use super::relay::Relay;
use super::template::{SIZES_MARIADB, SIZES_MYSQL, tail, user_option};
use super::{Account, Error, Programs, ROOT};
use crate::flavour::Flavour;

/// How long a server may take from its start to its first answer.
const START_LIMIT: Duration = Duration::from_secs(120);
/// How long the threads of a process may take to obey SIGSTOP.
const FREEZE_LIMIT: Duration = Duration::from_secs(5);
/// How often a starting or ending process is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// Where a server runs and is reached.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its own address.
    pub host: String,
    /// Words before the program: `ip netns exec name`. None where it runs beside us.
    pub before: Vec<String>,
}

impl Default for Place {
    fn default() -> Self {
        Self { host: "127.0.0.1".to_owned(), before: Vec::new() }
    }
}

/// A server of a cluster. Its process may be away; its folder and port stay.
pub struct Server {
    /// `primary`, `replica1`, …
    pub name: String,
    pub port: u16,
    place: Place,
    /// Holds `data`, `files` (for INTO OUTFILE), the error log and the process id.
    pub folder: PathBuf,
    programs: Programs,
    /// Options of this server beside those every server gets.
    options: Vec<String>,
    child: Mutex<Option<Child>>,
    /// The way by which others reach it, where that can be cut.
    relay: Option<Relay>,
}

impl Server {
    pub(super) fn new(
        name: &str,
        (place, port): (Place, u16),
        folder: PathBuf,
        programs: &Programs,
        options: Vec<String>,
    ) -> Self {
        let name = name.to_owned();
        Self {
            name,
            port,
            place,
            folder,
            programs: programs.clone(),
            options,
            child: Mutex::new(None),
            relay: None,
        }
    }

    /// Where the proxy and other servers reach it.
    pub fn address(&self) -> String {
        format!("{}:{}", self.place.host, self.public_port())
    }

    pub(super) fn public_port(&self) -> u16 {
        self.relay.as_ref().map_or(self.port, |relay| relay.port)
    }

    /// From now on others reach it by a way that can be cut.
    pub(super) async fn relay(&mut self) -> Result<(), Error> {
        let relay = Relay::before(self.port).await;
        self.relay = Some(relay.map_err(|_| Error::NoPort { name: self.name.clone() })?);
        Ok(())
    }

    /// Nothing that others send it arrives, nor what it answers. Not without a relay.
    pub(super) fn cut(&self) {
        self.relay.iter().for_each(Relay::cut);
    }

    pub(super) fn heal(&self) {
        self.relay.iter().for_each(Relay::heal);
    }

    pub fn host(&self) -> &str {
        &self.place.host
    }

    /// `None` while it does not run.
    pub fn pid(&self) -> Option<u32> {
        self.child().as_ref().map(Child::id)
    }

    pub fn error_log(&self) -> PathBuf {
        self.folder.join("error.log")
    }

    /// Connects past any proxy.
    pub async fn connect(&self, account: Account) -> Result<Conn, Error> {
        Conn::new(self.opts(account)).await.map_err(self.sql())
    }

    /// Connection options for this server, for a test that wants them different.
    pub fn opts(&self, account: Account) -> OptsBuilder {
        OptsBuilder::default()
            .ip_or_hostname(self.host())
            .tcp_port(self.port)
            .user(Some(account.user))
            .pass(Some(account.password))
            .prefer_socket(false)
    }

    /// Starts the process and waits until it answers.
    pub async fn start(&self) -> Result<(), Error> {
        self.spawn()?;
        self.answered().await
    }

    /// kill -9, and waits until the process is gone.
    pub async fn kill(&self) {
        self.signal("KILL");
        self.gone().await;
    }

    /// Asks it to shut down, and waits until the process is gone.
    pub async fn shutdown(&self) {
        self.signal("TERM");
        self.gone().await;
    }

    /// Kills it where it still runs, and starts it again on its data and its port.
    pub async fn restart(&self) -> Result<(), Error> {
        self.kill().await;
        self.start().await
    }

    /// SIGSTOP: the process keeps its connections and answers nothing. Returns when every thread stands still: the
    /// signal stops one, that one the others, and on a busy machine there is time for an answer in between.
    pub fn freeze(&self) {
        self.signal("STOP");
        let deadline = Instant::now() + FREEZE_LIMIT;
        while self.has_moving_thread() && Instant::now() < deadline {
            std::thread::yield_now();
        }
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// Resident memory in bytes, where the system tells it.
    pub fn resident(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()?)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
    }

    pub(super) fn spawn(&self) -> Result<(), Error> {
        let mut command = Command::new("/bin/sh");
        // The shell becomes the server: the number it writes is the server's.
        command.args(["-c", r#"echo $$ >"$0" && exec "$@""#]).arg(self.pid_file());
        command.args(&self.place.before).arg(&self.programs.server).args(self.arguments());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.process_group(0).current_dir(&self.folder);
        let child = command.spawn().map_err(Error::file(&self.programs.server))?;
        *self.child() = Some(child);
        Ok(())
    }

    fn arguments(&self) -> Vec<String> {
        let path = |name: &str| self.folder.join(name).display().to_string();
        let mut arguments = vec!["--no-defaults".to_owned()];
        arguments.extend(user_option(&self.folder).map(str::to_owned));
        arguments.extend([
            format!("--datadir={}", path("data")),
            format!("--port={}", self.port),
            format!("--report-port={}", self.port),
            format!("--bind-address={}", self.host()),
            format!("--report-host={}", self.host()),
            format!("--log-error={}", path("error.log")),
            format!("--secure-file-priv={}", path("files")),
            // A MariaDB that starts deletes the temporary tables of every other server that uses its folder.
            format!("--tmpdir={}", path("tmp")),
        ]);
        let own = match self.programs.version.flavour {
            Flavour::MySql => SIZES_MYSQL.iter().chain(MYSQL),
            Flavour::MariaDb => SIZES_MARIADB.iter().chain(MARIADB),
        };
        arguments.extend(COMMON.iter().chain(own).map(|option| (*option).to_owned()));
        arguments.extend(self.options.iter().cloned());
        arguments
    }

    /// Waits for the first answer, from this very server: another may have been quicker to take the port.
    pub(super) async fn answered(&self) -> Result<(), Error> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let seen = tokio::time::timeout(Duration::from_secs(5), self.data_directory()).await;
            if !self.runs() {
                return Err(Error::Died { name: self.name.clone(), log: tail(&self.error_log()) });
            }
            let last = match seen {
                Ok(Ok(folder)) if Path::new(&folder) == self.folder.join("data") => return Ok(()),
                Ok(Ok(folder)) => format!("the server on port {} is that of {folder}", self.port),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer".to_owned(),
            };
            if Instant::now() > deadline {
                let (name, log) = (self.name.clone(), tail(&self.error_log()));
                return Err(Error::Silent { name, seconds: START_LIMIT.as_secs(), last, log });
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn data_directory(&self) -> mysql_async::Result<String> {
        let mut conn = Conn::new(self.opts(ROOT)).await?;
        let folder: Option<String> = conn.query_first("SELECT @@datadir").await?;
        conn.disconnect().await?;
        Ok(folder.unwrap_or_default())
    }

    async fn gone(&self) {
        while self.runs() {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Looks, and forgets a process that has ended.
    fn runs(&self) -> bool {
        let mut child = self.child();
        let runs = child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)));
        if !runs && child.take().is_some() {
            let _ = fs::remove_file(self.pid_file());
        }
        runs
    }

    fn signal(&self, signal: &str) {
        // The lock keeps the process from being waited for, so that its number is its own.
        if let Some(child) = self.child().as_ref() {
            let number = child.id().to_string();
            let _ = Command::new("/bin/sh").args(["-c", r#"kill -s "$0" "$1""#, signal, &number]).status();
        }
    }

    /// Unknown counts as still: only Linux tells.
    fn has_moving_thread(&self) -> bool {
        let Some(pid) = self.pid() else { return false };
        let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return false };
        threads.flatten().any(|thread| {
            let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            // The state follows the program's name, which may itself hold anything but ends at the last bracket.
            stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['T', 't']))
        })
    }

    fn pid_file(&self) -> PathBuf {
        self.folder.join("pid")
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn sql(&self) -> impl FnOnce(mysql_async::Error) -> Error + '_ {
        |source| Error::Sql { name: self.name.clone(), source }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Names never looked up, binary log on, and as safe as a kill -9 asks for but not more: what the
/// kernel has taken survives the process. Asynchronous I/O slots are few on a machine with many servers.
const COMMON: &[&str] = &[
    "--socket=server.sock",
    "--skip-name-resolve",
    "--log-bin=binlog",
    "--log-bin-trust-function-creators=ON",
    "--sync-binlog=0",
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-use-native-aio=OFF",
    "--max-connections=1000",
    "--table-open-cache=400",
    "--table-definition-cache=400",
];

/// The performance schema stays on for its replication tables, which probes read; its instruments stay off.
const MYSQL: &[&str] = &[
    // A replica notices within seconds that its source says nothing any more.
    "--replica-net-timeout=4",
    "--mysqlx=OFF",
    // 9.7.4: its thread spins for eight seconds when the server is shut down.
    "--event-scheduler=OFF",
    "--pid-file=server.pid",
    "--gtid-mode=ON",
    "--enforce-gtid-consistency=ON",
    "--innodb-log-buffer-size=4M",
    "--relay-log-recovery=ON",
    "--performance-schema-instrument=%=OFF",
    "--performance-schema-max-digest-length=0",
    "--performance-schema-digests-size=0",
    "--performance-schema-error-size=0",
    "--performance-schema-max-thread-instances=1200",
    "--performance-schema-max-table-instances=200",
];

const MARIADB: &[&str] = &[
    "--slave-net-timeout=4",
    "--pid-file=server.pid",
    "--ssl-ca=ca.pem",
    "--ssl-cert=server-cert.pem",
    "--ssl-key=server-key.pem",
    "--log-slave-updates=ON",
    "--binlog-format=ROW",
    "--gtid-domain-id=0",
    "--gtid-strict-mode=ON",
    "--performance-schema=OFF",
    "--aria-pagecache-buffer-size=8M",
    "--key-buffer-size=1M",
];
