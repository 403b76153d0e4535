//! Whether one server may be sent new statements, and why not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::health::Health;
use super::observation::{Channel, Facts, Failure, FailureKind, Heard, Receiver};
use crate::topology::{Exclusion, Standing};

/// What the judge keeps about a server between probes.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    pub health: Health,
    /// From the last good probe, however old.
    pub facts: Option<Facts>,
    /// The last probe, where the server answered it but showed nothing.
    pub blind: Option<Failure>,
    /// When the lag was last known while both replication threads ran, and what it was.
    pub measured: Option<(Instant, Duration)>,
    /// Until when there was nothing newer to be had, because the primary was dead.
    pub excused: Option<Instant>,
    /// Whether the last probe was a good one.
    pub answered: bool,
    /// When the last probe was sent, and the last good one.
    pub asked: Option<Instant>,
    pub answered_at: Option<Instant>,
    /// What its source last said, and when that was new.
    pub heard: Option<(Heard, Instant)>,
    /// Since when commits wait on it for acknowledgements, and none came through.
    pub stalled: Option<Instant>,
}

/// A server's part in the cluster, as lineage has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Primary,
    /// Replicates, at whatever distance, from the primary.
    Replica {
        primary_lives: bool,
    },
    /// Takes writes beside the primary, or is one of several that look like it.
    Rival,
    /// Replicates from nobody, takes no writes, and there is no primary.
    Closed,
    /// Hangs on nothing that matters.
    Stray,
}

/// A replica has not heard from its source for so long: then the source is silent.
const SILENCE: Duration = Duration::from_secs(3);

impl Watched {
    /// Whether this replica hears from the source of that channel. Where its source never says anything unasked,
    /// an open connection has to do.
    pub fn hears(&self, channel: &Channel) -> bool {
        if channel.receiver != Receiver::Running {
            return false;
        }
        let Some(period) = channel.heartbeat_period else { return true };
        let limit = SILENCE.max(period * 5 / 2);
        let (Some((_, since)), Some(asked)) = (&self.heard, self.answered_at) else { return true };
        asked.saturating_duration_since(*since) <= limit
    }

    /// The verdict, the gravest reason first. `channel` is where the server replicates from.
    pub fn standing(
        &self,
        part: Part,
        channel: Option<&Channel>,
        draining: bool,
        max_lag: Duration,
        now: Instant,
    ) -> Standing {
        let excluded = self.unseen().or_else(|| match part {
            _ if draining => Some(Exclusion::Draining),
            _ if self.facts.as_ref().is_some_and(|facts| facts.offline_mode) => Some(Exclusion::Offline),
            Part::Rival => Some(Exclusion::SecondPrimary),
            Part::Closed => Some(Exclusion::ReadOnly),
            Part::Stray => Some(Exclusion::NotInTopology),
            Part::Primary => self.facts.as_ref().filter(|facts| facts.read_only).map(|_| Exclusion::ReadOnly),
            Part::Replica { primary_lives } => {
                channel.and_then(|channel| self.unfit(channel, primary_lives, max_lag, now))
            }
        });
        excluded.map_or(Standing::Serving, Standing::Excluded)
    }

    /// How far behind it is: as the server says, or grown from when it was last known.
    pub fn lag(&self, channel: &Channel, primary_lives: bool, now: Instant) -> Option<Duration> {
        let excused = self.excused.filter(|_| primary_lives);
        match channel.lag {
            Some(lag) if channel.replicates() && self.blind.is_none() => Some(lag),
            _ => self.measured.map(|(at, lag)| {
                let from = excused.map_or(at, |until| until.max(at));
                lag + now.saturating_duration_since(from)
            }),
        }
    }

    fn unseen(&self) -> Option<Exclusion> {
        match &self.health {
            Health::Up { .. } => None,
            Health::Unknown => Some(Exclusion::NotProbedYet),
            Health::Down { because, .. } if because.kind == FailureKind::AccessDenied => {
                Some(Exclusion::ControlRefused(Arc::clone(&because.text)))
            }
            Health::Down { because, .. } => Some(Exclusion::Unreachable(Arc::clone(&because.text))),
        }
    }

    /// Why a replica should not be read from.
    ///
    /// A replica that lost its source goes on applying what it received. While the primary lives, whatever it
    /// misses is being written there, so its lag grows from the last moment it was known, and ends its reads at
    /// the limit. While the primary is dead nothing newer can be read anywhere: the lag still grows for people
    /// to see, but only what is received and not yet applied may end its reads. When the primary is back, the
    /// limit counts from that moment.
    fn unfit(
        &self,
        channel: &Channel,
        primary_lives: bool,
        max_lag: Duration,
        now: Instant,
    ) -> Option<Exclusion> {
        if !channel.applier_runs {
            return Some(Exclusion::ReplicationStopped(stopped("applier", channel)));
        }
        let lost = channel.lost_its_source();
        let gave_up = channel.receiver == Receiver::Stopped && (!lost || primary_lives);
        if gave_up {
            return Some(Exclusion::ReplicationStopped(stopped("receiver", channel)));
        }
        let lag = match channel.lag {
            None if lost && !primary_lives && channel.caught_up => Some(Duration::ZERO),
            Some(backlog) if lost && !primary_lives => Some(backlog),
            _ => self.lag(channel, primary_lives, now),
        };
        match (lag, &self.blind) {
            (Some(lag), None) => (lag > max_lag).then_some(Exclusion::Lagging { lag, limit: max_lag }),
            (Some(lag), Some(_)) if lag <= max_lag => None,
            (_, Some(failure)) if failure.kind == FailureKind::AccessDenied => {
                Some(Exclusion::ControlRefused(Arc::clone(&failure.text)))
            }
            (_, Some(failure)) => Some(Exclusion::Unreachable(Arc::clone(&failure.text))),
            (None, None) => Some(Exclusion::LagUnknown),
        }
    }
}

/// Which thread stands still, and the server's own words where it said why.
fn stopped(thread: &str, channel: &Channel) -> Arc<str> {
    let error = if thread == "applier" { &channel.applier_error } else { &channel.receiver_error };
    match error {
        Some(error) => format!("the {thread} failed with {}: {}", error.code, error.text).into(),
        None => format!("the {thread} was stopped").into(),
    }
}
