//! One change of primary under way: what was decided, and how far it has come.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use super::durability::Class;
use super::step::Step;
use crate::control::semi_sync::SourceSide;
use crate::gtid::History;
use crate::topology::ServerId;

/// A promotion from its decision to its end. What must outlive the process is in the journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The epoch it leads to.
    pub epoch: u64,
    pub kind: Kind,
    /// The primary that was.
    pub from: ServerId,
    /// The operator's choice of a new one.
    pub wanted: Option<ServerId>,
    /// The replicas that followed when it began, and servers that were never seen.
    pub members: Vec<ServerId>,
    /// Those of them whose acknowledgements may have counted.
    pub ackers: Vec<ServerId>,
    /// As many of these must be reached and stopped before anything is promoted: then the old primary can get no
    /// commit acknowledged any more, and what it did get acknowledged is on one of these. Zero where commits waited
    /// for nobody, and nothing can be proved.
    pub quorum: usize,
    /// How durable writes were when the primary was last seen.
    pub class: Class,
    /// How commits waited on the old primary, for the new one to do the same.
    pub semi_sync: Option<SourceSide>,
    /// What the old primary was known to have, which explains where others have it from.
    pub baseline: History,
    /// All that was found on any member when a server was chosen: nothing less may be promoted after that.
    pub floor: History,
    pub phase: Phase,
    /// When the phase began.
    pub since: Instant,
    /// Steps that did not come off.
    pub tries: Vec<Tried>,
}

/// A step that did not come off, how often, and what was said of it last.
#[derive(Clone, Debug, PartialEq)]
pub struct Tried {
    pub step: Step,
    pub count: u32,
    pub error: Arc<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The primary is held to be dead.
    Failover,
    /// It is, and an operator gave the word.
    OrderedFailover,
    /// The primary is well, and hands over.
    Switchover,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The way to the old primary is closed, its replicas are stopped, a new one is looked for.
    Fencing,
    /// This one becomes the primary; there is no way back but through another choice.
    Promoting(ServerId, Because),
}

/// Why this server and no other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Because {
    /// It has all that was found anywhere, and comes first among those that do.
    HasAll,
    /// The operator named it.
    Ordered,
    /// The old primary is to go on, because nothing else came of it.
    Returned(WhyReturned),
}

/// Why the old primary goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyReturned {
    /// It answers again and has all that its replicas have.
    Answers,
    /// It could not be made read-only.
    NotClosed,
    /// The server that was to take over was lost.
    TargetLost,
    /// The server that was to take over did not catch up in time.
    NotCaughtUp,
}

impl Plan {
    pub fn tries(&self, step: &Step) -> u32 {
        self.tried(step).map_or(0, |tried| tried.count)
    }

    pub fn tried(&self, step: &Step) -> Option<&Tried> {
        self.tries.iter().find(|tried| tried.step == *step)
    }

    /// The step did not come off.
    pub fn count_try(&mut self, step: &Step, error: Arc<str>) {
        match self.tries.iter_mut().find(|tried| tried.step == *step) {
            Some(tried) => (tried.count, tried.error) = (tried.count + 1, error),
            None => self.tries.push(Tried { step: step.clone(), count: 1, error }),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Failover => "failover",
            Kind::OrderedFailover => "ordered_failover",
            Kind::Switchover => "switchover",
        })
    }
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Because::HasAll => f.write_str("it has every transaction found on any reachable replica"),
            Because::Ordered => f.write_str("the operator named it"),
            Because::Returned(why) => write!(f, "the old primary goes on: {why}"),
        }
    }
}

impl fmt::Display for WhyReturned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WhyReturned::Answers => "it answers again and has all that its replicas have",
            WhyReturned::NotClosed => "it could not be made read-only",
            WhyReturned::TargetLost => "the server that was to take over was lost",
            WhyReturned::NotCaughtUp => "the server that was to take over did not catch up in time",
        })
    }
}

/// Why nothing is done, or not yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhyNot {
    /// Another process decides.
    NotLeading,
    /// An operator wants nothing to be promoted.
    Held,
    /// No primary was ever seen.
    NoPrimary,
    PrimaryLives,
    /// Its probes fail, but not often enough yet.
    Suspected,
    /// Its probes fail here, but replicas hear it.
    StillHeard {
        by: Vec<Arc<str>>,
    },
    /// Its probes fail, and no replica can be asked.
    NoWitness,
    /// Writes were less durable than automation asks for.
    ClassTooLow {
        class: Class,
        wanted: Class,
        because: String,
    },
    /// Promoted too often or too lately.
    Budget {
        done: usize,
    },
    /// Too few replicas are reached to be sure that the old primary gets no acknowledgement any more.
    NotRevocable {
        missing: Vec<Arc<str>>,
    },
    /// Each has transactions that the other lacks.
    Incomparable {
        one: Arc<str>,
        other: Arc<str>,
        only_one: String,
        only_other: String,
    },
    /// What was found before is on none of the servers that are left.
    Missing {
        transactions: String,
    },
    /// The only server that has all cannot be promoted.
    Unfit {
        server: Arc<str>,
        because: Unfit,
    },
    NoCandidate,
    /// What was received is being applied.
    Draining {
        server: Arc<str>,
    },
    /// Open transactions may finish for a moment.
    Grace,
    CatchingUp {
        server: Arc<str>,
    },
    CandidateSilent {
        server: Arc<str>,
    },
    /// Nobody acknowledges yet what the new primary is to commit.
    NoAcknowledger {
        server: Arc<str>,
    },
    /// One step failed again and again.
    StepFails {
        step: String,
        error: Arc<str>,
    },
    /// There is no such server, or it cannot be the target.
    BadTarget {
        server: Arc<str>,
        because: Unfit,
    },
    /// Another change is under way.
    Busy,
}

