//! What to do next about the primary, or why nothing: the whole policy of promotion, without a socket or a clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::choose;
use super::durability::{Class, Shortfall};
use super::plan::{Because, Kind, Phase, Plan, Unfit, WhyNot, WhyReturned};
use super::repair;
use super::step::{Step, What};
use super::view::{Life, Member, View};
use crate::control::semi_sync::SourceSide;
use crate::gtid::History;
use crate::topology::ServerId;

/// What the operator allows.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    pub mode: Mode,
    /// What automation asks of the writes before it promotes anything.
    pub min_class: Class,
    /// Whether a new primary may take writes although nobody can acknowledge them.
    pub allow_degraded: bool,
    /// How long open transactions may go on when a switchover begins.
    pub grace: Duration,
    /// How long a switchover waits for its target.
    pub catch_up: Duration,
    /// From one automatic failover to the next.
    pub min_interval: Duration,
    /// Automatic failovers within `WINDOW`; then an operator must look.
    pub max_failovers: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Promotes by itself where the primary is dead.
    Automatic,
    /// Promotes where an operator says so.
    Manual,
}

/// In which automatic failovers are counted.
pub const WINDOW: Duration = Duration::from_secs(30 * 60);
/// How long a new primary waits for a replica that acknowledges.
const ACKNOWLEDGER_WAIT: Duration = Duration::from_secs(10);
/// How long one wait for the target of a switchover may take; there may be another after it.
const AWAIT_TARGET: Duration = Duration::from_secs(2);
/// The same for the others.
const AWAIT_OTHERS: Duration = Duration::from_millis(100);
/// How often a step is tried within one plan.
pub const TRIES_MAX: u32 = 3;

/// What is known beside the view.
pub struct Context<'c> {
    pub policy: &'c Policy,
    pub plan: Option<&'c Plan>,
    /// Whether this process is the one that decides.
    pub leads: bool,
    /// Whether an operator wants nothing to be done without being asked.
    pub held: bool,
    /// Whether the way to the old primary is closed.
    pub gate_closed: bool,
    /// What clients were told is done.
    pub acknowledged: &'c History,
    /// Connections to the old primary that sessions hold.
    pub busy: usize,
    pub order: Option<Order>,
    /// When this process, or one before it, failed over by itself.
    pub failovers: &'c [Instant],
    /// As it was when the primary was last seen well, and all that kept it down.
    pub class: Option<&'c (Class, Vec<Shortfall>)>,
    /// Servers that were the primary of some epoch.
    pub reigned: &'c [ServerId],
    /// Whether any epoch was made here: until then a running cluster is left as it is.
    pub has_promoted: bool,
    /// How commits waited on the primary before anything was promoted here.
    pub semi_sync: Option<&'c SourceSide>,
    /// Repairs outside any plan, and when they were last tried.
    pub repairs: &'c [(Step, Instant)],
}

/// What an operator wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Switchover { to: ServerId },
    Failover { to: Option<ServerId> },
}

#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// All is as it should be.
    Rest,
    Wait(WhyNot),
    /// The order is not carried out.
    Refuse(WhyNot),
    /// From here on there is no primary.
    Begin(Box<Plan>),
    /// Nothing may reach the old primary any more, nor be passed on from it.
    CloseGate,
    Run(Vec<Step>),
    /// This one, and no way back.
    Choose {
        server: ServerId,
        because: Because,
        floor: History,
    },
    /// The plan begins anew: the switchover's primary has died, or the chosen one has.
    Refence,
    /// The new epoch begins.
    Open(ServerId),
}

