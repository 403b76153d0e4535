//! The cluster as decisions about its primary see it, at one moment.

use std::sync::Arc;
use std::time::Instant;

use crate::control::observation::{Channel, Facts, Receiver};
use crate::gtid::History;
use crate::topology::{Epoch, ServerId};

pub struct View<'v> {
    pub epoch: Epoch,
    /// The primary of the epoch, alive or not.
    pub primary: Option<ServerId>,
    pub life: Life,
    /// When the primary last answered.
    pub last_alive: Option<Instant>,
    /// Indexed by `ServerId`.
    pub members: Vec<Member<'v>>,
    pub now: Instant,
}

/// What is known of the primary's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Life {
    /// It answers, be it with an error.
    Alive,
    /// It failed, but not as often as it takes.
    Suspected,
    /// It fails its checks, and these replicas hear it.
    StillHeard(Vec<Arc<str>>),
    /// It fails its checks, and there is no replica that answers.
    NoWitness,
    /// It fails its checks, and no replica that answers hears it.
    Dead,
}

/// One server.
#[derive(Clone, Debug)]
pub struct Member<'v> {
    pub id: ServerId,
    pub name: Arc<str>,
    /// From its last good probe, however old.
    pub facts: Option<&'v Facts>,
    /// The channel its place in the cluster is read from.
    pub channel: Option<&'v Channel>,
    /// Its last probe was a good one: the facts are those of now.
    pub answered: bool,
    /// It failed its checks as often as it takes, or was never seen.
    pub is_down: bool,
    /// When the probe was sent that the facts are from.
    pub asked: Option<Instant>,
    /// When the server was started, to the second.
    pub started: Option<Instant>,
    /// Since when commits wait on it for acknowledgements, and none came through.
    pub stalled: Option<Instant>,
    /// Whom of the cluster it replicates from directly.
    pub source: Option<ServerId>,
    /// The head of the chain it hangs on, itself if it follows nobody.
    pub top: Option<ServerId>,
    pub no_promote: bool,
    pub priority: u32,
}

impl View<'_> {
    pub fn member(&self, id: ServerId) -> &Member<'_> {
        &self.members[usize::from(id.0)]
    }

    pub fn name(&self, id: ServerId) -> Arc<str> {
        Arc::clone(&self.member(id).name)
    }
}

impl Member<'_> {
    /// Everything that is on it, applied or not; `None` where that cannot be told.
    pub fn received_or_executed(&self) -> Option<History> {
        let executed = self.facts?.executed.as_ref()?;
        let channels = self.facts.map_or(&[][..], |facts| &facts.channels);
        Some(channels.iter().fold(executed.clone(), |all, channel| all.union(&channel.received)))
    }

    pub fn executed(&self) -> Option<&History> {
        self.facts?.executed.as_ref()
    }

    /// Whether all that was received is applied.
    pub fn is_drained(&self) -> bool {
        let Some(facts) = self.facts else { return false };
        let Some(executed) = &facts.executed else { return false };
        facts.channels.iter().all(|channel| executed.contains(&channel.received))
    }

    pub fn is_stopped(&self) -> bool {
        self.facts
            .is_some_and(|facts| facts.channels.iter().all(|channel| channel.receiver == Receiver::Stopped))
    }

    pub fn is_read_only(&self) -> bool {
        self.facts.is_some_and(|facts| facts.read_only)
    }
}
