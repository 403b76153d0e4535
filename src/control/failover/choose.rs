//! Which replica becomes the primary: one that has all that any of them has, or none.

use std::cmp::Reverse;

use super::decide::{self, Context, Decision, TRIES_MAX};
use super::durability::Class;
use super::plan::{Because, Plan, Unfit, WhyNot};
use super::step::{Step, What};
use super::view::{Member, View};
use crate::gtid::History;

/// Whether there is anybody to promote, before the present primary is given up.
pub(super) fn preflight(view: &View<'_>, context: &Context<'_>, plan: &Plan) -> Result<(), WhyNot> {
    let members = plan.members.iter().map(|id| view.member(*id));
    let reached: Vec<&Member<'_>> = members.filter(|member| member.answered).collect();
    let ackers = plan.ackers.iter().filter(|id| view.member(**id).answered).count();
    if ackers < plan.quorum {
        let missing = decide::missing(view, plan, |id| view.member(**id).answered);
        return Err(WhyNot::NotRevocable { missing });
    }
    let fit = |member: &&Member<'_>| unfit(view, context, plan, member).is_none();
    if let Some(to) = plan.wanted
        && let Some(because) = unfit(view, context, plan, view.member(to))
    {
        return Err(WhyNot::BadTarget { server: view.name(to), because });
    }
    reached.into_iter().find(fit).map(|_| ()).ok_or(WhyNot::NoCandidate)
}

/// Chooses among the members that are stopped, or says what is still to be done or in the way.
pub(super) fn choose(
    view: &View<'_>,
    context: &Context<'_>,
    plan: &Plan,
    reached: &[&Member<'_>],
) -> Decision {
    let mut all: Vec<(&Member<'_>, History)> = Vec::new();
    for member in reached {
        let Some(have) = member.received_or_executed() else { continue };
        all.push((member, have.subtract(&errant(context, plan, member))));
    }
    let found = all.iter().fold(History::default(), |all, (_, have)| all.union(have));
    // Where nothing may be lost, what clients were told of must be there; where something may, it is only told.
    let floor = match plan.class {
        Class::Lossless => plan.floor.union(context.acknowledged),
        Class::Bounded | Class::BestEffort => plan.floor.clone(),
    };
    if !found.contains(&floor) {
        let transactions = floor.subtract(&found).to_string();
        return Decision::Wait(WhyNot::Missing { transactions });
    }
    let mut holders: Vec<&Member<'_>> =
        all.iter().filter(|(_, have)| have.contains(&found)).map(|(member, _)| *member).collect();
    if holders.is_empty() {
        return Decision::Wait(parted(&all));
    }
    let is_fit = |member: &Member<'_>| unfit(view, context, plan, member).is_none();
    holders.sort_by_key(|member| {
        let wanted = plan.wanted == Some(member.id);
        (
            Reverse(is_fit(member)),
            Reverse(wanted),
            Reverse(member.priority),
            Reverse(member.is_drained()),
            member.id,
        )
    });
    let best = holders[0];
    match unfit(view, context, plan, best) {
        None if !best.is_drained() => Decision::Wait(WhyNot::Draining { server: best.name.clone() }),
        None => Decision::Choose { server: best.id, because: Because::HasAll, floor: found },
        Some(Unfit::ApplierStopped) => start_applier(plan, best),
        Some(because) => relay(view, context, plan, best, reached)
            .unwrap_or(Decision::Wait(WhyNot::Unfit { server: best.name.clone(), because })),
    }
}

fn start_applier(plan: &Plan, member: &Member<'_>) -> Decision {
    let step = Step { server: member.id, what: What::StartApplier };
    if plan.tries(&step) < TRIES_MAX {
        return Decision::Run(vec![step]);
    }
    Decision::Wait(WhyNot::Unfit { server: member.name.clone(), because: Unfit::ApplierStopped })
}

/// The one that has all may not be promoted: another gets all from it first.
fn relay(
    view: &View<'_>,
    context: &Context<'_>,
    plan: &Plan,
    holder: &Member<'_>,
    reached: &[&Member<'_>],
) -> Option<Decision> {
    let can_serve = holder.facts.is_some_and(|facts| facts.durability.logs_updates) && holder.is_drained();
    let can_serve = can_serve && errant(context, plan, holder).is_empty();
    let heir = reached.iter().find(|member| unfit(view, context, plan, member).is_none());
    let heir = heir.filter(|_| can_serve)?;
    if heir.source == Some(holder.id) {
        return Some(Decision::Wait(WhyNot::CatchingUp { server: heir.name.clone() }));
    }
    if !heir.is_drained() {
        return Some(Decision::Wait(WhyNot::Draining { server: heir.name.clone() }));
    }
    let step = Step { server: heir.id, what: What::Follow { source: holder.id, acknowledges: false } };
    (plan.tries(&step) < TRIES_MAX).then(|| Decision::Run(vec![step]))
}

/// Two whose histories have parted, and by what.
fn parted(all: &[(&Member<'_>, History)]) -> WhyNot {
    let pairs =
        all.iter().enumerate().flat_map(|(at, one)| all[at + 1..].iter().map(move |other| (one, other)));
    for ((one, have), (other, other_have)) in pairs {
        if have.partial_cmp(other_have).is_none() {
            return WhyNot::Incomparable {
                one: one.name.clone(),
                other: other.name.clone(),
                only_one: have.subtract(other_have).to_string(),
                only_other: other_have.subtract(have).to_string(),
            };
        }
    }
    WhyNot::NoCandidate
}

/// Transactions that a member committed itself although it never was the primary.
pub(super) fn errant(context: &Context<'_>, plan: &Plan, member: &Member<'_>) -> History {
    let (Some(facts), Some(have)) = (member.facts, member.received_or_executed()) else {
        return History::default();
    };
    if context.reigned.contains(&member.id) {
        return History::default();
    }
    let own = have.only(|origin| origin.is_of(facts.server_id, facts.server_uuid.as_deref()));
    own.subtract(&plan.baseline)
}

/// Why a member cannot be promoted.
pub(super) fn unfit(
    view: &View<'_>,
    context: &Context<'_>,
    plan: &Plan,
    member: &Member<'_>,
) -> Option<Unfit> {
    let Some(facts) = member.facts.filter(|_| member.answered) else { return Some(Unfit::NotReached) };
    let series = |number: u32| number / 100;
    let oldest =
        plan.members.iter().filter_map(|id| view.member(*id).facts).map(|facts| facts.version.number);
    let newer = oldest.min().is_some_and(|oldest| series(facts.version.number) > series(oldest));
    let channel = member.channel;
    let conditions = [
        (member.no_promote, Unfit::NoPromote),
        (!facts.durability.logs_updates, Unfit::NoLog),
        (channel.is_some_and(|channel| !channel.name.is_empty()), Unfit::NamedChannel),
        (channel.is_some_and(|channel| !channel.delay.is_zero()), Unfit::Delayed),
        (newer, Unfit::NewerVersion),
        (!errant(context, plan, member).is_empty(), Unfit::Errant),
        (channel.is_some_and(|channel| channel.applier_error.is_some()), Unfit::ApplierFailed),
        (channel.is_some_and(|channel| !channel.applier_runs) && !member.is_drained(), Unfit::ApplierStopped),
    ];
    conditions.into_iter().find(|(is_so, _)| *is_so).map(|(_, unfit)| unfit)
}