/// The next step, or why there is none.
pub fn decide(view: &View<'_>, context: &Context<'_>) -> Decision {
    if !context.leads {
        let why = WhyNot::NotLeading;
        return if context.order.is_some() { Decision::Refuse(why) } else { Decision::Wait(why) };
    }
    if let Some(plan) = context.plan {
        return match &plan.phase {
            Phase::Fencing => fencing(view, context, plan),
            // Another process closed it, and ended.
            Phase::Promoting(server, _) if *server != plan.from && !context.gate_closed => {
                Decision::CloseGate
            }
            Phase::Promoting(server, _) => promoting(view, context, plan, *server),
        };
    }
    if let Some(order) = context.order {
        return match ordered(view, context, order) {
            Ok(plan) => Decision::Begin(Box::new(plan)),
            Err(why) => Decision::Refuse(why),
        };
    }
    if view.life == Life::Alive || context.policy.mode == Mode::Manual {
        return repair::repair(view, context);
    }
    match automatic(view, context) {
        Ok(plan) => Decision::Begin(Box::new(plan)),
        Err(why) => Decision::Wait(why),
    }
}

/// Whether the primary is to be replaced without being asked.
fn automatic(view: &View<'_>, context: &Context<'_>) -> Result<Plan, WhyNot> {
    let primary = view.primary.ok_or(WhyNot::NoPrimary)?;
    match &view.life {
        Life::Dead => {}
        life => return Err(not_dead(life)),
    }
    if context.held {
        return Err(WhyNot::Held);
    }
    let policy = context.policy;
    let lately = context.failovers.iter().filter(|at| view.now.saturating_duration_since(**at) < WINDOW);
    let done = lately.clone().count();
    let too_soon = lately.clone().any(|at| view.now.saturating_duration_since(*at) < policy.min_interval);
    if done >= policy.max_failovers || too_soon {
        return Err(WhyNot::Budget { done });
    }
    let (class, because) = class_of(context);
    if class < policy.min_class {
        return Err(WhyNot::ClassTooLow { class, wanted: policy.min_class, because });
    }
    let plan = begin(view, context, primary, Kind::Failover, None);
    choose::preflight(view, context, &plan)?;
    Ok(plan)
}

fn not_dead(life: &Life) -> WhyNot {
    match life {
        Life::Alive | Life::Dead => WhyNot::PrimaryLives,
        Life::Suspected => WhyNot::Suspected,
        Life::StillHeard(by) => WhyNot::StillHeard { by: by.clone() },
        Life::NoWitness => WhyNot::NoWitness,
    }
}

fn class_of(context: &Context<'_>) -> (Class, String) {
    let unseen = || (Class::BestEffort, Shortfall::PrimaryUnseen.to_string());
    context.class.map_or_else(unseen, |(class, shortfalls)| {
        let shortfalls: Vec<String> = shortfalls.iter().map(ToString::to_string).collect();
        (*class, shortfalls.join("; "))
    })
}

/// Whether what the operator wants can be begun.
fn ordered(view: &View<'_>, context: &Context<'_>, order: Order) -> Result<Plan, WhyNot> {
    let primary = view.primary.ok_or(WhyNot::NoPrimary)?;
    match order {
        Order::Switchover { to } => {
            if view.life != Life::Alive || !view.member(primary).answered {
                return Err(not_dead(&view.life));
            }
            let bad = |because| Err(WhyNot::BadTarget { server: view.name(to), because });
            if to == primary {
                return bad(Unfit::IsPrimary);
            }
            let target = view.member(to);
            let plan = begin(view, context, primary, Kind::Switchover, Some(to));
            if let Some(unfit) = choose::unfit(view, context, &plan, target) {
                return bad(unfit);
            }
            let channel = target.channel.filter(|channel| channel.replicates());
            if target.source != Some(primary) || channel.is_none() {
                return bad(Unfit::NotFollowing);
            }
            if channel.and_then(|channel| channel.lag).is_none_or(|lag| lag > context.policy.catch_up) {
                return bad(Unfit::Behind);
            }
            Ok(plan)
        }
        Order::Failover { to } => {
            if matches!(view.life, Life::Alive | Life::Suspected) {
                return Err(not_dead(&view.life));
            }
            let plan = begin(view, context, primary, Kind::OrderedFailover, to);
            choose::preflight(view, context, &plan)?;
            Ok(plan)
        }
    }
}

