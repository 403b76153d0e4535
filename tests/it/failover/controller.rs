//! One process of the proxy in the simulated world: what `control` does around its pure parts.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use pointsman::config::{self, Config};
use pointsman::control::failover::coordinator::Coordinator;
use pointsman::control::failover::decide::{Decision, Mode, Policy};
use pointsman::control::failover::durability::Class;
use pointsman::control::failover::journal::{self, Record};
use pointsman::control::failover::plan::{Because, WhyNot};
use pointsman::control::failover::step::{Outcome, Step, What};
use pointsman::control::judge::{Judge, Preference};
use pointsman::topology::{Epoch, ServerId, Snapshot};

use super::chance::Chance;
use super::world::{Txn, World};

/// Ways in which a decider may be wrong; the simulation must notice each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// Promotes whoever comes first.
    ChoosesAny,
    /// Does not close the way to the old primary.
    LeavesTheGateOpen,
    /// Promotes without having reached enough of those that acknowledge.
    ForgetsTheQuorum,
    /// Forgets the journal when it is started again.
    ForgetsTheJournal,
}

pub(super) struct Controller {
    pub(super) judge: Judge,
    pub(super) coordinator: Coordinator,
    pub(super) snapshot: Snapshot,
    /// Servers that nothing reaches, nor is passed on from.
    pub(super) gates: Vec<bool>,
    /// What this process told clients is done.
    pub(super) ledger: BTreeSet<Txn>,
    wrong: Option<Wrong>,
}

pub(super) fn policy() -> Policy {
    Policy {
        mode: Mode::Automatic,
        min_class: Class::Lossless,
        allow_degraded: true,
        grace: Duration::from_secs(1),
        catch_up: Duration::from_secs(5),
        min_interval: Duration::from_secs(5),
        max_failovers: 6,
    }
}

impl Controller {
    pub(super) fn start(world: &World, disk: &str, wall: u64, wrong: Option<Wrong>) -> Self {
        let count = world.servers.len();
        let mut cluster = Config::default().cluster;
        let server = |index: usize| config::Server {
            name: format!("s{index}"),
            ..config::Server::plain(format!("s{index}:3306"))
        };
        cluster.servers = (0..count).map(server).collect();
        let mut judge = Judge::new(&cluster, Duration::from_secs(10));
        let names: Vec<Arc<str>> = cluster.servers.iter().map(|server| server.name.as_str().into()).collect();
        let mut coordinator = Coordinator::new(policy(), names);
        let records = journal::read(disk).expect("the journal is whole");
        if wrong != Some(Wrong::ForgetsTheJournal) {
            coordinator.restore(&records, wall, world.now);
        }
        judge.trust_proven();
        if let Some((primary, epoch)) = coordinator.recorded() {
            judge.establish(primary, Epoch(epoch));
        }
        if let Some(plan) = coordinator.plan() {
            judge.fence(plan.from, &judge.unprobed());
        }
        let snapshot = judge.unprobed();
        Self { judge, coordinator, snapshot, gates: vec![false; count], ledger: BTreeSet::new(), wrong }
    }

    pub(super) fn look(&mut self, world: &World, index: usize) {
        let id = ServerId(u16::try_from(index).expect("few"));
        self.judge.observe(id, world.probe(index), world.now);
        self.publish(world);
    }

    fn publish(&mut self, world: &World) {
        if let Some(verdict) = self.judge.verdict(world.now) {
            self.snapshot = verdict.snapshot;
        }
        // A way is opened again to a server that is part of the cluster again.
        for (gate, server) in self.gates.iter_mut().zip(&self.snapshot.servers) {
            *gate &= server.standing != pointsman::topology::Standing::Serving;
        }
    }