impl WhyNot {
    /// It passes by itself, within moments: not worth telling.
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            WhyNot::PrimaryLives
                | WhyNot::Suspected
                | WhyNot::Grace
                | WhyNot::Draining { .. }
                | WhyNot::CatchingUp { .. }
                | WhyNot::CandidateSilent { .. }
                | WhyNot::NoPrimary
        )
    }
}

/// Why a server cannot be promoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    IsPrimary,
    NotReached,
    NoPromote,
    /// Its binary log is off, or does not hold what it applies: nobody could follow it.
    NoLog,
    /// What it received cannot be applied.
    ApplierFailed,
    ApplierStopped,
    /// It holds transactions back on purpose.
    Delayed,
    /// Other replicas could not follow a newer version.
    NewerVersion,
    /// It has transactions of its own that were never the cluster's.
    Errant,
    /// Its replication source is not the primary.
    NotFollowing,
    /// It is further behind than a switchover waits for.
    Behind,
    /// Its replication channel has a name, which is not supported.
    NamedChannel,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unfit::IsPrimary => "it is the primary",
            Unfit::NotReached => "it does not answer",
            Unfit::NoPromote => "it is configured with no_promote",
            Unfit::NoLog => "its binary log is off or does not hold what it applies (log_replica_updates)",
            Unfit::ApplierFailed => "its applier failed",
            Unfit::ApplierStopped => "its applier is stopped",
            Unfit::Delayed => "it is a delayed replica",
            Unfit::NewerVersion => "its version is newer than that of another replica",
            Unfit::Errant => "it has transactions that were never the primary's",
            Unfit::NotFollowing => "it does not replicate from the primary",
            Unfit::Behind => "it is too far behind",
            Unfit::NamedChannel => "its replication channel has a name",
        })
    }
}

impl fmt::Display for WhyNot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WhyNot::NotLeading => f.write_str("another process holds the right to decide"),
            WhyNot::Held => f.write_str("an operator holds failover (RELEASE FAILOVER ends it)"),
            WhyNot::NoPrimary => f.write_str("no primary is known"),
            WhyNot::PrimaryLives => f.write_str("the primary lives"),
            WhyNot::Suspected => f.write_str("the primary fails its checks, but not for long enough"),
            WhyNot::StillHeard { by } => {
                write!(f, "the primary fails its checks from here, but is heard by {}", by.join(", "))
            }
            WhyNot::NoWitness => f.write_str("the primary fails its checks, and no replica can be asked"),
            WhyNot::ClassTooLow { class, wanted, because } => {
                write!(f, "writes were {class}, and failover.min_class is {wanted}: {because}")
            }
            WhyNot::Budget { done } => {
                write!(f, "{done} promotions lately; an operator must look (FAILOVER)")
            }
            WhyNot::NotRevocable { missing } => write!(
                f,
                "cannot prove that nothing is lost: these do not answer, or were started since: {}",
                missing.join(", ")
            ),
            WhyNot::Incomparable { one, other, only_one, only_other } => {
                write!(f, "histories have parted: only {one} has {only_one}, only {other} has {only_other}")
            }
            WhyNot::Missing { transactions } => {
                write!(f, "no server that answers has {transactions}, which was found before")
            }
            WhyNot::Unfit { server, because } => {
                write!(f, "only {server} has all, and cannot be promoted: {because}")
            }
            WhyNot::NoCandidate => f.write_str("no replica can be promoted"),
            WhyNot::Draining { server } => write!(f, "{server} applies what it has received"),
            WhyNot::Grace => f.write_str("open transactions may finish"),
            WhyNot::CatchingUp { server } => write!(f, "{server} catches up"),
            WhyNot::CandidateSilent { server } => write!(f, "{server} does not answer at the moment"),
            WhyNot::NoAcknowledger { server } => {
                write!(f, "nobody acknowledges yet what {server} is to commit")
            }
            WhyNot::StepFails { step, error } => write!(f, "{step} fails: {error}"),
            WhyNot::BadTarget { server, because } => write!(f, "{server} cannot take over: {because}"),
            WhyNot::Busy => f.write_str("a change of primary is under way"),
        }
    }
}
