//! Rehearsed scenarios that plain processes can play, by the names that `make drill` has for them.
//!
//! `primary_crash`, `primary_hang` and `switchover` are in `failover.rs` and `switchover.rs`, with more to see; what
//! takes cut edges, or long, is the drill's.

use anyhow::{Result, ensure};
use pointsman::flavour::Flavour;

use crate::clusters::both;
use crate::rehearsal;
use crate::rehearsal::processes::Processes;
use crate::rehearsal::scenario::Scenario;

/// A test for each, of the scenario's name.
macro_rules! scenarios {
    ($($name:ident: $scenario:ident),+ $(,)?) => {
        both![$($name),+];
        $(async fn $name(flavour: Flavour) -> Result<()> {
            assert_eq!(Scenario::$scenario.sheet().name, stringify!($name));
            play(flavour, Scenario::$scenario).await
        })+
    };
}

scenarios![
    primary_crash_and_restart: PrimaryCrashAndRestart,
    primary_short_hang: PrimaryShortHang,
    replica_crash: ReplicaCrash,
    primary_read_only_by_hand: PrimaryReadOnlyByHand,
    replica_writable_by_hand: ReplicaWritableByHand,
    old_primary_returns_written: OldPrimaryReturnsWritten,
    two_failures: TwoFailures,
    long_transaction: LongTransaction,
    relay_log_backlog: RelayLogBacklog,
    diverged_replica: DivergedReplica,
];

async fn play(flavour: Flavour, scenario: Scenario) -> Result<()> {
    let stage = Processes::set(flavour, env!("CARGO_BIN_EXE_pointsman").into(), false).await?;
    let verdict = rehearsal::play(&stage, scenario, &flavour.to_string()).await?;
    eprintln!("{}", verdict.told());
    ensure!(verdict.is_clean(), "{}\n{}", verdict.told(), stage.log());
    Ok(())
}