fn begin(
    view: &View<'_>,
    context: &Context<'_>,
    primary: ServerId,
    kind: Kind,
    wanted: Option<ServerId>,
) -> Plan {
    // One that was never seen may be following: it cannot be left out of what must be reached.
    let follows = |member: &&Member<'_>| {
        member.id != primary && (member.source == Some(primary) || member.facts.is_none())
    };
    let members: Vec<&Member<'_>> = view.members.iter().filter(follows).collect();
    let may_acknowledge =
        |member: &&&Member<'_>| member.facts.is_none_or(|facts| facts.semi_sync.acknowledges == Some(true));
    let ackers = members.iter().filter(may_acknowledge);
    let all_ackers = ackers.clone().count();
    // One that was started since the primary was last seen will never count, whoever goes on with the plan.
    let died = view.last_alive.unwrap_or(view.now);
    let ackers: Vec<ServerId> =
        ackers.filter(|member| kept_its_relay_log(died, member)).map(|member| member.id).collect();
    let facts = view.member(primary).facts;
    let semi_sync = facts.and_then(|facts| facts.semi_sync.source.clone()).filter(|source| source.enabled);
    let (class, _) = class_of(context);
    let wanted_acks = semi_sync.as_ref().map_or(1, |source| source.wanted.max(1)) as usize;
    let quorum =
        if class == Class::Lossless { (all_ackers + 1).saturating_sub(wanted_acks).max(1) } else { 0 };
    Plan {
        epoch: view.epoch.0 + 1,
        kind,
        from: primary,
        wanted,
        members: members.iter().map(|member| member.id).collect(),
        ackers,
        quorum,
        class,
        semi_sync,
        baseline: facts.and_then(|facts| facts.executed.clone()).unwrap_or_default(),
        floor: History::default(),
        phase: Phase::Fencing,
        since: view.now,
        tries: Vec::new(),
    }
}

fn fencing(view: &View<'_>, context: &Context<'_>, plan: &Plan) -> Decision {
    let age = view.now.saturating_duration_since(plan.since);
    let is_switchover = plan.kind == Kind::Switchover;
    if !context.gate_closed {
        let may_finish = is_switchover && context.busy > 0 && age < context.policy.grace;
        return if may_finish { Decision::Wait(WhyNot::Grace) } else { Decision::CloseGate };
    }
    match plan.wanted {
        Some(to) if is_switchover => hand_over(view, context, plan, to, age),
        _ => take_over(view, context, plan),
    }
}

/// The old primary is well: it is closed, the new one gets all of it.
fn hand_over(view: &View<'_>, context: &Context<'_>, plan: &Plan, to: ServerId, age: Duration) -> Decision {
    let (old, new) = (view.member(plan.from), view.member(to));
    if old.is_down {
        return Decision::Refence;
    }
    if !old.answered {
        return Decision::Wait(WhyNot::CandidateSilent { server: view.name(plan.from) });
    }
    let back = |why| {
        let floor = old.executed().cloned().unwrap_or_default();
        Decision::Choose { server: plan.from, because: Because::Returned(why), floor }
    };
    if !old.is_read_only() {
        let close = Step { server: plan.from, what: What::CloseWrites };
        let tried = plan.tries(&close);
        return if tried < TRIES_MAX { Decision::Run(vec![close]) } else { back(WhyReturned::NotClosed) };
    }
    if new.is_down || choose::unfit(view, context, plan, new).is_some_and(|unfit| unfit != Unfit::NotReached)
    {
        return back(WhyReturned::TargetLost);
    }
    let goal = old.executed().cloned().unwrap_or_default();
    if new.answered && new.executed().is_some_and(|have| have.contains(&goal)) {
        return Decision::Choose { server: to, because: Because::Ordered, floor: goal };
    }
    if age > context.policy.grace + context.policy.catch_up {
        return back(WhyReturned::NotCaughtUp);
    }
    // It says itself when it has them, sooner than anybody who asks now and then would know.
    let gtid = old.facts.map(|facts| Arc::clone(&facts.gtid)).unwrap_or_default();
    let wait = |server, within| Step { server, what: What::Await { gtid: Arc::clone(&gtid), within } };
    let first = wait(to, AWAIT_TARGET);
    if new.answered && plan.tries(&first) < TRIES_MAX {
        // The others are to follow it at once; clients do not wait for them long.
        let others = plan.members.iter().filter(|id| **id != to && view.member(**id).answered);
        let others = others.map(|id| wait(*id, AWAIT_OTHERS));
        return Decision::Run(std::iter::once(first).chain(others).collect());
    }
    Decision::Wait(WhyNot::CatchingUp { server: view.name(to) })
}

