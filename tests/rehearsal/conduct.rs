//! Plays one scenario: clients begin, the script does its worst, all comes to rest, and the checkers look.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use pointsman::control::failover::journal::{self, Record};

use super::checks::{self, Checked};
use super::clients::{self, Clients};
use super::history::{Found, History, Row, Told};
use super::outlook::{Outlook, Seen, Shown};
use super::scenario::Scenario;
use super::scripts;
use super::stage::{NAMES, Node, SERVERS, Stage};
use super::verdict::Verdict;

/// How long servers may take to come to the same contents when nobody writes any more.
const CONVERGE_LIMIT: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);

/// A scenario under way.
pub(super) struct Play<'s, S> {
    pub(super) stage: &'s S,
    pub(super) outlook: Outlook,
    pub(super) clients: Clients,
    began: Instant,
    timeline: Vec<(Duration, String)>,
    findings: BTreeMap<&'static str, Vec<String>>,
    /// Records of the journal that were there when the play began.
    journal_before: usize,
}

/// Plays it and says what came of it.
pub(crate) async fn play<S: Stage>(stage: &S, scenario: Scenario, setting: &str) -> Result<Verdict> {
    clients::prepare(stage.proxy()).await?;
    let began = Instant::now();
    let outlook = Outlook::watch(began, stage.admin());
    outlook
        .until("writes are lossless and all servers serve", |shown| {
            shown.class == "lossless"
                && shown.primary() == Some(0)
                && shown.servers.iter().all(|server| server.standing == "serving")
        })
        .await?;
    let journal_before = journal::read(&stage.journal()?)?.len();
    let clients = Clients::start(began, stage.proxy());
    let mut play = Play {
        stage,
        outlook,
        clients,
        began,
        timeline: Vec::new(),
        findings: BTreeMap::new(),
        journal_before,
    };
    play.acknowledged(100).await?;
    let played = scripts::perform(&mut play, scenario).await;
    match played {
        Ok(()) => play.end(scenario, setting).await,
        Err(error) => {
            let timeline = play.timeline_with_events();
            let told: Vec<String> =
                timeline.iter().map(|(at, line)| format!("{:>8.3} s  {line}", at.as_secs_f64())).collect();
            Err(error.context(format!("{}, {setting}:\n{}", scenario.sheet().name, told.join("\n"))))
        }
    }
}

