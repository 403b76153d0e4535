//! The shell of the decider: asks it, writes down what it says, and has it done.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot};

use super::act::{Acted, Hands, Seen};
use super::coordinator::{Coordinator, Hold, Report};
use super::decide::{Decision, Order};
use super::durability::{Class, Shortfall};
use super::journal::{Journal, Leadership, Record, Wall};
use super::plan::{Because, Phase, Plan, Unfit, WhyNot};
use super::step::{Outcome, Step};
use super::view::View;
use crate::control::Published;
use crate::control::judge::{Judge, Preference, Problem};
use crate::control::observation::Facts;
use crate::gtid::History;
use crate::topology::{Epoch, ServerId, Standing};

/// Between two looks while something is waited for.
const LOOK_PAUSE: Duration = Duration::from_millis(50);
/// The same while statements end, which costs no server anything to see.
const GRACE_PAUSE: Duration = Duration::from_millis(2);
/// The same for one server that all wait for.
const SHORT_PAUSE: Duration = Duration::from_millis(10);
/// How long preparations may take. A switchover begins without what is not ready then, and pauses longer.
const PREPARE_LIMIT: Duration = Duration::from_secs(15);
/// What is said to whoever asked for it.
const HELD: &str = "failover is held: nothing is promoted without being asked";
const RELEASED: &str = "failover is not held any more";
/// Orders that may wait to be taken.
const REQUESTS_MAX: usize = 8;

/// The way to the servers, which the control line does not know.
pub trait Gate: Send + Sync {
    /// When this returns, nothing reaches the server any more, and nothing that comes from it is passed on.
    fn close(&self, server: ServerId);
    fn open(&self, server: ServerId);
    /// Opens as many connections to one as are in use to the other, as far as that can be done ahead.
    fn prepare(&self, from: ServerId, to: ServerId) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
    /// Every transaction of which a client was told that it is done, as far as that is known.
    fn acknowledged(&self) -> History;
    /// Connections to it that sessions hold.
    fn busy(&self, server: ServerId) -> usize;
}

/// What somebody asked for, and where the answer goes.
pub(in crate::control) struct Request {
    wish: Wish,
    answer: oneshot::Sender<Result<String, String>>,
}

#[derive(Clone, Copy, Debug)]
enum Wish {
    Change(Order),
    /// Only say what would be done.
    Rehearse(Order),
    /// Nothing is to be promoted, for that time or until it is released.
    Hold(Option<Duration>),
    Release,
}

/// The end for people: gives orders, sees what became of them.
#[derive(Clone)]
pub struct Desk {
    requests: mpsc::Sender<Request>,
    shown: Arc<Mutex<Shown>>,
}

/// What is shown of the decider.
#[derive(Clone, Default)]
pub struct Shown {
    pub reports: Vec<Report>,
    pub class: Option<(Class, Vec<Shortfall>)>,
    pub waits: Option<WhyNot>,
    pub held: Option<Hold>,
}

impl Desk {
    /// Carries the order out, or only says what would be done. The answer comes when it is over.
    ///
    /// # Errors
    /// Why it is not, or was not, carried out.
    pub async fn order(&self, order: Order, rehearse: bool) -> Result<String, String> {
        self.ask(if rehearse { Wish::Rehearse(order) } else { Wish::Change(order) }).await
    }

    /// Nothing is promoted without being asked, for that time or until it is released.
    ///
    /// # Errors
    /// Where it could not be written down.
    pub async fn hold(&self, lasts: Option<Duration>) -> Result<String, String> {
        self.ask(Wish::Hold(lasts)).await
    }

    /// Ends a hold.
    ///
    /// # Errors
    /// Where it could not be written down.
    pub async fn release(&self) -> Result<String, String> {
        self.ask(Wish::Release).await
    }

