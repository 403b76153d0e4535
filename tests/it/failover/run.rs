//! Seeds played from fault to fault, with what must hold checked at every moment.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use pointsman::control::failover::decide::Order;
use pointsman::control::failover::journal::{self, Record};
use pointsman::control::failover::plan::{Kind, WhyNot};
use pointsman::control::judge::Preference;
use pointsman::flavour::Flavour;
use pointsman::topology::ServerId;

use super::chance::Chance;
use super::controller::{Controller, Stage, Wrong, policy};
use super::world::{Txn, World};

const SEEDS: u64 = 2000;
const STEP: Duration = Duration::from_millis(500);
/// Moments in which faults happen, and those in which all must come right again.
const FAULTS: usize = 60;
const CALM: usize = 120;

/// What came of a seed.
struct Played {
    violations: Vec<String>,
    promotions: usize,
    acknowledged: usize,
    out: String,
}

#[test]
fn two_thousand_seeds_lose_nothing() {
    if let Some(seed) = std::env::var("SIM_SEED").ok().and_then(|seed| seed.parse().ok()) {
        let played = play(seed, None, true);
        panic!("{}\nseed {seed}: {:?}", played.out, played.violations);
    }
    let (mut promotions, mut acknowledged, mut bad) = (0, 0, Vec::new());
    for (seed, played) in play_all() {
        promotions += played.promotions;
        acknowledged += played.acknowledged;
        if !played.violations.is_empty() {
            bad.push((seed, played.violations));
        }
    }
    let shown: Vec<String> = bad.iter().take(20).map(|(seed, what)| format!("{seed}: {what:?}")).collect();
    assert!(bad.is_empty(), "{} seeds; SIM_SEED=n replays one:\n{}", bad.len(), shown.join("\n"));
    // A world in which nothing happens proves nothing.
    assert!(promotions > SEEDS as usize / 5, "{promotions} promotions");
    assert!(acknowledged > 10 * SEEDS as usize, "{acknowledged} writes");
}

#[test]
fn a_wrong_decider_is_caught() {
    let wrongs =
        [Wrong::ChoosesAny, Wrong::LeavesTheGateOpen, Wrong::ForgetsTheQuorum, Wrong::ForgetsTheJournal];
    for wrong in wrongs {
        let caught = (0..SEEDS).find(|seed| !play(*seed, Some(wrong), false).violations.is_empty());
        assert!(caught.is_some(), "{wrong:?} was not noticed in {SEEDS} seeds");
    }
}

/// All seeds, on as many threads as there are processors.
fn play_all() -> Vec<(u64, Played)> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let share =
        |first: u64| (first..SEEDS).step_by(threads as usize).map(|seed| (seed, play(seed, None, false)));
    std::thread::scope(|scope| {
        let working: Vec<_> =
            (0..threads).map(|first| scope.spawn(move || share(first).collect::<Vec<_>>())).collect();
        working.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    })
}

fn play(seed: u64, wrong: Option<Wrong>, verbose: bool) -> Played {
    let mut game = Game::new(seed, wrong, verbose);
    for _ in 0..FAULTS {
        game.fault();
        game.moment(true);
    }
    game.heal();
    for _ in 0..CALM {
        game.moment(false);
        if game.goes_well() {
            break;
        }
    }
    game.end()
}

pub(super) struct Game {
    pub(super) world: World,
    chance: Chance,
    pub(super) controller: Option<Controller>,
    pub(super) disk: String,
    /// The controller is killed when its journal has so many lines.
    pub(super) killed_at: Option<usize>,
    wrong: Option<Wrong>,
    wall: u64,
    /// By the wall's clock the journal may be wrong about time after that.
    jumped: bool,
    pub(super) acknowledged: BTreeSet<Txn>,
    /// Who was written to in which epoch.
    writers: BTreeMap<u64, usize>,
    last_acknowledged: usize,
    pub(super) moments: usize,
    healed: Option<usize>,
    pub(super) violations: Vec<String>,
    pub(super) out: Option<String>,
}

impl Game {
    fn new(seed: u64, wrong: Option<Wrong>, verbose: bool) -> Self {
        let mut chance = Chance::new(seed);
        let flavour = if chance.one_in(2) { Flavour::MySql } else { Flavour::MariaDb };
        let world = World::new(flavour, 2 + chance.below(3));
        Self::before(world, chance, wrong, verbose)
    }

