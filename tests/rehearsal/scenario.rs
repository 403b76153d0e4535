//! The scenarios by name. The same name is the simulation's, the real case's and the drill's.

use std::ops::RangeInclusive;

/// What happens to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Scenario {
    PrimaryCrash,
    PrimaryCrashAndRestart,
    PrimaryHang,
    PrimaryShortHang,
    PrimaryIsolated,
    ProxyPrimaryCut,
    ProxyToPrimaryCut,
    PrimaryToProxyCut,
    PrimaryReplicasCut,
    PrimaryToReplicasCut,
    ReplicasToPrimaryCut,
    ProxyReplicaCut,
    ProxyToReplicaCut,
    ReplicaToProxyCut,
    ReplicaCrash,
    ReplicaCrashInPromotion,
    ProxyCrash,
    ProxyCrashAtJournalPoints,
    PrimaryReadOnlyByHand,
    ReplicaWritableByHand,
    ConnectionsExhausted,
    SlowPrimary,
    OldPrimaryReturnsErrant,
    OldPrimaryReturnsWritten,
    TwoFailures,
    LongTransaction,
    RelayLogBacklog,
    DivergedReplica,
    Switchover,
}

/// What is known of a scenario before it is played.
pub(crate) struct Sheet {
    pub(crate) scenario: Scenario,
    pub(crate) name: &'static str,
    /// For people.
    pub(crate) about: &'static str,
    /// How many changes of primary there may be: more is a false failover, less one that did not come.
    pub(crate) changes: RangeInclusive<usize>,
    /// Edges are cut: not to be had from plain processes.
    pub(crate) cuts: bool,
}

const fn sheet(
    scenario: Scenario,
    name: &'static str,
    changes: RangeInclusive<usize>,
    about: &'static str,
) -> Sheet {
    Sheet { scenario, name, about, changes, cuts: false }
}

const fn cutting(
    scenario: Scenario,
    name: &'static str,
    changes: RangeInclusive<usize>,
    about: &'static str,
) -> Sheet {
    Sheet { scenario, name, about, changes, cuts: true }
}

/// All of them, in the order in which they are played.
pub(crate) const ALL: &[Sheet] = {
    use Scenario as S;
    &[
        sheet(S::PrimaryCrash, "primary_crash", 1..=1, "kill -9 of the primary, which returns later"),
        sheet(
            S::PrimaryCrashAndRestart,
            "primary_crash_and_restart",
            0..=1,
            "kill -9 of the primary, which is started again at once",
        ),
        sheet(
            S::PrimaryHang,
            "primary_hang",
            1..=1,
            "SIGSTOP of the primary until it is replaced, then SIGCONT",
        ),
        sheet(S::PrimaryShortHang, "primary_short_hang", 0..=0, "SIGSTOP of the primary for one second"),
        cutting(
            S::PrimaryIsolated,
            "primary_isolated",
            1..=1,
            "nothing reaches the primary, nor comes from it",
        ),
        cutting(
            S::ProxyPrimaryCut,
            "proxy_primary_cut",
            0..=0,
            "the proxy and the primary do not reach each other; the replicas hear it",
        ),
        cutting(
            S::ProxyToPrimaryCut,
            "proxy_to_primary_cut",
            0..=0,
            "what the proxy sends to the primary is lost",
        ),
        cutting(
            S::PrimaryToProxyCut,
            "primary_to_proxy_cut",
            0..=0,
            "what the primary sends to the proxy is lost",
        ),
        cutting(
            S::PrimaryReplicasCut,
            "primary_replicas_cut",
            0..=0,
            "the primary and its replicas do not reach each other; the proxy reaches all",
        ),
        cutting(
            S::PrimaryToReplicasCut,
            "primary_to_replicas_cut",
            0..=0,
            "what the primary sends to its replicas is lost",
        ),
        cutting(
            S::ReplicasToPrimaryCut,
            "replicas_to_primary_cut",
            0..=0,
            "what the replicas send to the primary is lost",
        ),
        cutting(
            S::ProxyReplicaCut,
            "proxy_replica_cut",
            0..=0,
            "the proxy and a replica do not reach each other",
        ),
        cutting(
            S::ProxyToReplicaCut,
            "proxy_to_replica_cut",
            0..=0,
            "what the proxy sends to a replica is lost",
        ),
        cutting(
            S::ReplicaToProxyCut,
            "replica_to_proxy_cut",
            0..=0,
            "what a replica sends to the proxy is lost",
        ),
        sheet(S::ReplicaCrash, "replica_crash", 0..=0, "kill -9 of a replica, which returns"),
        sheet(
            S::ReplicaCrashInPromotion,
            "replica_crash_in_promotion",
            0..=2,
            "kill -9 of the primary, then of the replica that was chosen to take over",
        ),
        sheet(S::ProxyCrash, "proxy_crash", 0..=0, "kill -9 of the proxy under load"),
        sheet(
            S::ProxyCrashAtJournalPoints,
            "proxy_crash_at_journal_points",
            2..=60,
            "kill -9 of the proxy after everything it writes to its journal, one failover each",
        ),
        sheet(
            S::PrimaryReadOnlyByHand,
            "primary_read_only_by_hand",
            1..=1,
            "somebody sets read_only=1 on the primary (after a switchover, which makes the cluster ours)",
        ),
        sheet(
            S::ReplicaWritableByHand,
            "replica_writable_by_hand",
            1..=1,
            "somebody sets read_only=0 on a replica (after a switchover, which makes the cluster ours)",
        ),
        sheet(
            S::ConnectionsExhausted,
            "connections_exhausted",
            0..=0,
            "others take every connection that the primary has",
        ),
        sheet(S::SlowPrimary, "slow_primary", 0..=0, "the primary stands still for 400 of every 600 ms"),
        sheet(
            S::OldPrimaryReturnsErrant,
            "old_primary_returns_errant",
            1..=1,
            "the primary dies with commits that no replica has got, and returns with them",
        ),
        sheet(
            S::OldPrimaryReturnsWritten,
            "old_primary_returns_written",
            1..=1,
            "the old primary returns writable, and is written to past the proxy before anybody can close it",
        ),
        sheet(
            S::TwoFailures,
            "two_failures",
            2..=2,
            "the primary dies; the one that took over dies; the first returns",
        ),
        sheet(
            S::LongTransaction,
            "long_transaction",
            1..=1,
            "a transaction of 20 000 rows is open when the primary dies",
        ),
        sheet(
            S::RelayLogBacklog,
            "relay_log_backlog",
            1..=1,
            "the replicas have received much and applied nothing of it when the primary dies",
        ),
        sheet(
            S::DivergedReplica,
            "diverged_replica",
            0..=0,
            "each replica was written to past the proxy; then the primary dies: nobody may be promoted",
        ),
        sheet(
            S::Switchover,
            "switchover",
            2..=2,
            "the primary hands over on an operator's word, and back again",
        ),
    ]
};

impl Scenario {
    pub(crate) fn sheet(self) -> &'static Sheet {
        ALL.iter().find(|sheet| sheet.scenario == self).expect("every scenario has its sheet")
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        ALL.iter().find(|sheet| sheet.name == name).map(|sheet| sheet.scenario)
    }
}