    /// Decides and acts until something takes time. `Err`: the process was killed at this point.
    pub(super) fn advance(&mut self, stage: &mut Stage<'_>) -> Result<(), Killed> {
        // Steps that fail are tried again; within one moment not for ever.
        for _ in 0..40 {
            let preferences = [Preference::default(); 8];
            let now = stage.world.now;
            let Some(view) = self.judge.view(&preferences, now) else { return Ok(()) };
            self.coordinator.was_acknowledged(stage.world.history(self.ledger.iter()));
            let mut decision = self.coordinator.decide(&view, 0, true);
            self.spoil(&mut decision, stage);
            let records = self.coordinator.take(&decision, &view, stage.wall);
            stage.say(&decision);
            stage.may_be_killed()?;
            stage.write(&records);
            stage.may_be_killed()?;
            if !self.carry_out(decision, stage)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Makes it decide wrongly.
    fn spoil(&self, decision: &mut Decision, stage: &Stage<'_>) {
        let Some(plan) = self.coordinator.plan() else { return };
        let anybody = || plan.members.iter().copied().rfind(|id| stage.world.answers(usize::from(id.0)));
        match (self.wrong, &decision) {
            (Some(Wrong::ChoosesAny), Decision::Choose { floor, because: Because::HasAll, .. }) => {
                if let Some(server) = anybody() {
                    let floor = floor.clone();
                    *decision = Decision::Choose { server, because: Because::HasAll, floor };
                }
            }
            (Some(Wrong::ForgetsTheQuorum), Decision::Wait(WhyNot::NotRevocable { .. })) => {
                if let Some(server) = anybody() {
                    let floor = pointsman::gtid::History::default();
                    *decision = Decision::Choose { server, because: Because::HasAll, floor };
                }
            }
            _ => {}
        }
    }

    fn carry_out(&mut self, decision: Decision, stage: &mut Stage<'_>) -> Result<bool, Killed> {
        match decision {
            Decision::Rest | Decision::Wait(_) | Decision::Refuse(_) => return Ok(false),
            Decision::Begin(plan) => {
                self.judge.fence(plan.from, &self.snapshot);
                self.publish(stage.world);
            }
            Decision::CloseGate => {
                if let Some(plan) = self.coordinator.plan()
                    && self.wrong != Some(Wrong::LeavesTheGateOpen)
                {
                    self.gates[usize::from(plan.from.0)] = true;
                }
            }
            Decision::Run(steps) => {
                for step in steps {
                    self.check_step(&step, stage);
                    let outcome = stage.perform(&step);
                    stage.may_be_killed()?;
                    let record = self.coordinator.finished(&step, &outcome, stage.world.now, stage.wall);
                    stage.write(&[record]);
                    self.look(stage.world, usize::from(step.server.0));
                }
                // The rest takes time.
                return Ok(!stage.chance.one_in(3));
            }
            Decision::Choose { .. } | Decision::Refence => {}
            Decision::Open(server) => {
                self.check_open(server, stage);
                let epoch = self.coordinator.recorded().map_or(0, |(_, epoch)| epoch);
                self.judge.establish(server, Epoch(epoch));
                self.gates[usize::from(server.0)] = false;
                self.publish(stage.world);
            }
        }
        Ok(true)
    }

    /// Nothing is made a primary while anything may still come from the old one.
    fn check_step(&self, step: &Step, stage: &mut Stage<'_>) {
        let Some(plan) = self.coordinator.plan() else { return };
        let promotes =
            matches!(step.what, What::Detach { .. } | What::OpenWrites) && step.server != plan.from;
        if promotes && !self.gates[usize::from(plan.from.0)] {
            stage.violated("the way to the old primary is open while another is promoted");
        }
        if promotes && self.snapshot.primary.is_some() {
            stage.violated("there is a primary while another is promoted");
        }
        let server = &stage.world.servers[usize::from(step.server.0)];
        if matches!(step.what, What::Detach { .. } | What::Follow { .. }) && !server.relay.is_empty() {
            // MariaDB's or MySQL's, what was received and not applied would be thrown away.
            stage.violated("a relay log is thrown away before it is applied");
        }
    }

    fn check_open(&self, server: ServerId, stage: &mut Stage<'_>) {
        let index = usize::from(server.0);
        let new = &stage.world.servers[index];
        if !new.relay.is_empty() && new.source.is_none() {
            stage.violated("a server is opened before it has applied all");
        }
    }
}

/// The process is killed.
pub(super) struct Killed;

/// What one moment of a controller plays on.
pub(super) struct Stage<'s> {
    pub(super) world: &'s mut World,
    pub(super) chance: &'s mut Chance,
    pub(super) disk: &'s mut String,
    pub(super) wall: u64,
    /// Whether faults happen.
    pub(super) faults: bool,
    /// The process is killed when the journal has so many lines.
    pub(super) killed_at: Option<usize>,
    pub(super) violations: &'s mut Vec<String>,
    pub(super) verbose: Option<&'s mut String>,
}

impl Stage<'_> {
    fn write(&mut self, records: &[Record]) {
        for record in records {
            self.disk.push_str(&record.line());
        }
    }

    fn may_be_killed(&mut self) -> Result<(), Killed> {
        if self.faults && self.chance.one_in(60) {
            self.tell("the controller is killed");
            return Err(Killed);
        }
        if self.killed_at.is_some_and(|lines| self.disk.lines().count() >= lines) {
            self.tell("the controller is killed");
            return Err(Killed);
        }
        Ok(())
    }

    fn violated(&mut self, what: &str) {
        self.tell(what);
        self.violations.push(what.to_owned());
    }

    fn say(&mut self, decision: &Decision) {
        if !matches!(decision, Decision::Rest) {
            let text = format!("{decision:?}");
            self.tell(&text.chars().take(300).collect::<String>());
        }
    }

    pub(super) fn tell(&mut self, line: &str) {
        if let Some(out) = &mut self.verbose {
            let _ = writeln!(out, "    {line}");
        }
    }

    /// The step is taken, or not, and the answer comes, or not.
    fn perform(&mut self, step: &Step) -> Outcome {
        let index = usize::from(step.server.0);
        if !self.world.answers(index) {
            return Outcome::Failed("not reached".into());
        }
        if self.faults && self.chance.one_in(12) {
            if self.chance.one_in(2) {
                let _ = self.world.perform(index, &step.what);
            }
            return Outcome::Unknown("the answer was lost".into());
        }
        match self.world.perform(index, &step.what) {
            Ok(()) => Outcome::Done,
            Err(error) => Outcome::Failed(error.into()),
        }
    }
}
