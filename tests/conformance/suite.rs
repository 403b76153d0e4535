//! The suites, and how each is fetched and run: by its script in `suites`.

use std::fs;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use pointsman::flavour::Flavour;
use pointsman::playground::{self, ROOT};
use tokio::process::Command;

use crate::compare::{self, Run, Status};
use crate::options::Options;
use crate::say;
use crate::stage::{SCHEMA, SUITE, Stage, Way};

/// A driver's tests.
pub(crate) struct Suite {
    /// Of its script too.
    pub(crate) name: &'static str,
    /// What it tests, for people.
    pub(crate) what: &'static str,
    /// Short enough for continuous integration.
    pub(crate) quick: bool,
}

const fn suite(name: &'static str, what: &'static str, quick: bool) -> Suite {
    Suite { name, what, quick }
}

pub(crate) const ALL: &[Suite] = &[
    suite("dbd-mysql", "Perl DBD::mysql, t/", true),
    suite("dbd-mariadb", "Perl DBD::MariaDB, t/", true),
    suite("pymysql", "Python PyMySQL, pymysql/tests", true),
    suite("go-sql-driver", "Go go-sql-driver/mysql", true),
    suite("mysql-async", "Rust mysql_async", false),
    suite("aiomysql", "Python aiomysql", false),
    suite("sqlalchemy", "Python SQLAlchemy, the MySQL dialect", false),
];

impl Suite {
    /// Gets its sources; the version, or why it cannot be had.
    pub(crate) async fn fetch(&self) -> Result<Result<String, String>> {
        let output = self.command("fetch")?.stderr(Stdio::piped()).output().await.context("bash")?;
        let (said, told) = (last_line(&output.stdout), last_line(&output.stderr));
        Ok(if output.status.success() { Ok(said) } else { Err(told) })
    }

    /// Held while it is fetched and run: its folder is of one run at a time.
    pub(crate) fn lock(&self) -> Result<fs::File> {
        let folder = self.folder();
        fs::create_dir_all(&folder)?;
        let lock = fs::File::create(folder.join("lock"))?;
        if lock.try_lock().is_err() {
            say(&format!("{}: another run is at it; waiting for its end", self.name));
            lock.lock()?;
        }
        Ok(lock)
    }

    /// Runs it once, on servers as new.
    pub(crate) async fn run(
        &self,
        stage: &Stage,
        way: Way,
        flavour: Flavour,
        options: &Options,
    ) -> Result<Run> {
        stage.clear().await?;
        let results = self.folder().join(format!("{flavour}-{way}.results"));
        let log = results.with_extension("log");
        fs::write(&results, "")?;
        let output = fs::File::create(&log)?;
        let mut command = self.command("run")?;
        command
            .env("RESULTS", &results)
            .env("FLAVOUR", flavour.to_string())
            .env("WAY", way.to_string())
            .env("PORT", stage.port(way).to_string())
            .stdout(output.try_clone()?)
            .stderr(output);
        let begun = Instant::now();
        let mut child = command.process_group(0).spawn().context("bash")?;
        // What it left behind must not disturb the next.
        let group = child.id().map(Group);
        let fault = match tokio::time::timeout(Duration::from_secs(options.limit), child.wait()).await {
            Ok(status) if status.as_ref().is_ok_and(ExitStatus::success) => None,
            Ok(_) => Some(last_line(&fs::read(&log)?)),
            Err(_) => Some(format!("not done within {} s", options.limit)),
        };
        drop(group);
        let run = Run { results: compare::read(&fs::read_to_string(&results)?), fault };
        let count = |status| compare::count(&run.results, status);
        say(&format!(
            "{flavour} {} {way}: {} passed, {} failed, {} skipped in {:.0?}{} (log: {})",
            self.name,
            count(Status::Passed),
            count(Status::Failed),
            count(Status::Skipped),
            begun.elapsed(),
            run.fault.as_ref().map_or(String::new(), |fault| format!(", broken off: {fault}")),
            log.display()
        ));
        Ok(run)
    }

    /// Where its sources and logs are: outside the tree, nothing of them is ours.
    fn folder(&self) -> PathBuf {
        playground::cache().join("conformance").join(self.name)
    }

    fn command(&self, verb: &str) -> Result<Command> {
        let folder = self.folder();
        fs::create_dir_all(&folder)?;
        let here = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
        let mut command = Command::new("bash");
        command.arg(here.join("suites").join(format!("{}.sh", self.name))).arg(verb);
        command
            .env("HERE", &here)
            .env("CACHE", &folder)
            .env("HOST", "127.0.0.1")
            .env("DBUSER", SUITE.user)
            .env("DBPASSWORD", SUITE.password)
            .env("ROOTPASSWORD", ROOT.password)
            .env("SCHEMA", SCHEMA)
            .current_dir(&folder)
            .stdin(Stdio::null());
        Ok(command)
    }
}

fn last_line(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it says nothing").to_owned()
}

/// A script and all that it started; ended when dropped, in whatever way.
struct Group(u32);

impl Drop for Group {
    fn drop(&mut self) {
        // Most likely nobody is left.
        let group = format!("-{}", self.0);
        let _ =
            std::process::Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
    }
}
