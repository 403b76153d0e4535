//! The proxy as a process of its own.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mysql_async::OptsBuilder;
use pointsman::playground::{Account, CONTROL, Cluster};

/// Ends when dropped.
pub(crate) struct Binary {
    child: Child,
    pub(crate) port: u16,
    admin: u16,
}

impl Binary {
    /// Starts it before the cluster, with more TOML where the test wants it, and waits until it serves.
    pub(crate) fn start(cluster: &Cluster, more: &str) -> Result<Self> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let folder: PathBuf = cluster.folder.join(format!("binary{}", STARTED.fetch_add(1, Relaxed)));
        std::fs::create_dir_all(&folder)?;
        let file = folder.join("proxy.toml");
        std::fs::write(&file, configuration(cluster, more))?;
        // Another build of it may be measured: one for release.
        let program = std::env::var_os("POINTSMAN_PROGRAM");
        let mut child = Command::new(program.unwrap_or_else(|| env!("CARGO_BIN_EXE_pointsman").into()))
            .args(["run", "--config"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut log = BufReader::new(child.stderr.take().context("piped")?);
        let mut binary = Self { child, port: 0, admin: 0 };
        let mut seen = String::new();
        while binary.port == 0 {
            ensure!(log.read_line(&mut seen)? > 0, "it ended: {seen}");
            binary.port = port_behind(&seen, "front=").unwrap_or(0);
            binary.admin = port_behind(&seen, "admin=Some(").unwrap_or(0);
        }
        // A log nobody reads would stop it when the pipe is full.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Ok(binary)
    }

    pub(crate) fn opts(&self, account: Account) -> OptsBuilder {
        OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(self.port)
            .prefer_socket(false)
            .user(Some(account.user))
            .pass(Some(account.password))
            .db_name(Some("app"))
            .max_allowed_packet(Some(256 << 20))
            .wait_timeout(Some(28_800))
    }

    /// The admin port, for the control account.
    pub(crate) fn admin_opts(&self) -> OptsBuilder {
        OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(self.admin)
            .prefer_socket(false)
            .user(Some(CONTROL.user))
            .pass(Some(CONTROL.password))
    }

    /// The most memory it ever held, in bytes.
    pub(crate) fn peak(&self) -> Result<u64> {
        self.memory("VmHWM:")
    }

    /// The memory it holds, in bytes.
    pub(crate) fn resident(&self) -> Result<u64> {
        self.memory("VmRSS:")
    }

    fn memory(&self, which: &str) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(which)).context("no such line")?;
        Ok(line.split_whitespace().next().context("a number")?.parse::<u64>()? * 1024)
    }

    /// SIGTERM.
    pub(crate) fn terminate(&self) -> Result<()> {
        let kill =
            Command::new("/bin/sh").args(["-c", "kill -TERM $0", &self.child.id().to_string()]).status()?;
        ensure!(kill.success());
        Ok(())
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(&mut self) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(cluster: &Cluster, more: &str) -> String {
    let servers: Vec<String> = cluster
        .servers()
        .map(|s| format!("{{ address = {:?}, name = {:?} }}", s.address(), s.name))
        .collect();
    let (user, password) = (CONTROL.user, CONTROL.password);
    format!(
        "data_dir = \".\"\n[cluster]\nservers = [{}]\n[cluster.control]\nuser = {user:?}\npassword = {password:?}\n\
         [admin]\naddress = \"127.0.0.1:0\"\n[listen]\naddress = \"127.0.0.1:0\"\n{more}",
        servers.join(", ")
    )
}

/// The port of an address in the line that says it serves.
fn port_behind(log: &str, name: &str) -> Option<u16> {
    let address = log.split_once(name)?.1.split_whitespace().next()?;
    address.trim_end_matches(')').rsplit_once(':')?.1.parse().ok()
}
