//! How much of what was acknowledged would survive the primary at this moment, and what keeps it from being all.

use std::fmt;
use std::time::Duration;

use super::view::{Member, View};
use crate::control::semi_sync::FOR_EVER;
use crate::topology::ServerId;

/// How durable writes are; more is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Nothing is promised.
    BestEffort,
    /// A replica is close behind: what was written since may be lost.
    Bounded,
    /// Whatever was acknowledged is on a replica.
    Lossless,
}

/// What keeps writes from being lossless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortfall {
    PrimaryUnseen,
    NoSemiSync,
    SemiSyncInactive,
    VisibleBeforeAcknowledged,
    TimesOut,
    GoesOnAlone,
    LogNotSynced,
    CommitsNotFlushed,
}

/// How far behind the nearest replica may be for `bounded`.
const NEAR: Duration = Duration::from_secs(1);

/// The class, and all that keeps it down.
pub fn class(view: &View<'_>, primary: ServerId) -> (Class, Vec<Shortfall>) {
    let shortfalls = shortfalls(view.member(primary));
    if shortfalls.is_empty() {
        return (Class::Lossless, shortfalls);
    }
    let near = |member: &Member<'_>| {
        let channel = member.channel.filter(|channel| member.answered && channel.replicates());
        member.source == Some(primary)
            && channel.and_then(|channel| channel.lag).is_some_and(|lag| lag <= NEAR)
    };
    let class = if view.members.iter().any(near) { Class::Bounded } else { Class::BestEffort };
    (class, shortfalls)
}

fn shortfalls(primary: &Member<'_>) -> Vec<Shortfall> {
    let Some(facts) = primary.facts else { return vec![Shortfall::PrimaryUnseen] };
    let mut found = Vec::new();
    match &facts.semi_sync.source {
        Some(source) if source.enabled => {
            let conditions = [
                (source.active, Shortfall::SemiSyncInactive),
                (source.before_visible, Shortfall::VisibleBeforeAcknowledged),
                (source.timeout >= FOR_EVER, Shortfall::TimesOut),
                (source.waits_for_none, Shortfall::GoesOnAlone),
            ];
            found.extend(conditions.into_iter().filter(|(met, _)| !met).map(|(_, shortfall)| shortfall));
        }
        _ => found.push(Shortfall::NoSemiSync),
    }
    if !facts.durability.syncs_log {
        found.push(Shortfall::LogNotSynced);
    }
    if !facts.durability.flushes_commits {
        found.push(Shortfall::CommitsNotFlushed);
    }
    found
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Class::BestEffort => "best-effort",
            Class::Bounded => "bounded",
            Class::Lossless => "lossless",
        })
    }
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Shortfall::PrimaryUnseen => "the primary was not seen alive by this process",
            Shortfall::NoSemiSync => "semi-synchronous replication is not enabled on the primary",
            Shortfall::SemiSyncInactive => "commits do not wait at present (semi-sync status is OFF)",
            Shortfall::VisibleBeforeAcknowledged => "the wait point is not AFTER_SYNC",
            Shortfall::TimesOut => "commits go on alone after the semi-sync timeout; set it to a day or more",
            Shortfall::GoesOnAlone => {
                "commits do not wait while no replica is there (wait_no_replica is OFF)"
            }
            Shortfall::LogNotSynced => "sync_binlog is not 1",
            Shortfall::CommitsNotFlushed => "innodb_flush_log_at_trx_commit is not 1",
        })
    }
}