/// The old primary is held to be dead: its replicas stop listening to it, and the one that has all takes over.
fn take_over(view: &View<'_>, context: &Context<'_>, plan: &Plan) -> Decision {
    let old = view.member(plan.from);
    let members = || plan.members.iter().map(|id| view.member(*id));
    if old.answered {
        let found = members().filter_map(Member::received_or_executed);
        let found = found.fold(plan.floor.clone(), |all, more| all.union(&more));
        if old.executed().is_some_and(|have| have.contains(&found)) {
            let because = Because::Returned(WhyReturned::Answers);
            return Decision::Choose { server: plan.from, because, floor: found };
        }
    }
    let stop = |member: &Member<'_>| Step { server: member.id, what: What::StopReceiver };
    let hears = |member: &Member<'_>| member.source == Some(plan.from) && !member.is_stopped();
    let steps: Vec<Step> = members().filter(|member| member.answered && hears(member)).map(stop).collect();
    let steps: Vec<Step> = steps.into_iter().filter(|step| plan.tries(step) < TRIES_MAX).collect();
    if !steps.is_empty() {
        return Decision::Run(steps);
    }
    // Whoever may yet answer may have more than those who did.
    if let Some(member) = members().find(|member| !member.answered && !member.is_down) {
        return Decision::Wait(WhyNot::CandidateSilent { server: member.name.clone() });
    }
    let reached: Vec<&Member<'_>> = members().filter(|member| member.answered && !hears(member)).collect();
    let counts = |id: &&ServerId| {
        reached.iter().any(|member| member.id == **id && kept_its_relay_log(plan.since, member))
    };
    if plan.ackers.iter().filter(counts).count() < plan.quorum {
        return Decision::Wait(WhyNot::NotRevocable { missing: missing(view, plan, counts) });
    }
    choose::choose(view, context, plan, &reached)
}

/// Whose word is missing: of all members, those that do not count.
pub(super) fn missing(view: &View<'_>, plan: &Plan, counts: impl Fn(&&ServerId) -> bool) -> Vec<Arc<str>> {
    let counting: Vec<&ServerId> = plan.ackers.iter().filter(counts).collect();
    plan.members.iter().filter(|id| !counting.contains(id)).map(|id| view.name(*id)).collect()
}

/// A replica that was started after the primary died may have lost what it received and acknowledged.
fn kept_its_relay_log(died: Instant, member: &Member<'_>) -> bool {
    // Uptime is told in whole seconds.
    let second = Duration::from_secs(1);
    member.started.is_none_or(|started| started <= died + second)
}

/// Makes the chosen server the primary. It may be the old one.
fn promoting(view: &View<'_>, context: &Context<'_>, plan: &Plan, server: ServerId) -> Decision {
    let new = view.member(server);
    if new.is_down {
        return Decision::Refence;
    }
    if !new.answered {
        return Decision::Wait(WhyNot::CandidateSilent { server: view.name(server) });
    }
    let is_old = server == plan.from;
    let has_source = new.facts.is_some_and(|facts| !facts.channels.is_empty());
    // The others may turn to it while it turns from its own source.
    let mut steps = followers(view, plan, new);
    if has_source && !is_old {
        let semi_sync = plan.semi_sync.clone().map(|mut source| {
            let others = u32::try_from(plan.members.len().saturating_sub(1)).unwrap_or(u32::MAX);
            source.wanted = source.wanted.min(others.max(1));
            source
        });
        match once_more(view, plan, Step { server, what: What::Detach { semi_sync } }) {
            Decision::Run(detach) => steps.splice(..0, detach).for_each(drop),
            wait if steps.is_empty() => return wait,
            _ => {}
        }
    }
    if !steps.is_empty() {
        return Decision::Run(steps);
    }
    if !is_old && let Some(decision) = await_acknowledger(view, context, plan, new) {
        return decision;
    }
    if new.is_read_only() {
        return once_more(view, plan, Step { server, what: What::OpenWrites });
    }
    Decision::Open(server)
}

