//! Carries a change of primary from one decision to the next, through the journal, over restarts.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::decide::{self, Context, Decision, Order, Policy, WINDOW};
use super::durability::{self, Class, Shortfall};
use super::journal::{self, Began, Record, Wall};
use super::plan::{Kind, Phase, Plan, WhyNot};
use super::repair;
use super::step::{Outcome, Step, What};
use super::view::View;
use crate::control::semi_sync::SourceSide;
use crate::gtid::History;
use crate::topology::ServerId;

/// Past changes that are remembered for people.
const REPORTS_MAX: usize = 100;
/// The age of a plan that seems to have begun in the future.
const CLOCK_SET_BACK: Duration = Duration::from_secs(86_400);
/// Lines of one report.
const LINES_MAX: usize = 200;

/// The state of the decider. Decides nothing itself: that is `decide`.
pub struct Coordinator {
    policy: Policy,
    names: Vec<Arc<str>>,
    plan: Option<Plan>,
    gate_closed: bool,
    order: Option<Order>,
    failovers: Vec<Instant>,
    class: Option<(Class, Vec<Shortfall>)>,
    reigned: Vec<ServerId>,
    has_promoted: bool,
    repairs: Vec<(Step, Instant)>,
    /// How commits waited when a change of primary last began.
    semi_sync: Option<SourceSide>,
    held: Option<Hold>,
    /// What clients of this process were told is done.
    acknowledged: History,
    /// Servers that are left out for what they have and the primary lacks.
    errant: Vec<(ServerId, String)>,
    /// The primary and the epoch that the journal knows.
    recorded: Option<(ServerId, u64)>,
    /// What the last decision was, where it was to wait.
    waits: Option<WhyNot>,
    current: Option<Report>,
    reports: VecDeque<Report>,
}

/// An operator's word that nothing be promoted without being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// `None`: until it is released.
    pub until: Option<Instant>,
}

/// One change of primary, for people.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    pub epoch: u64,
    pub kind: Kind,
    pub from: Arc<str>,
    pub class: Class,
    pub began: Instant,
    pub began_at: Wall,
    /// The server that took over, and how long writes had nowhere to go; `None` while it is under way.
    pub over: Option<(Arc<str>, Duration)>,
    /// Transactions that clients were told are done, and the server that was chosen has not got; `None` while none
    /// is chosen.
    pub acked_missing: Option<String>,
    /// What was done, with the time since it began.
    pub lines: Vec<(Duration, String)>,
}

impl Coordinator {
    pub fn new(policy: Policy, names: Vec<Arc<str>>) -> Self {
        Self {
            policy,
            names,
            plan: None,
            gate_closed: false,
            order: None,
            failovers: Vec::new(),
            class: None,
            reigned: Vec::new(),
            has_promoted: false,
            repairs: Vec::new(),
            semi_sync: None,
            held: None,
            acknowledged: History::default(),
            errant: Vec::new(),
            recorded: None,
            waits: None,
            current: None,
            reports: VecDeque::new(),
        }
    }

    /// Takes in what was decided before this process. `wall` and `now` are the same moment.
    pub fn restore(&mut self, records: &[Record], wall: Wall, now: Instant) {
        for record in records {
            match record {
                Record::Adopted { epoch, server } => self.reigns(server, *epoch),
                Record::Began(began) => {
                    self.waited(began.semi_sync.as_ref());
                    self.plan = self.resumed(began, wall, now);
                }
                Record::Chosen { server, because, floor, .. } => {
                    let id = self.id(server);
                    if let (Some(plan), Some(id)) = (&mut self.plan, id) {
                        plan.phase = Phase::Promoting(id, because.clone());
                        plan.floor = journal::history(floor).unwrap_or_default();
                        plan.quorum = 0;
                    }
                }
                Record::Opened { epoch, server, kind, at } => {
                    self.reigns(server, *epoch);
                    self.has_promoted = true;
                    self.plan = None;
                    // A wall's clock that was set back must not make room for more.
                    let age = Duration::from_millis(wall.saturating_sub(*at));
                    if *kind == Kind::Failover {
                        self.failovers.push(now.checked_sub(age).unwrap_or(now));
                    }
                }
                Record::Held { until, .. } => {
                    let left = until.map(|until| Duration::from_millis(until.saturating_sub(wall)));
                    self.held = Some(Hold { until: left.map(|left| now + left) });
                }
                Record::Released { .. } => self.held = None,
                Record::Step { .. } => {}
            }
        }
    }

    /// The primary and the epoch as the journal left them.
    pub fn recorded(&self) -> Option<(ServerId, u64)> {
        self.recorded
    }