impl<S: Stage> Play<'_, S> {
    pub(super) fn say(&mut self, line: impl Into<String>) {
        self.timeline.push((self.began.elapsed(), line.into()));
    }

    pub(super) fn find(&mut self, checker: &'static str, finding: impl Into<String>) {
        self.findings.entry(checker).or_default().push(finding.into());
    }

    pub(super) async fn acknowledged(&mut self, more: usize) -> Result<()> {
        self.clients.await_acknowledged(more).await?;
        self.say(format!("{more} more writes are acknowledged"));
        Ok(())
    }

    pub(super) async fn kill(&mut self, node: Node) -> Result<()> {
        self.say(format!("{node}: kill -9"));
        self.stage.kill(node).await
    }

    pub(super) async fn start(&mut self, node: Node) -> Result<()> {
        self.stage.start(node).await.with_context(|| format!("{node} does not start"))?;
        self.say(format!("{node} is started"));
        Ok(())
    }

    /// As one who may do anything, past the proxy.
    pub(super) async fn root(&self, server: usize) -> Result<Conn> {
        let connect = Conn::new(self.stage.server(server));
        let conn = tokio::time::timeout(Duration::from_secs(10), connect).await;
        conn.context("no answer")?.with_context(|| format!("{} past the proxy", NAMES[server]))
    }

    /// Gives an order on the admin port; what was said.
    pub(super) async fn order(&mut self, order: &str) -> Result<()> {
        self.say(format!("order: {order}"));
        let mut conn = Conn::new(self.stage.admin()).await?;
        let said = conn.query_drop(order).await;
        match said {
            Ok(()) => self.say(format!("done: {order}")),
            Err(error) => bail!("{order}: {error}"),
        }
        Ok(())
    }

    /// Waits until another server takes writes; which.
    pub(super) async fn replaced(&mut self, old: usize) -> Result<usize> {
        let is_other = |shown: &Shown| shown.primary().is_some_and(|primary| primary != old);
        let shown = self.outlook.until("another server takes writes", is_other).await?;
        let new = shown.primary().context("there is one")?;
        self.say(format!("{} takes writes", NAMES[new]));
        Ok(new)
    }

    /// Waits until some server takes writes; which.
    pub(super) async fn led(&mut self) -> Result<usize> {
        let shown = self.outlook.until("a server takes writes", |shown| shown.primary().is_some()).await?;
        let primary = shown.primary().context("there is one")?;
        self.say(format!("{} takes writes", NAMES[primary]));
        Ok(primary)
    }

    /// Waits until the server is a replica again, or is left out with its reason: it has what others have not.
    pub(super) async fn returned(&mut self, server: usize) -> Result<bool> {
        let shown = self
            .outlook
            .until("the server is taken back, or found to have more", |shown| {
                shown.servers[server].serves_as("replica") || errant(shown, server).is_some()
            })
            .await?;
        let is_replica = shown.servers[server].serves_as("replica");
        let (name, why) = (NAMES[server], errant(&shown, server).unwrap_or_default());
        self.say(if is_replica {
            format!("{name} is a replica")
        } else {
            format!("{name} is left out: {why}")
        });
        Ok(is_replica)
    }

    /// Waits until that one serves, whatever it was.
    pub(super) async fn serves(&mut self, server: usize) -> Result<()> {
        let serves = |shown: &Shown| shown.servers[server].standing == "serving";
        self.outlook.until("the server serves", serves).await?;
        self.say(format!("{} serves", NAMES[server]));
        Ok(())
    }

    /// Lets time pass in which nothing is to happen; the reason the proxy gives for it.
    pub(super) async fn hold(&mut self, time: Duration) {
        let from = self.clients.acknowledged();
        tokio::time::sleep(time).await;
        let shown = self.outlook.shown();
        let why =
            if shown.no_failover.is_empty() { String::new() } else { format!("; {}", shown.no_failover) };
        let more = self.clients.acknowledged() - from;
        self.say(format!("{} s later: {more} more writes were acknowledged{why}", time.as_secs_f64()));
    }

    /// The journal of this play.
    pub(super) fn records(&self) -> Result<Vec<Record>> {
        Ok(journal::read(&self.stage.journal()?)?.split_off(self.journal_before))
    }

    fn timeline_with_events(&self) -> Vec<(Duration, String)> {
        let shown = self.outlook.shown();
        let events = shown.events.into_iter().map(|(at, event)| (at, format!("    proxy: {event}")));
        let mut all: Vec<_> = self.timeline.iter().cloned().chain(events).collect();
        all.sort_by_key(|(at, _)| *at);
        all
    }

    /// Everything is well again: clients finish, servers come to the same contents, and the checkers look.
    async fn end(mut self, scenario: Scenario, setting: &str) -> Result<Verdict> {
        self.acknowledged(100).await?;
        let shown = self.outlook.until("a server takes writes", |shown| shown.primary().is_some()).await?;
        let history = self.clients.stop().await?;
        let found = self.found(&shown).await?;
        self.check_journal(scenario)?;
        let mut checked = checks::check(&history, &found);
        let (turns, changes) = (found.first().map_or(0, checks::turns), self.changes()?);
        if turns > changes {
            self.find("two writers", format!("servers took {turns} turns at writing in {changes} changes"));
        }
        self.add_findings(&mut checked);
        Ok(self.verdict(scenario, setting, &history, checked))
    }

    fn add_findings(&mut self, checked: &mut Checked) {
        for (checker, findings) in std::mem::take(&mut self.findings) {
            match checked.findings.iter_mut().find(|(name, _)| *name == checker) {
                Some((_, all)) => all.extend(findings),
                None => checked.findings.push((checker, findings)),
            }
        }
    }

    /// What the primary has, and everybody who serves beside it.
    async fn found(&mut self, shown: &Shown) -> Result<Vec<Found>> {
        let primary = shown.primary().context("a primary")?;
        let mut serving = vec![primary];
        for server in (0..NAMES.len()).filter(|server| *server != primary) {
            let Seen { standing, because, .. } = &shown.servers[server];
            if standing == "serving" {
                serving.push(server);
                continue;
            }
            self.say(format!("{} does not serve: {because}", NAMES[server]));
            if errant(shown, server).is_none() {
                self.find("servers that did not return", format!("{}: {because}", NAMES[server]));
            }
        }
        // A session whose proxy was killed may yet be at its last commit.
        let deadline = Instant::now() + CONVERGE_LIMIT;
        loop {
            let mut found = Vec::new();
            for server in &serving {
                found.push(self.contents(*server).await?);
            }
            let same =
                found.iter().all(|one| (&one.rows, &one.transfers) == (&found[0].rows, &found[0].transfers));
            if same || Instant::now() > deadline {
                return Ok(found);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn contents(&self, server: usize) -> Result<Found> {
        let mut conn = self.root(server).await?;
        // Of one moment.
        conn.query_drop("START TRANSACTION WITH CONSISTENT SNAPSHOT").await?;
        let rows: Vec<(u64, u32)> = conn.query("SELECT id, by_server FROM app.written ORDER BY seq").await?;
        let sum: Option<i64> =
            conn.query_first("SELECT CAST(SUM(balance) AS SIGNED) FROM app.accounts").await?;
        Ok(Found {
            server: NAMES[server].to_owned(),
            rows: rows.into_iter().map(|(id, by_server)| Row { id, by_server }).collect(),
            transfers: conn.query("SELECT id FROM app.transfers ORDER BY seq").await?,
            sum: sum.unwrap_or_default(),
        })
    }

    /// How often the primary changed.
    fn changes(&self) -> Result<usize> {
        let mut from = BTreeMap::new();
        let mut changes = 0;
        for record in self.records()? {
            match record {
                Record::Began(began) => drop(from.insert(began.epoch, began.from)),
                Record::Opened { epoch, server, .. } => {
                    changes += usize::from(from.get(&epoch) != Some(&server));
                }
                _ => {}
            }
        }
        Ok(changes)
    }

    /// As many changes of primary as there may be, each written down from its beginning to its end.
    fn check_journal(&mut self, scenario: Scenario) -> Result<()> {
        let (changes, wanted) = (self.changes()?, &scenario.sheet().changes);
        let told = || format!("the primary changed {changes} times, expected {wanted:?}");
        let (checker, is_wrong) = ("false or missing failovers", !wanted.contains(&changes));
        self.findings.entry(checker).or_default().extend(is_wrong.then(told));
        let mut open = BTreeMap::new();
        for record in self.records()? {
            match record {
                Record::Began(began) => drop(open.insert(began.epoch, began.from)),
                Record::Opened { epoch, .. } => drop(open.remove(&epoch)),
                _ => {}
            }
        }
        let unfinished = open
            .into_iter()
            .map(|(epoch, from)| format!("epoch {epoch}, from {from}, was begun and has no end"));
        self.findings.entry("gaps in the audit").or_default().extend(unfinished);
        Ok(())
    }

    fn verdict(&self, scenario: Scenario, setting: &str, history: &History, checked: Checked) -> Verdict {
        let mut refused: BTreeMap<String, usize> = BTreeMap::new();
        let told = history.writes.iter().map(|write| &write.told).chain(history.transfers.values());
        let (mut acknowledged, mut unknown) = (0, 0);
        for told in told {
            match told {
                Told::Done => acknowledged += 1,
                Told::Unknown => unknown += 1,
                Told::Refused(error) => *refused.entry(error.clone()).or_default() += 1,
            }
        }
        Verdict {
            scenario,
            setting: setting.to_owned(),
            timeline: self.timeline_with_events(),
            checked,
            acknowledged,
            unknown,
            refused: refused.into_iter().collect(),
            lost_sessions: history.lost_sessions,
            longest_gap: checks::longest_gap(history),
            took: self.began.elapsed(),
        }
    }
}

/// What the proxy says of transactions that only this server has, the last that it said.
pub(super) fn errant(shown: &Shown, server: usize) -> Option<String> {
    let begins = format!("{} has transactions that the primary lacks", NAMES[server]);
    shown.events.iter().rev().map(|(_, event)| event).find(|event| event.starts_with(&begins)).cloned()
}

/// That every server is there and serves.
pub(super) async fn all_serve<S: Stage>(play: &mut Play<'_, S>) -> Result<()> {
    let all = |shown: &Shown| shown.servers.iter().all(|server| server.standing == "serving");
    play.outlook.until("all servers serve", all).await?;
    ensure!(play.outlook.shown().servers.len() == SERVERS.len(), "three servers are shown");
    play.say("all servers serve");
    Ok(())
}