/// A step that there is no way around: tried at once a few times, then once for every second that the phase lasts.
fn once_more(view: &View<'_>, plan: &Plan, step: Step) -> Decision {
    let (tries, age) = (plan.tries(&step), view.now.saturating_duration_since(plan.since));
    if tries < TRIES_MAX || age >= Duration::from_secs(u64::from(tries)) {
        return Decision::Run(vec![step]);
    }
    let error = plan.tried(&step).map(|tried| tried.error.clone()).unwrap_or_default();
    Decision::Wait(WhyNot::StepFails { step: step.what.name().to_owned(), error })
}

/// What makes the others follow the new primary. Who cannot yet is seen to later, and so is the old primary, unless
/// commits are to wait for it too.
fn followers(view: &View<'_>, plan: &Plan, new: &Member<'_>) -> Vec<Step> {
    let acknowledges = plan.semi_sync.is_some();
    let hands_over = plan.kind == Kind::Switchover && plan.from != new.id;
    let wanted = plan.semi_sync.as_ref().map_or(0, |source| source.wanted as usize);
    let follow = |id: &&ServerId| view.member(**id).answered && **id != new.id;
    let suffice = plan.members.iter().filter(follow).count() >= wanted;
    let old = (hands_over && !suffice).then_some(&plan.from);
    let others = plan.members.iter().chain(old).map(|id| view.member(*id));
    let others = others.filter(|member| member.id != new.id && member.answered);
    let step = |member: &Member<'_>| {
        if member.source == Some(new.id) {
            let stopped = new.id == plan.from && member.is_stopped();
            return stopped.then_some(Step { server: member.id, what: What::StartReplication });
        }
        let fits = member.is_read_only()
            && member.is_drained()
            && member
                .received_or_executed()
                .zip(new.executed())
                .is_some_and(|(all, have)| have.contains(&all));
        fits.then_some(Step { server: member.id, what: What::Follow { source: new.id, acknowledges } })
    };
    others.filter_map(step).filter(|step| plan.tries(step) < TRIES_MAX).collect()
}

/// Whether it follows the new primary, or will when it has applied what it received.
fn may_acknowledge(member: &Member<'_>, new: &Member<'_>) -> bool {
    let all = || member.received_or_executed().zip(new.executed());
    let will_follow = || {
        member.is_read_only() && all().is_some_and(|(all, have)| !member.is_drained() && have.contains(&all))
    };
    member.id != new.id && (member.source == Some(new.id) || will_follow())
}

/// A primary whose commits wait needs somebody to wait for before it takes writes.
fn await_acknowledger(
    view: &View<'_>,
    context: &Context<'_>,
    plan: &Plan,
    new: &Member<'_>,
) -> Option<Decision> {
    let source = new.facts?.semi_sync.source.as_ref().filter(|source| source.enabled)?;
    if source.clients >= source.wanted {
        return None;
    }
    let why = WhyNot::NoAcknowledger { server: view.name(new.id) };
    let age = view.now.saturating_duration_since(plan.since);
    let nobody = !view.members.iter().any(|member| member.answered && may_acknowledge(member, new));
    if context.policy.allow_degraded && (age > ACKNOWLEDGER_WAIT || nobody) {
        return Some(once_more(view, plan, Step { server: new.id, what: What::StopWaiting }));
    }
    Some(Decision::Wait(why))
}