    pub fn plan(&self) -> Option<&Plan> {
        self.plan.as_ref()
    }

    pub fn class(&self) -> Option<&(Class, Vec<Shortfall>)> {
        self.class.as_ref()
    }

    /// Why nothing is done, where something should be.
    pub fn waits(&self) -> Option<&WhyNot> {
        self.waits.as_ref().filter(|why| !why.is_passing())
    }

    /// Changes of primary, the newest last, and the one under way.
    pub fn reports(&self) -> impl Iterator<Item = &Report> {
        self.reports.iter().chain(&self.current)
    }

    /// Nothing is promoted without being asked, for that time or until it is released.
    pub fn hold(&mut self, lasts: Option<Duration>, now: Instant, wall: Wall) -> Record {
        self.held = Some(Hold { until: lasts.map(|lasts| now + lasts) });
        let millis = |lasts: Duration| u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX);
        let until = lasts.map(|lasts| wall.saturating_add(millis(lasts)));
        Record::Held { epoch: self.epoch(), until }
    }

    pub fn release(&mut self) -> Record {
        self.held = None;
        Record::Released { epoch: self.epoch() }
    }

    /// The operator's hold that is in force.
    pub fn held(&self, now: Instant) -> Option<Hold> {
        self.held.filter(|hold| hold.until.is_none_or(|until| now < until))
    }

    fn epoch(&self) -> u64 {
        self.recorded.map_or(0, |(_, epoch)| epoch)
    }

    /// Takes an order; one at a time.
    pub fn order(&mut self, order: Order) -> Result<(), WhyNot> {
        if self.plan.is_some() || self.order.is_some() {
            return Err(WhyNot::Busy);
        }
        self.order = Some(order);
        Ok(())
    }

    /// What would become of an order now.
    pub fn rehearse(&self, view: &View<'_>, leads: bool, order: Order) -> Decision {
        if self.plan.is_some() {
            return Decision::Refuse(WhyNot::Busy);
        }
        decide::decide(view, &Context { order: Some(order), ..self.context(0, leads, view.now) })
    }

    /// Servers with transactions that the primary lacks, and these.
    pub fn quarantined(&self) -> impl Iterator<Item = (Arc<str>, String)> {
        self.errant.iter().map(|(id, errant)| (Arc::clone(&self.names[usize::from(id.0)]), errant.clone()))
    }

    /// What cannot be told at this moment is as it was: else it would be news again at every second look.
    fn note_errant(&mut self, view: &View<'_>) {
        let lost = repair::lost(view, &self.context(0, true, view.now));
        let before = std::mem::take(&mut self.errant);
        let known = |id| before.iter().find(|(known, _)| *known == id).map(|(_, errant)| errant.clone());
        let told = lost.into_iter().filter_map(|(id, errant)| Some((id, errant.or_else(|| known(id))?)));
        self.errant = told.filter(|(_, errant)| !errant.is_empty()).collect();
    }

    /// The next step. `busy` is how many connections to the old primary sessions hold.
    pub fn decide(&mut self, view: &View<'_>, busy: usize, leads: bool) -> Decision {
        if self.plan.is_none()
            && let Some(primary) = view.primary.filter(|id| view.member(*id).answered)
        {
            self.class = Some(durability::class(view, primary));
        }
        self.note_errant(view);
        decide::decide(view, &self.context(busy, leads, view.now))
    }

    fn context(&self, busy: usize, leads: bool, now: Instant) -> Context<'_> {
        Context {
            policy: &self.policy,
            plan: self.plan.as_ref(),
            leads,
            gate_closed: self.gate_closed,
            busy,
            order: self.order,
            failovers: &self.failovers,
            class: self.class.as_ref(),
            reigned: &self.reigned,
            has_promoted: self.has_promoted,
            semi_sync: self.semi_sync.as_ref(),
            held: self.held(now).is_some(),
            acknowledged: &self.acknowledged,
            repairs: &self.repairs,
        }
    }

    /// Takes a decision over. What is returned must be in the journal before it is carried out.
    pub fn take(&mut self, decision: &Decision, view: &View<'_>, wall: Wall) -> Vec<Record> {
        self.waits = match decision {
            Decision::Wait(why) => Some(why.clone()),
            _ => None,
        };
        let mut records: Vec<Record> = self.adopted(view).into_iter().collect();
        records.extend(match decision {
            Decision::Rest | Decision::Wait(_) => Vec::new(),
            Decision::Refuse(_) => {
                self.order = None;
                Vec::new()
            }
            Decision::Begin(plan) => self.begin((**plan).clone(), wall),
            Decision::CloseGate => {
                self.gate_closed = true;
                self.tell(view.now, "nothing reaches the old primary any more, nor is passed on from it");
                Vec::new()
            }
            Decision::Run(steps) => self.run(steps, view, wall),
            Decision::Choose { .. } | Decision::Refence => self.turn(decision, view, wall),
            Decision::Open(server) => self.open(*server, view, wall),
        });
        records
    }

    /// A primary that was found and that the journal does not know yet.
    fn adopted(&mut self, view: &View<'_>) -> Option<Record> {
        let primary = view.primary.filter(|_| self.plan.is_none())?;
        let (known, epoch) = self.recorded.unwrap_or((primary, 0));
        if self.recorded.is_some() && (known == primary || epoch >= view.epoch.0) {
            return None;
        }
        let server = self.name(primary);
        self.reigns(&server, view.epoch.0);
        Some(Record::Adopted { epoch: view.epoch.0, server })
    }

    fn begin(&mut self, plan: Plan, wall: Wall) -> Vec<Record> {
        self.order = None;
        self.gate_closed = false;
        self.waited(plan.semi_sync.as_ref());
        let report = Report {
            epoch: plan.epoch,
            kind: plan.kind,
            from: Arc::clone(&self.names[usize::from(plan.from.0)]),
            class: plan.class,
            began: plan.since,
            began_at: wall,
            over: None,
            acked_missing: None,
            lines: Vec::new(),
        };
        self.current = Some(report);
        let record = self.began(&plan, wall);
        self.plan = Some(plan);
        vec![record]
    }

    fn run(&mut self, steps: &[Step], view: &View<'_>, wall: Wall) -> Vec<Record> {
        if self.plan.is_none() {
            for step in steps {
                self.repairs.retain(|(tried, _)| tried != step);
                self.repairs.push((step.clone(), view.now));
            }
        }
        let epoch = self.plan.as_ref().map_or(view.epoch.0, |plan| plan.epoch);
        let changes = steps.iter().filter(|step| !matches!(step.what, What::Await { .. }));
        let record = |step: &Step| Record::Step {
            epoch,
            server: self.name(step.server),
            what: step.what.name().to_owned(),
            outcome: None,
            at: wall,
        };
        changes.map(record).collect()
    }

    /// Takes in what became of a step.
    pub fn finished(&mut self, step: &Step, outcome: &Outcome, now: Instant, wall: Wall) -> Record {
        match (&mut self.plan, outcome, &step.what) {
            (Some(plan), Outcome::Failed(error) | Outcome::Unknown(error), _) => {
                plan.count_try(step, Arc::clone(error));
            }
            // Where it answers that all is there, and nothing shows it, asking again would never end.
            (Some(plan), Outcome::Done, What::Await { .. }) => plan.count_try(step, "not shown".into()),
            _ => {}
        }
        let server = self.name(step.server);
        self.tell(now, &format!("{server}: {} {outcome}", step.what.name()));
        Record::Step {
            epoch: self.plan.as_ref().map_or(0, |plan| plan.epoch),
            server,
            what: step.what.name().to_owned(),
            outcome: Some(outcome.to_string()),
            at: wall,
        }
    }

    /// What clients were told of, as the gate knows it.
    pub fn was_acknowledged(&mut self, acknowledged: History) {
        self.acknowledged = acknowledged;
    }

    /// What clients were told of, and that server has not got.
    fn acked_missing(&self, view: &View<'_>, server: ServerId) -> String {
        let have = view.member(server).received_or_executed().unwrap_or_default();
        self.acknowledged.subtract(&have).to_string()
    }

    /// The plan enters another phase.
    fn turn(&mut self, decision: &Decision, view: &View<'_>, wall: Wall) -> Vec<Record> {
        let Some(mut plan) = self.plan.take() else { return Vec::new() };
        plan.since = view.now;
        plan.tries.clear();
        let record = match decision {
            Decision::Choose { server, because, floor } => {
                plan.phase = Phase::Promoting(*server, because.clone());
                plan.floor = floor.clone();
                // Whatever was acknowledged is in the floor from here on.
                plan.quorum = 0;
                let name = self.name(*server);
                let acked_missing = self.acked_missing(view, *server);
                self.tell(
                    view.now,
                    &format!("{name} is chosen: {because}; acked_missing = '{acked_missing}'"),
                );
                if let Some(report) = &mut self.current {
                    report.acked_missing = Some(acked_missing.clone());
                }
                let (epoch, floor) = (plan.epoch, floor.to_string());
                Record::Chosen { epoch, server: name, because: because.clone(), floor, acked_missing }
            }
            _ => {
                if plan.kind == Kind::Switchover {
                    plan.kind = Kind::OrderedFailover;
                    plan.wanted = None;
                }
                if plan.class < Class::Lossless {
                    plan.floor = History::default();
                }
                plan.phase = Phase::Fencing;
                self.tell(view.now, "a server is lost in the midst of it; beginning anew");
                self.began(&plan, wall)
            }
        };
        self.plan = Some(plan);
        vec![record]
    }

    fn open(&mut self, server: ServerId, view: &View<'_>, wall: Wall) -> Vec<Record> {
        let Some(plan) = self.plan.take() else { return Vec::new() };
        let name = self.name(server);
        self.reigns(&name, plan.epoch);
        self.has_promoted = true;
        self.gate_closed = false;
        self.repairs.clear();
        self.failovers.retain(|at| view.now.saturating_duration_since(*at) < WINDOW);
        if plan.kind == Kind::Failover {
            self.failovers.push(view.now);
        }
        self.tell(view.now, &format!("{name} takes writes"));
        if let Some(mut report) = self.current.take() {
            report.over = Some((name.as_str().into(), view.now.saturating_duration_since(report.began)));
            self.reports.push_back(report);
            while self.reports.len() > REPORTS_MAX {
                self.reports.pop_front();
            }
        }
        vec![Record::Opened { epoch: plan.epoch, server: name, kind: plan.kind, at: wall }]
    }

    fn tell(&mut self, now: Instant, line: &str) {
        if let Some(report) = self.current.as_mut().filter(|report| report.lines.len() < LINES_MAX) {
            report.lines.push((now.saturating_duration_since(report.began), line.to_owned()));
        }
    }

    fn reigns(&mut self, server: &str, epoch: u64) {
        let Some(id) = self.id(server) else { return };
        self.recorded = Some((id, epoch));
        if !self.reigned.contains(&id) {
            self.reigned.push(id);
        }
    }

    fn began(&self, plan: &Plan, wall: Wall) -> Record {
        let names = |ids: &[ServerId]| ids.iter().map(|id| self.name(*id)).collect();
        Record::Began(Box::new(Began {
            epoch: plan.epoch,
            kind: plan.kind,
            from: self.name(plan.from),
            wanted: plan.wanted.map(|id| self.name(id)),
            members: names(&plan.members),
            ackers: names(&plan.ackers),
            quorum: plan.quorum,
            class: plan.class,
            semi_sync: plan.semi_sync.clone(),
            baseline: plan.baseline.to_string(),
            floor: plan.floor.to_string(),
            at: wall,
        }))
    }

    /// A plan that another process began. Servers that are no longer configured are as lost as dead ones.
    fn resumed(&mut self, began: &Began, wall: Wall, now: Instant) -> Option<Plan> {
        let ids = |names: &[String]| names.iter().filter_map(|name| self.id(name)).collect();
        // A wall's clock that was set back says nothing of how long it was: long, to be on the safe side.
        let age = wall.checked_sub(began.at).map_or(CLOCK_SET_BACK, Duration::from_millis);
        let plan = Plan {
            epoch: began.epoch,
            kind: began.kind,
            from: self.id(&began.from)?,
            wanted: began.wanted.as_deref().and_then(|name| self.id(name)),
            members: ids(&began.members),
            ackers: ids(&began.ackers),
            quorum: began.quorum,
            class: began.class,
            semi_sync: began.semi_sync.clone(),
            baseline: journal::history(&began.baseline).unwrap_or_default(),
            floor: journal::history(&began.floor).unwrap_or_default(),
            phase: Phase::Fencing,
            since: now.checked_sub(age).unwrap_or(now),
            tries: Vec::new(),
        };
        self.current = Some(Report {
            epoch: plan.epoch,
            kind: plan.kind,
            from: began.from.as_str().into(),
            class: plan.class,
            began: plan.since,
            began_at: began.at,
            over: None,
            acked_missing: None,
            lines: Vec::new(),
        });
        Some(plan)
    }

    /// Where nobody was left to wait for, the last that did wait is remembered.
    fn waited(&mut self, semi_sync: Option<&SourceSide>) {
        if let Some(semi_sync) = semi_sync {
            self.semi_sync = Some(semi_sync.clone());
        }
    }

    fn name(&self, id: ServerId) -> String {
        self.names.get(usize::from(id.0)).map_or_else(String::new, |name| name.to_string())
    }

    fn id(&self, name: &str) -> Option<ServerId> {
        let place = self.names.iter().position(|known| **known == *name)?;
        u16::try_from(place).ok().map(ServerId)
    }
}
