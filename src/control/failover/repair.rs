//! What is put right outside any change of primary: who writes and should not, who follows the wrong server.

#[cfg(test)]
mod tests;

use std::time::Duration;

use super::decide::{Context, Decision, Mode};
use super::step::{Step, What};
use super::view::{Member, View};
use crate::control::observation::Channel;
use crate::gtid::History;
use crate::topology::ServerId;

/// From one attempt at a repair to the next.
const PAUSE: Duration = Duration::from_secs(5);
/// How long no commit must have come through before one is helped.
const CANARY_AFTER: Duration = Duration::from_secs(3);

/// Repairs that may be made now. A cluster on which nothing was promoted from here is left as it is.
pub(super) fn repair(view: &View<'_>, context: &Context<'_>) -> Decision {
    if let Some(canary) = canary(view, context) {
        return Decision::Run(vec![canary]);
    }
    let Some(primary) = view.primary.filter(|_| context.has_promoted) else { return Decision::Rest };
    let due = |step: &Step| {
        let last = context.repairs.iter().find(|(tried, _)| tried == step);
        last.is_none_or(|(_, at)| view.now.saturating_duration_since(*at) >= PAUSE)
    };
    let primary = view.member(primary);
    let others = view.members.iter().filter(|member| member.id != primary.id && member.answered);
    let mut steps: Vec<Step> = others.clone().filter_map(|member| repair_of(primary, member)).collect();
    if context.policy.mode == Mode::Automatic && !context.held && primary.answered && primary.is_read_only() {
        steps.extend(reopen(primary, others));
    }
    steps.extend(wait_again(view, context, primary));
    steps.retain(due);
    if steps.is_empty() { Decision::Rest } else { Decision::Run(steps) }
}

/// Commits wait although replicas listen: their acknowledgements were lost with a connection, and no replica sends one
/// again for what it has. Where every client waits, no write comes whose acknowledgement would count for all. This one
/// does; each is sent after twice the time of the one before, because it may itself wait.
fn canary(view: &View<'_>, context: &Context<'_>) -> Option<Step> {
    let primary = view.member(view.primary.filter(|_| context.policy.mode == Mode::Automatic)?);
    let since = primary.stalled.filter(|_| primary.answered && !primary.is_read_only())?;
    let source = primary.facts?.semi_sync.source.as_ref()?;
    let step = Step { server: primary.id, what: What::Canary };
    let last = context.repairs.iter().find(|(tried, at)| *tried == step && *at > since);
    let waited = last.map_or(CANARY_AFTER, |(_, at)| 2 * at.saturating_duration_since(since));
    let is_due = view.now.saturating_duration_since(since) >= waited;
    (is_due && source.clients >= source.wanted).then_some(step)
}

fn repair_of(primary: &Member<'_>, member: &Member<'_>) -> Option<Step> {
    if !member.is_read_only() {
        return Some(Step { server: member.id, what: What::Quarantine });
    }
    // A plan that is over has stopped it, and it hangs on another that came back.
    let is_left_stopped = member.source != Some(primary.id) && member.is_stopped();
    let is_lost = member.top != Some(primary.id) || is_left_stopped || should_acknowledge(primary, member);
    if !is_lost || !primary.answered || !member.is_drained() || !errant(primary, member)?.is_empty() {
        return None;
    }
    let acknowledges = primary.facts?.semi_sync.source.as_ref().is_some_and(|source| source.enabled);
    Some(Step { server: member.id, what: What::Follow { source: primary.id, acknowledges } })
}

/// Commits of the epoch's primary wait for nobody, because nobody was left. Now there is somebody.
fn wait_again(view: &View<'_>, context: &Context<'_>, primary: &Member<'_>) -> Option<Step> {
    let wanted = context.semi_sync?;
    let source = primary.facts?.semi_sync.source.as_ref()?;
    let acknowledges = |member: &&Member<'_>| {
        let willing = member.facts.is_some_and(|facts| facts.semi_sync.acknowledges == Some(true));
        let hears = member.channel.is_some_and(Channel::replicates);
        member.source == Some(primary.id) && member.answered && willing && hears
    };
    let are_there = view.members.iter().filter(acknowledges).count();
    let enough = are_there > 0 && are_there >= wanted.wanted as usize;
    let is_due = !source.enabled && enough && primary.answered && !primary.is_read_only();
    is_due.then(|| Step { server: primary.id, what: What::StartWaiting { semi_sync: wanted.clone() } })
}

/// It follows in silence while the primary's commits wait for somebody to acknowledge them: it was started again
/// without the setting.
fn should_acknowledge(primary: &Member<'_>, member: &Member<'_>) -> bool {
    let source = primary.facts.and_then(|facts| facts.semi_sync.source.as_ref());
    let lacks = source.is_some_and(|source| source.enabled && source.clients < source.wanted);
    let silent = member.facts.is_some_and(|facts| facts.semi_sync.acknowledges == Some(false));
    lacks && silent && member.source == Some(primary.id)
}

/// The epoch's primary has restarted read-only, or was closed by hand. It opens again if nobody has more.
fn reopen<'m>(
    primary: &Member<'_>,
    mut others: impl Iterator<Item = &'m Member<'m>> + Clone,
) -> Option<Step> {
    let have = primary.executed()?;
    let has_less = |member: &Member<'_>| member.received_or_executed().is_some_and(|all| have.contains(&all));
    let follows_none = primary.facts.is_some_and(|facts| facts.channels.is_empty());
    let safe = follows_none
        && others.clone().all(|member| has_less(member) || member.top != Some(primary.id))
        && others.all(Member::is_read_only);
    safe.then_some(Step { server: primary.id, what: What::OpenWrites })
}

/// What a server has that the primary has not; `None` where that cannot be told yet.
fn errant(primary: &Member<'_>, member: &Member<'_>) -> Option<History> {
    // A look at the primary that is older than that at the other may miss what came in between.
    if primary.asked < member.asked {
        return None;
    }
    let have = primary.executed()?;
    Some(member.received_or_executed()?.subtract(have))
}

/// Servers that hang on nothing, with the transactions that the primary lacks; `None` where that cannot be told yet.
pub(super) fn lost(view: &View<'_>, context: &Context<'_>) -> Vec<(ServerId, Option<String>)> {
    let Some(primary) = view.primary.filter(|_| context.has_promoted) else { return Vec::new() };
    let primary = view.member(primary);
    let is_lost = |member: &&Member<'_>| {
        member.id != primary.id && member.facts.is_some() && member.top != Some(primary.id)
    };
    let lost = view.members.iter().filter(is_lost);
    lost.map(|member| (member.id, errant(primary, member).map(|errant| errant.to_string()))).collect()
}
