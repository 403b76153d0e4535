//! What is done to one server in a change of primary, and what became of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::control::semi_sync::SourceSide;
use crate::topology::ServerId;

/// One step. Each may be taken twice without harm.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub server: ServerId,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// It fetches nothing more from the old primary, and so acknowledges nothing more.
    StopReceiver,
    StartApplier,
    /// It has applied these, or the time is over. Changes nothing.
    Await {
        gtid: Arc<str>,
        within: Duration,
    },
    /// Both threads, as they are configured.
    StartReplication,
    /// It follows nobody any more; its commits will wait as those of the old primary did.
    Detach {
        semi_sync: Option<SourceSide>,
    },
    /// Its commits wait for nobody: there is nobody to wait for.
    StopWaiting,
    /// Its commits wait again as they once did: there is somebody to wait for.
    StartWaiting {
        semi_sync: SourceSide,
    },
    /// It takes writes.
    OpenWrites,
    /// It follows that server.
    Follow {
        source: ServerId,
        acknowledges: bool,
    },
    /// Its sessions end and it takes no more writes. Its commits wait as before.
    CloseWrites,
    /// As `CloseWrites`, of a server that is no primary any more: commits that still wait for acknowledgements
    /// are let go. Their clients have been cut off, so that nobody takes them for done.
    Quarantine,
    /// A write that changes nothing. Its acknowledgement counts for every commit before it.
    Canary,
}

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// It was refused, or never reached the server.
    Failed(Arc<str>),
    /// It may have happened. Only looking again tells.
    Unknown(Arc<str>),
}

impl What {
    /// As the journal and the audit name it.
    pub fn name(&self) -> &'static str {
        match self {
            What::StopReceiver => "stop_receiver",
            What::StartApplier => "start_applier",
            What::Await { .. } => "await",
            What::StartReplication => "start_replication",
            What::Detach { .. } => "detach",
            What::StopWaiting => "stop_waiting",
            What::StartWaiting { .. } => "start_waiting",
            What::OpenWrites => "open_writes",
            What::Follow { .. } => "follow",
            What::CloseWrites => "close_writes",
            What::Quarantine => "quarantine",
            What::Canary => "canary",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Done => f.write_str("done"),
            Outcome::Failed(error) => write!(f, "failed: {error}"),
            Outcome::Unknown(error) => write!(f, "unknown: {error}"),
        }
    }
}