    pub(super) fn before(world: World, chance: Chance, wrong: Option<Wrong>, verbose: bool) -> Self {
        let mut out = verbose.then(String::new);
        if let Some(out) = &mut out {
            let _ = writeln!(out, "{}, {} servers", world.flavour, world.servers.len());
        }
        Self {
            world,
            chance,
            controller: None,
            disk: String::new(),
            killed_at: None,
            wrong,
            wall: 1_700_000_000_000,
            jumped: false,
            acknowledged: BTreeSet::new(),
            writers: BTreeMap::new(),
            last_acknowledged: 0,
            moments: 0,
            healed: None,
            violations: Vec::new(),
            out,
        }
    }

    pub(super) fn tell(&mut self, line: &str) {
        if let Some(out) = &mut self.out {
            let _ = writeln!(out, "{:>4} {line}", self.moments);
        }
    }

    /// Something happens, now and then.
    fn fault(&mut self) {
        // Let it first stand on its feet.
        if self.moments < 6 || !self.chance.one_in(5) {
            return;
        }
        let count = self.world.servers.len();
        let (one, other) = (self.chance.below(count), self.chance.below(count));
        let what = match self.chance.below(13) {
            0 | 1 => {
                self.world.crash(one);
                "crashes"
            }
            2 | 3 => {
                self.world.start(one);
                "starts"
            }
            4 => {
                self.world.servers[one].frozen = self.world.servers[one].alive;
                "hangs"
            }
            5 => {
                self.world.servers[one].frozen = false;
                "goes on"
            }
            6 => {
                self.world.cut[one] ^= true;
                "is cut off from the controller, or not any more"
            }
            7 => {
                self.world.cut_between[one][other] ^= true;
                "is cut off from its source, or not any more"
            }
            8 => {
                self.controller = None;
                "is none: the controller is killed"
            }
            9 => {
                self.jumped = true;
                let jump = self.chance.below(7_200_000) as u64;
                self.wall = if self.chance.one_in(2) { self.wall + jump } else { self.wall - jump };
                "is none: the clock jumps"
            }
            10 => {
                // Whoever is writable and not the primary is written to by somebody who does not know.
                let primary = self.controller.as_ref().and_then(|c| c.snapshot.primary);
                if primary.is_none_or(|primary| usize::from(primary.0) != one) {
                    self.world.write_errant(one);
                }
                "is written to past the proxy"
            }
            11 => {
                if let Some(controller) = &mut self.controller {
                    let to = ServerId(u16::try_from(one).expect("few"));
                    // It may be refused: then and there, or when the view is looked at.
                    let _ = controller.coordinator.order(Order::Switchover { to });
                }
                "is to take over, an operator says"
            }
            _ => {
                self.world.servers[one].applies ^= true;
                "stops applying, or goes on"
            }
        };
        self.tell(&format!("s{one} {what}"));
    }

    fn heal(&mut self) {
        self.moments += 1;
        self.healed = Some(self.moments);
        self.tell("all is healed");
        for index in 0..self.world.servers.len() {
            self.world.start(index);
            self.world.servers[index].frozen = false;
            self.world.servers[index].applies = true;
            self.world.cut[index] = false;
            self.world.cut_between[index].iter_mut().for_each(|cut| *cut = false);
        }
    }

    /// Long enough after all was healed, writes are acknowledged.
    fn goes_well(&self) -> bool {
        self.healed.is_some_and(|healed| self.last_acknowledged >= healed + 30)
    }

    pub(super) fn moment(&mut self, faults: bool) {
        self.moments += 1;
        self.wall += STEP.as_millis() as u64;
        let waiting = self.world.tick(STEP, &mut self.chance);
        self.pass_on(&waiting);
        self.clients_write();
        self.control(faults);
        self.check();
    }

    /// Acknowledged commits go to their clients, unless the way is closed or the proxy gone.
    fn pass_on(&mut self, acknowledged: &[Txn]) {
        for txn in acknowledged {
            let open = self.controller.as_ref().is_some_and(|c| !c.gates[txn.0]) && !self.world.cut[txn.0];
            if open && !self.world.errant.contains(txn) {
                self.acknowledge(*txn);
                self.last_acknowledged = self.moments;
            }
        }
    }

    fn acknowledge(&mut self, txn: Txn) {
        self.acknowledged.insert(txn);
        if let Some(controller) = &mut self.controller {
            controller.ledger.insert(txn);
        }
    }

