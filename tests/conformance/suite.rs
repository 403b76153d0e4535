//! The suites, and how each is fetched and run: by its script in `suites`.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use pointsman::flavour::Flavour;
use pointsman::playground;
use tokio::process::Command;

use crate::compare::{self, Results, Status};
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
];

impl Suite {
    /// Gets its sources; the version, or why it cannot be had.
    pub(crate) async fn fetch(&self) -> Result<Result<String, String>> {
        let output = self.command("fetch")?.stderr(Stdio::piped()).output().await.context("bash")?;
        let last = |bytes: &[u8]| {
            String::from_utf8_lossy(bytes)
                .lines()
                .rfind(|line| !line.is_empty())
                .unwrap_or("it says nothing")
                .to_owned()
        };
        Ok(if output.status.success() { Ok(last(&output.stdout)) } else { Err(last(&output.stderr)) })
    }

    /// Runs it once, on servers as new.
    pub(crate) async fn run(
        &self,
        stage: &Stage,
        way: Way,
        flavour: Flavour,
        options: &Options,
    ) -> Result<Results> {
        stage.clear().await?;
        let folder = self.folder();
        let results = folder.join(format!("{flavour}-{way}.results"));
        let log = results.with_extension("log");
        let _ = fs::remove_file(&results);
        let output = fs::File::create(&log)?;
        let mut command = self.command("run")?;
        command
            .env("RESULTS", &results)
            .env("FLAVOUR", flavour.to_string().to_lowercase())
            .env("WAY", way.to_string())
            .env("PORT", stage.port(way).to_string())
            .stdout(output.try_clone()?)
            .stderr(output);
        let begun = Instant::now();
        let mut child = command.kill_on_drop(true).process_group(0).spawn().context("bash")?;
        let ended = tokio::time::timeout(Duration::from_secs(options.limit), child.wait()).await;
        if ended.is_err() {
            say(&format!("{}: not done within {} s, ended", self.name, options.limit));
            end_group(child.id()).await;
        }
        let results = compare::read(&fs::read_to_string(&results).unwrap_or_default());
        say(&format!(
            "{flavour} {} {way}: {} passed, {} failed, {} skipped in {:.0?} (log: {})",
            self.name,
            compare::count(&results, Status::Passed),
            compare::count(&results, Status::Failed),
            compare::count(&results, Status::Skipped),
            begun.elapsed(),
            log.display()
        ));
        Ok(results)
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
            .env("SCHEMA", SCHEMA)
            .current_dir(&folder)
            .stdin(Stdio::null());
        Ok(command)
    }
}

/// Ends a script with all that it started: it leads a group of its own.
async fn end_group(leader: Option<u32>) {
    if let Some(leader) = leader {
        let _ =
            Command::new("/bin/sh").args(["-c", r#"kill -KILL "-$0""#, &leader.to_string()]).status().await;
    }
}
