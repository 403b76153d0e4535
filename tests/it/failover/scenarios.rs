//! The rehearsed scenarios by their names, in the simulated world: what `make drill` does to real servers.

use std::collections::BTreeMap;

use pointsman::control::failover::decide::Order;
use pointsman::control::failover::journal::{self, Record};
use pointsman::control::failover::plan::Phase;
use pointsman::flavour::Flavour;
use pointsman::topology::ServerId;

use super::chance::Chance;
use super::run::Game;
use super::world::World;
use crate::rehearsal::scenario::{ALL, Scenario as S, Sheet};

/// Chance is in how much of a transaction's way is done in one moment.
const SEEDS: u64 = 3;
/// By then all must have come right.
const END: usize = 160;

#[test]
fn every_scenario_ends_well() {
    let mut wrong = Vec::new();
    for sheet in ALL.iter().filter(|sheet| is_of_this_world(sheet.scenario)) {
        for seed in 0..SEEDS {
            for flavour in [Flavour::MySql, Flavour::MariaDb] {
                let found = match sheet.scenario {
                    S::ProxyCrashAtJournalPoints => at_journal_points(sheet, flavour, seed),
                    _ => played(sheet, flavour, seed, None).0,
                };
                wrong.extend(
                    found.into_iter().map(|what| format!("{}, {flavour}, {seed}: {what}", sheet.name)),
                );
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// No transaction is longer than a moment there.
fn is_of_this_world(scenario: S) -> bool {
    scenario != S::LongTransaction
}

/// What went wrong, and whether the controller was killed before all was over.
fn played(sheet: &Sheet, flavour: Flavour, seed: u64, killed_at: Option<usize>) -> (Vec<String>, bool) {
    let mut game = Game::before(World::new(flavour, 3), Chance::new(seed), None, false);
    let mut killed = false;
    while game.moments < END {
        happen(sheet.scenario, &mut game);
        game.killed_at = killed_at.filter(|_| !killed);
        game.moment(false);
        killed |= game.controller.is_none();
    }
    game.check_liveness();
    let records = journal::read(&game.disk).expect("whole");
    let changes = changes(&records);
    let mut wrong = std::mem::take(&mut game.violations);
    if !sheet.changes.contains(&changes) && killed_at.is_none() {
        wrong.push(format!("the primary changed {changes} times, expected {:?}", sheet.changes));
    }
    if game.acknowledged.len() < 10 {
        wrong.push(format!("{} writes were acknowledged", game.acknowledged.len()));
    }
    wrong.extend(not_closed(&game));
    let is_over =
        matches!(records.iter().rfind(|r| !matches!(r, Record::Step { .. })), Some(Record::Opened { .. }));
    (wrong, killed && is_over)
}

/// Killed after each line that its journal gets, until it gets no further one.
fn at_journal_points(sheet: &Sheet, flavour: Flavour, seed: u64) -> Vec<String> {
    // The first line is that a primary was found.
    let mut wrong = Vec::new();
    for lines in 2.. {
        let (found, killed) = played(sheet, flavour, seed, Some(lines));
        wrong.extend(found);
        if !killed {
            assert!(lines > 8, "a failover has more steps than {lines}");
            return wrong;
        }
    }
    wrong
}

/// Whoever is not the primary takes no writes in the end.
fn not_closed(game: &Game) -> Vec<String> {
    let Some(controller) = &game.controller else { return Vec::new() };
    let Some(primary) = controller.snapshot.primary else { return Vec::new() };
    let servers = game.world.servers.iter().enumerate();
    let open = servers.filter(|(index, server)| *index != usize::from(primary.0) && !server.read_only);
    open.map(|(index, _)| format!("s{index} takes writes and is not the primary")).collect()
}

fn changes(records: &[Record]) -> usize {
    let mut from = BTreeMap::new();
    let mut changes = 0;
    for record in records {
        match record {
            Record::Began(began) => drop(from.insert(began.epoch, began.from.clone())),
            Record::Opened { epoch, server, .. } => changes += usize::from(from.get(epoch) != Some(server)),
            _ => {}
        }
    }
    changes
}

/// What the scenario does at this moment; two are a second.
fn happen(scenario: S, game: &mut Game) {
    let at = game.moments;
    let between = |from: usize, to: usize| (from..to).contains(&at);
    match scenario {
        S::PrimaryCrash | S::ProxyCrashAtJournalPoints => crash_and_start(game, 0, 10, 40),
        S::PrimaryCrashAndRestart => crash_and_start(game, 0, 10, 11),
        S::PrimaryHang => game.world.servers[0].frozen = between(10, 40),
        S::PrimaryShortHang => game.world.servers[0].frozen = between(10, 12),
        S::PrimaryIsolated => {
            game.world.cut[0] = between(10, 40);
            cut_replication(game, between(10, 40));
        }
        // A probe needs both ways: the world knows no difference.
        S::ProxyPrimaryCut | S::ProxyToPrimaryCut | S::PrimaryToProxyCut => {
            game.world.cut[0] = between(10, 26)
        }
        S::PrimaryReplicasCut | S::PrimaryToReplicasCut | S::ReplicasToPrimaryCut => {
            cut_replication(game, between(10, 26));
        }
        S::ProxyReplicaCut | S::ProxyToReplicaCut | S::ReplicaToProxyCut => {
            game.world.cut[1] = between(10, 26)
        }
        S::ReplicaCrash => crash_and_start(game, 1, 10, 20),
        S::ReplicaCrashInPromotion => replica_crash_in_promotion(game),
        S::ProxyCrash if at == 10 => game.controller = None,
        S::PrimaryReadOnlyByHand | S::ReplicaWritableByHand => by_hand(scenario, game),
        S::ConnectionsExhausted => game.world.servers[0].full = between(10, 26),
        // It stands still for one of two moments.
        S::SlowPrimary => game.world.servers[0].frozen = between(10, 40) && at.is_multiple_of(2),
        S::OldPrimaryReturnsErrant => {
            if at == 10 || at == 16 {
                game.world.servers[1].receives = at == 16;
                game.world.servers[2].receives = at == 16;
            }
            crash_and_start(game, 0, 15, 40);
        }
        S::OldPrimaryReturnsWritten => {
            crash_and_start(game, 0, 10, 40);
            if at == 40 {
                game.world.write_errant(0);
            }
        }
        S::TwoFailures => two_failures(game),
        S::RelayLogBacklog => {
            game.world.servers[1].held = between(6, 40);
            game.world.servers[2].held = between(6, 40);
            crash_and_start(game, 0, 14, 60);
        }
        S::DivergedReplica => diverged_replica(game),
        S::Switchover => switchover(game),
        S::ProxyCrash | S::LongTransaction => {}
    }
}

fn crash_and_start(game: &mut Game, server: usize, crash: usize, start: usize) {
    if game.moments == crash {
        game.world.crash(server);
    }
    if game.moments == start {
        game.world.start(server);
    }
}

fn cut_replication(game: &mut Game, is_cut: bool) {
    for replica in [1, 2] {
        game.world.cut_between[replica][0] = is_cut;
    }
}

fn primary(game: &Game) -> Option<usize> {
    Some(usize::from(game.controller.as_ref()?.snapshot.primary?.0))
}

fn replica_crash_in_promotion(game: &mut Game) {
    crash_and_start(game, 0, 10, 70);
    let plan = game.controller.as_ref().and_then(|controller| controller.coordinator.plan());
    if let Some(Phase::Promoting(server, _)) = plan.map(|plan| &plan.phase)
        && game.moments < 40
    {
        let chosen = usize::from(server.0);
        game.world.crash(chosen);
    }
    if game.moments == 50 {
        game.world.start(1);
        game.world.start(2);
    }
}

/// After a failover, which makes the cluster ours, somebody sets what only we may set.
fn by_hand(scenario: S, game: &mut Game) {
    crash_and_start(game, 0, 10, 40);
    let Some(primary) = primary(game).filter(|_| game.moments == 60) else { return };
    if scenario == S::PrimaryReadOnlyByHand {
        game.world.servers[primary].read_only = true;
    } else {
        let other = if primary == 1 { 2 } else { 1 };
        game.world.servers[other].read_only = false;
    }
}

fn two_failures(game: &mut Game) {
    crash_and_start(game, 0, 10, 60);
    if game.moments == 30
        && let Some(second) = primary(game)
    {
        game.world.crash(second);
    }
    if game.moments == 80 {
        game.world.start(1);
        game.world.start(2);
    }
}

fn diverged_replica(game: &mut Game) {
    if game.moments == 10 {
        for replica in [1, 2] {
            game.world.servers[replica].read_only = false;
            game.world.write_errant(replica);
            game.world.servers[replica].read_only = true;
        }
    }
    crash_and_start(game, 0, 14, 60);
}

fn switchover(game: &mut Game) {
    let to = match game.moments {
        10 => ServerId(1),
        60 => ServerId(0),
        _ => return,
    };
    let controller = game.controller.as_mut().expect("it runs");
    controller.coordinator.order(Order::Switchover { to }).expect("nothing is under way");
}