    async fn ask(&self, wish: Wish) -> Result<String, String> {
        let (answer, answered) = oneshot::channel();
        let gone = || "the control line has stopped".to_owned();
        self.requests.send(Request { wish, answer }).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    pub fn shown(&self) -> Shown {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What the decider works with, from the composition root.
pub struct Equipment {
    pub coordinator: Coordinator,
    pub journal: Box<dyn Journal>,
    pub leadership: Box<dyn Leadership>,
    pub gate: Arc<dyn Gate>,
}

/// The decider at work.
pub(in crate::control) struct Lead {
    coordinator: Coordinator,
    journal: Arc<Mutex<Box<dyn Journal>>>,
    journal_failed: Option<Arc<str>>,
    leadership: Box<dyn Leadership>,
    gate: Arc<dyn Gate>,
    closed: Vec<ServerId>,
    hands: Hands,
    preferences: Vec<Preference>,
    requests: mpsc::Receiver<Request>,
    shown: Arc<Mutex<Shown>>,
    /// Who waits for the end of the plan.
    waiting: VecDeque<oneshot::Sender<Result<String, String>>>,
    /// How the plan under way will end.
    ending: Option<Because>,
    acting: bool,
    acted: (mpsc::Sender<Acted>, mpsc::Receiver<Acted>),
    /// What became of steps, and is not yet written down.
    outcomes: Vec<Record>,
    prepared: (mpsc::Sender<Prepared>, mpsc::Receiver<Prepared>),
}

/// An order for which all is ready that can be.
pub(in crate::control) struct Prepared {
    request: Request,
    acted: Acted,
}

impl Lead {
    pub(in crate::control) fn new(
        equipment: Equipment,
        hands: Hands,
        preferences: Vec<Preference>,
    ) -> (Self, Desk) {
        let (sender, requests) = mpsc::channel(REQUESTS_MAX);
        let shown = Arc::<Mutex<Shown>>::default();
        let Equipment { coordinator, journal, leadership, gate } = equipment;
        let lead = Self {
            coordinator,
            journal: Arc::new(Mutex::new(journal)),
            journal_failed: None,
            leadership,
            gate,
            closed: Vec::new(),
            hands,
            preferences,
            requests,
            shown: Arc::clone(&shown),
            waiting: VecDeque::new(),
            ending: None,
            acting: false,
            acted: mpsc::channel(1),
            outcomes: Vec::new(),
            prepared: mpsc::channel(REQUESTS_MAX),
        };
        (lead, Desk { requests: sender, shown })
    }

    /// Brings the judge to where the journal left off.
    pub(in crate::control) fn resume(&self, judge: &mut Judge) {
        judge.trust_proven();
        if let Some((primary, epoch)) = self.coordinator.recorded() {
            judge.establish(primary, Epoch(epoch));
        }
        if let Some(plan) = self.coordinator.plan() {
            judge.fence(plan.from, &judge.unprobed());
        }
    }

    /// What the decider must hear of: an order, or what became of its steps.
    pub(in crate::control) async fn news(&mut self) -> LeadNews {
        tokio::select! {
            Some(request) = self.requests.recv() => LeadNews::Request(request),
            Some(acted) = self.acted.1.recv() => LeadNews::Acted(acted),
            Some(prepared) = self.prepared.1.recv() => LeadNews::Prepared(prepared),
        }
    }

    /// Takes in an order or what became of steps.
    pub(in crate::control) async fn hear(&mut self, news: LeadNews, judge: &mut Judge) {
        match news {
            LeadNews::Request(request) => self.receive(request, judge).await,
            LeadNews::Prepared(Prepared { request, acted }) => {
                let behind = acted.outcomes.iter().find(|(_, outcome)| *outcome != Outcome::Done);
                let behind = behind.map(|(step, _)| step.server);
                observe(judge, acted.seen);
                match behind {
                    // Writes would wait for all that it has yet to apply.
                    Some(server) => self.refuse(request, server, judge),
                    None => self.take_order(request, judge),
                }
            }
            LeadNews::Acted(acted) => {
                self.acting = false;
                observe(judge, acted.seen);
                let finished = |(step, outcome): &(Step, _)| {
                    self.coordinator.finished(step, outcome, Instant::now(), wall())
                };
                let records: Vec<Record> = acted.outcomes.iter().map(finished).collect();
                if self.coordinator.plan().is_some() {
                    // They are for people; the next decision takes them along, and clients do not wait for them.
                    self.outcomes.extend(records);
                } else {
                    self.hands.rest();
                    self.write(records).await;
                }
            }
        }
    }

    /// An order to hand over waits until all is ready for it, so that writes need not.
    async fn receive(&mut self, request: Request, judge: &Judge) {
        let held = match request.wish {
            Wish::Hold(lasts) => Some((self.coordinator.hold(lasts, Instant::now(), wall()), HELD)),
            Wish::Release => Some((self.coordinator.release(), RELEASED)),
            Wish::Change(_) | Wish::Rehearse(_) => None,
        };
        if let Some((record, said)) = held {
            let written = self.write(vec![record]).await;
            self.show();
            let said = written.then(|| said.to_owned()).ok_or("the failover journal cannot be written");
            // Whoever asked may have gone.
            return drop(request.answer.send(said.map_err(str::to_owned)));
        }
        let primary = judge.view(&self.preferences, Instant::now()).and_then(|view| view.primary);
        let (Wish::Change(Order::Switchover { to }), Some(from)) = (request.wish, primary) else {
            return self.take_order(request, judge);
        };
        let (hands, gate) = (self.hands.clone(), Arc::clone(&self.gate));
        let prepared = self.prepared.0.clone();
        tokio::spawn(async move {
            let preparing = async { tokio::join!(hands.prepare(from, to), gate.prepare(from, to)).0 };
            let acted = tokio::time::timeout(PREPARE_LIMIT, preparing).await.unwrap_or_default();
            // The line has stopped: nobody needs to know.
            let _ = prepared.send(Prepared { request, acted }).await;
        });
    }

    fn refuse(&self, request: Request, server: ServerId, judge: &Judge) {
        let view = judge.view(&self.preferences, Instant::now());
        let name = view.map_or_else(|| "it".into(), |view| view.name(server));
        let why = WhyNot::BadTarget { server: name, because: Unfit::Behind };
        // Whoever asked may have gone.
        let _ = request.answer.send(Err(why.to_string()));
    }

    fn take_order(&mut self, request: Request, judge: &Judge) {
        let Request { wish, answer } = request;
        let (order, rehearse) = match wish {
            Wish::Change(order) => (order, false),
            Wish::Rehearse(order) => (order, true),
            Wish::Hold(_) | Wish::Release => return,
        };
        let answered = match judge.view(&self.preferences, Instant::now()) {
            None => Some(Err("the servers have not all been looked at yet".to_owned())),
            Some(view) if rehearse => {
                let decision = self.coordinator.rehearse(&view, self.leads(), order);
                Some(super::rehearsal::tell(&view, &decision))
            }
            Some(_) => self.coordinator.order(order).err().map(|why| Err(why.to_string())),
        };
        match answered {
            // Whoever asked may have gone.
            Some(said) => drop(answer.send(said)),
            None => self.waiting.push_back(answer),
        }
    }

    fn leads(&self) -> bool {
        self.leadership.leads() && self.journal_failed.is_none()
    }

    /// What people should know of.
    pub(in crate::control) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        problems.extend(self.journal_failed.clone().map(Problem::JournalFailed));
        problems.extend(self.coordinator.waits().cloned().map(Problem::NoFailover));
        let errant = self.coordinator.quarantined();
        problems.extend(errant.map(|(server, transactions)| Problem::Errant { server, transactions }));
        problems
    }

    /// Goes on from decision to decision until one takes time.
    pub(in crate::control) async fn advance(&mut self, judge: &mut Judge, published: &mut Published) {
        while !self.acting {
            let now = Instant::now();
            let Some(view) = judge.view(&self.preferences, now) else { return };
            let busy = self.coordinator.plan().map_or(0, |plan| self.gate.busy(plan.from));
            if self.coordinator.plan().is_some() {
                self.coordinator.was_acknowledged(self.gate.acknowledged());
            }
            let decision = self.coordinator.decide(&view, busy, self.leads());
            let records = self.coordinator.take(&decision, &view, wall());
            let steps = match &decision {
                Decision::Run(steps) => with_facts(steps, |id| view.member(id).facts.cloned()),
                _ => Vec::new(),
            };
            let looks = looks(&decision, self.coordinator.plan(), &view);
            if !records.is_empty() && !self.write(records).await {
                return;
            }
            let goes_on = self.carry_out(decision, steps, looks, judge, published);
            self.show();
            if !goes_on {
                return;
            }
        }
    }

    /// Whether there may be another decision at once.
    fn carry_out(
        &mut self,
        decision: Decision,
        steps: Vec<(Step, Facts)>,
        (looked, pause): (Vec<ServerId>, Duration),
        judge: &mut Judge,
        published: &mut Published,
    ) -> bool {
        match decision {
            Decision::Rest => return false,
            Decision::Refuse(why) => self.answer(Err(why.to_string())),
            Decision::Wait(_) => {
                if self.coordinator.plan().is_some() {
                    self.spawn(self.hands.clone().look_at(looked, pause));
                }
                return false;
            }
            Decision::Begin(plan) => {
                judge.fence(plan.from, published.snapshot());
                published.judge(judge, Vec::new());
            }
            Decision::CloseGate => {
                if let Some(plan) = self.coordinator.plan() {
                    self.gate.close(plan.from);
                    self.closed.push(plan.from);
                }
            }
            Decision::Run(_) => {
                self.spawn(self.hands.clone().act(steps));
                return false;
            }
            Decision::Choose { because, .. } => self.ending = Some(because),
            Decision::Refence => self.ending = None,
            Decision::Open(server) => {
                let epoch = self.coordinator.recorded().map_or(0, |(_, epoch)| epoch);
                judge.establish(server, Epoch(epoch));
                self.open_gate(server);
                published.judge(judge, Vec::new());
                self.ended();
            }
        }
        true
    }

    fn spawn(&mut self, work: impl Future<Output = Acted> + Send + 'static) {
        self.acting = true;
        let sender = self.acted.0.clone();
        tokio::spawn(async move {
            let acted = work.await;
            // The line has stopped: nobody needs to know.
            let _ = sender.send(acted).await;
        });
    }

    fn ended(&mut self) {
        self.hands.rest();
        let report = self.coordinator.reports().last();
        let said = report.and_then(|report| report.over.clone().map(|over| (report.epoch, over)));
        let text = said.map_or_else(String::new, |(epoch, (name, took))| {
            format!("epoch {epoch}: {name} is the primary; writes waited {} ms", took.as_millis())
        });
        let answer = match self.ending.take() {
            Some(because @ Because::Returned(_)) => Err(format!("{because}; {text}")),
            _ => Ok(text),
        };
        self.answer(answer);
    }

    fn answer(&mut self, said: Result<String, String>) {
        while let Some(waiting) = self.waiting.pop_front() {
            let _ = waiting.send(said.clone());
        }
    }

    /// Lets servers be reached again that are part of the cluster again.
    pub(in crate::control) fn reopen(&mut self, published: &Published) {
        let snapshot = published.snapshot();
        let serving = |id: &ServerId| snapshot.server(*id).standing == Standing::Serving;
        let again: Vec<ServerId> = self.closed.iter().copied().filter(serving).collect();
        again.into_iter().for_each(|id| self.open_gate(id));
    }

    fn open_gate(&mut self, server: ServerId) {
        if self.closed.contains(&server) {
            self.closed.retain(|closed| *closed != server);
            self.gate.open(server);
        }
    }

    fn show(&self) {
        let shown = Shown {
            reports: self.coordinator.reports().cloned().collect(),
            class: self.coordinator.class().cloned(),
            waits: self.coordinator.waits().cloned(),
            held: self.coordinator.held(Instant::now()),
        };
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = shown;
    }

    /// Writes down what is about to be done. Whether it may be.
    async fn write(&mut self, records: Vec<Record>) -> bool {
        let mut all = std::mem::take(&mut self.outcomes);
        all.extend(records);
        let records = all;
        if records.is_empty() {
            return true;
        }
        for record in &records {
            tracing::info!("failover: {}", record.told());
        }
        let journal = Arc::clone(&self.journal);
        let written = tokio::task::spawn_blocking(move || {
            journal.lock().unwrap_or_else(PoisonError::into_inner).append(&records)
        });
        let error = match written.await {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        tracing::error!(%error, "the failover journal cannot be written: nothing more is decided");
        self.journal_failed = Some(error.into());
        false
    }
}

pub(in crate::control) enum LeadNews {
    Request(Request),
    Acted(Acted),
    Prepared(Prepared),
}

fn observe(judge: &mut Judge, seen: Vec<Seen>) {
    for Seen { server, asked, observation } in seen {
        judge.observe(server, observation, asked);
    }
}

/// Whom to look at while something is waited for, and after how long. Of those that need not be asked, one may hang.
fn looks(decision: &Decision, plan: Option<&Plan>, view: &View<'_>) -> (Vec<ServerId>, Duration) {
    let (Decision::Wait(why), Some(plan)) = (decision, plan) else { return (Vec::new(), LOOK_PAUSE) };
    match (why, &plan.phase) {
        (WhyNot::Grace, _) => (Vec::new(), GRACE_PAUSE),
        (WhyNot::NoAcknowledger { .. }, Phase::Promoting(..)) => {
            let answer = view.members.iter().filter(|member| member.answered);
            (answer.map(|member| member.id).collect(), SHORT_PAUSE)
        }
        _ => {
            let up = view.members.iter().filter(|member| !member.is_down);
            (up.map(|member| member.id).collect(), LOOK_PAUSE)
        }
    }
}

/// A server that was never seen cannot be told anything: what it understands is not known.
fn with_facts(steps: &[Step], facts: impl Fn(ServerId) -> Option<Facts>) -> Vec<(Step, Facts)> {
    steps.iter().filter_map(|step| Some((step.clone(), facts(step.server)?))).collect()
}

fn wall() -> Wall {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