    fn clients_write(&mut self) {
        let Some(controller) = &self.controller else { return };
        let Some(primary) = controller.snapshot.primary else { return };
        let (index, epoch) = (usize::from(primary.0), controller.snapshot.epoch.0);
        if controller.gates[index] || self.world.cut[index] {
            return;
        }
        let writer = *self.writers.entry(epoch).or_insert(index);
        if writer != index {
            self.violations.push(format!("s{writer} and s{index} are written to in epoch {epoch}"));
        }
        if !self.moments.is_multiple_of(2) {
            return;
        }
        if let Some(txn) = self.world.write(index) {
            self.acknowledge(txn);
            self.last_acknowledged = self.moments;
        }
    }

    fn control(&mut self, faults: bool) {
        let (wall, wrong) = (self.wall, self.wrong);
        let mut controller = match self.controller.take() {
            Some(controller) => controller,
            // Connections of clients ended with the process: what waits is never passed on.
            None => {
                for server in &mut self.world.servers {
                    server.pending.clear();
                }
                Controller::start(&self.world, &self.disk, wall, wrong)
            }
        };
        for index in 0..self.world.servers.len() {
            controller.look(&self.world, index);
        }
        let mut stage = Stage {
            world: &mut self.world,
            chance: &mut self.chance,
            disk: &mut self.disk,
            wall,
            faults,
            killed_at: self.killed_at,
            violations: &mut self.violations,
            verbose: self.out.as_mut(),
        };
        if controller.advance(&mut stage).is_ok() {
            self.controller = Some(controller);
        }
    }

    /// Whoever is called the primary has all that any client was told is done.
    fn check(&mut self) {
        let Some(primary) = self.controller.as_ref().and_then(|controller| controller.snapshot.primary)
        else {
            return;
        };
        let index = usize::from(primary.0);
        let have: BTreeSet<Txn> = self.world.servers[index].log.iter().copied().collect();
        let lost: Vec<&Txn> = self.acknowledged.iter().filter(|txn| !have.contains(txn)).collect();
        if !lost.is_empty() {
            let text = format!("s{index} is the primary and lacks {lost:?}");
            self.tell(&text);
            self.violations.push(text);
        }
    }

    fn end(mut self) -> Played {
        let records = journal::read(&self.disk).expect("whole");
        self.check_budget(&records);
        self.check_liveness();
        let opened = |record: &&Record| matches!(record, Record::Opened { .. });
        self.violations.truncate(3);
        Played {
            promotions: records.iter().filter(opened).count(),
            acknowledged: self.acknowledged.len(),
            violations: self.violations,
            out: self.out.unwrap_or_default(),
        }
    }

    /// Automatic failovers keep their distance, over restarts too.
    fn check_budget(&mut self, records: &[Record]) {
        if self.jumped {
            return;
        }
        let times: Vec<u64> = records
            .iter()
            .filter_map(|record| match record {
                Record::Opened { kind: Kind::Failover, at, .. } => Some(*at),
                _ => None,
            })
            .collect();
        // From its opening to the next opening is more than to the next beginning.
        let interval = policy().min_interval.as_millis() as u64;
        if times.windows(2).any(|pair| pair[1] - pair[0] < interval) {
            self.violations.push("two failovers follow too closely".to_owned());
        }
        if times.len() > policy().max_failovers {
            self.violations.push("too many failovers".to_owned());
        }
    }

    /// The primary was started with commits that wait, and whoever could acknowledge them has transactions of its own
    /// and is named. Only an operator may let them go on alone.
    fn waits_for_those_left_out(&self) -> bool {
        let Some(controller) = &self.controller else { return false };
        let Some(view) = controller.judge.view(&[Preference::default(); 8], self.world.now) else {
            return false;
        };
        let Some(primary) = view.primary else { return false };
        let left_out = controller.coordinator.quarantined().count();
        self.world.servers[usize::from(primary.0)].waits && left_out + 1 == view.members.len()
    }

    /// With everything healed, writes go on; or histories have parted by writes past the proxy, and it says so.
    pub(super) fn check_liveness(&mut self) {
        if self.last_acknowledged + 20 >= self.moments {
            return;
        }
        let waits = self.controller.as_ref().and_then(|controller| controller.coordinator.waits().cloned());
        let parted = matches!(
            waits,
            Some(
                WhyNot::Incomparable { .. }
                    | WhyNot::Missing { .. }
                    | WhyNot::Unfit { .. }
                    | WhyNot::NoCandidate
            )
        );
        if self.waits_for_those_left_out() {
            return;
        }
        if !parted || self.world.errant.is_empty() {
            let text = format!("no write is acknowledged any more: {waits:?}");
            self.tell(&text);
            self.violations.push(text);
        }
    }
}
