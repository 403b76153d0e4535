//! Repairs by name of the scenario that showed the need.

use std::sync::Arc;
use std::time::Instant;

use super::super::decide::Policy;
use super::super::durability::Class;
use super::super::view::Life;
use super::*;
use crate::control::observation::{Facts, Heard, Receiver};
use crate::control::semi_sync::{Durability, SemiSync, SourceSide};
use crate::flavour::{Flavour, Version};
use crate::topology::Epoch;

const PRIMARY: ServerId = ServerId(0);
const REPLICA: ServerId = ServerId(1);

/// A primary whose commits wait for one acknowledgement, and a replica that follows it.
struct Scene {
    began: Instant,
    facts: [Facts; 2],
    mode: Mode,
    has_promoted: bool,
    stalled: bool,
    /// Whom the replica hangs on, itself for nobody.
    source: Option<ServerId>,
    repairs: Vec<(Step, Instant)>,
}

impl Scene {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            facts: [facts(false, Vec::new()), facts(true, vec![channel(Receiver::Running)])],
            mode: Mode::Automatic,
            has_promoted: true,
            stalled: false,
            source: Some(PRIMARY),
            repairs: Vec::new(),
        }
    }

    fn source_side(&mut self) -> &mut SourceSide {
        self.facts[0].semi_sync.source.as_mut().expect("it waits")
    }

    /// What is done that long after it began.
    fn done(&self, after: Duration) -> Vec<Step> {
        let now = self.began + after;
        let policy = Policy {
            mode: self.mode,
            min_class: Class::Lossless,
            allow_degraded: true,
            grace: Duration::from_secs(5),
            catch_up: Duration::from_secs(1),
            min_interval: Duration::from_secs(60),
            max_failovers: 3,
        };
        let semi_sync = facts(false, Vec::new()).semi_sync.source;
        let context = Context {
            policy: &policy,
            plan: None,
            leads: true,
            held: false,
            gate_closed: false,
            acknowledged: &History::default(),
            busy: 0,
            order: None,
            failovers: &[],
            class: None,
            reigned: &[],
            has_promoted: self.has_promoted,
            semi_sync: semi_sync.as_ref(),
            repairs: &self.repairs,
        };
        let member = |id: ServerId| Member {
            id,
            name: Arc::from(if id == PRIMARY { "primary" } else { "replica" }),
            facts: Some(&self.facts[usize::from(id.0)]),
            channel: self.facts[usize::from(id.0)].channels.first(),
            answered: true,
            is_down: false,
            asked: Some(now),
            started: None,
            stalled: (id == PRIMARY && self.stalled).then_some(self.began),
            source: if id == PRIMARY { None } else { self.source },
            top: Some(PRIMARY),
            no_promote: false,
            priority: 0,
        };
        let view = View {
            epoch: Epoch(2),
            primary: Some(PRIMARY),
            life: Life::Alive,
            last_alive: Some(now),
            members: vec![member(PRIMARY), member(REPLICA)],
            now,
        };
        match repair(&view, &context) {
            Decision::Run(steps) => steps,
            Decision::Rest => Vec::new(),
            other => panic!("{other:?}"),
        }
    }
}

fn facts(read_only: bool, channels: Vec<Channel>) -> Facts {
    let executed = History::parse(Flavour::MariaDb, "0-1-100").expect("well-formed");
    let source = SourceSide {
        enabled: !read_only,
        active: !read_only,
        before_visible: true,
        timeout: Duration::from_secs(86_400),
        waits_for_none: true,
        wanted: 1,
        clients: u32::from(!read_only),
        waiting: 0,
    };
    Facts {
        version: Version::parse("10.11.14-MariaDB"),
        version_text: "10.11.14-MariaDB".into(),
        server_id: 1,
        server_uuid: None,
        read_only,
        super_read_only: read_only,
        offline_mode: false,
        gtid: executed.to_string().into(),
        executed: Some(executed),
        purged: History::default(),
        durability: Durability { logs_updates: true, syncs_log: true, flushes_commits: true },
        semi_sync: SemiSync { source: Some(source), acknowledges: Some(true), modern_names: false },
        uptime: None,
        channels,
    }
}

fn channel(receiver: Receiver) -> Channel {
    Channel {
        name: String::new(),
        source_host: "primary".to_owned(),
        source_port: 3306,
        source_uuid: None,
        source_server_id: Some(1),
        receiver,
        applier_runs: true,
        lag: Some(Duration::ZERO),
        caught_up: true,
        receiver_error: None,
        applier_error: None,
        received: History::parse(Flavour::MariaDb, "0-1-100").expect("well-formed"),
        heard: Heard::default(),
        heartbeat_period: None,
        delay: Duration::ZERO,
    }
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn a_cluster_that_is_well_is_left_alone() {
    assert_eq!(Scene::new().done(seconds(60)), []);
}

#[test]
fn replicas_to_primary_cut_lost_acknowledgements_are_made_up_for_by_one_more_write() {
    let mut scene = Scene::new();
    scene.stalled = true;
    let canary = Step { server: PRIMARY, what: What::Canary };
    assert_eq!(scene.done(seconds(2)), []);
    assert_eq!(scene.done(seconds(3)), std::slice::from_ref(&canary));
    // It may itself wait: the next comes after twice the time.
    scene.repairs.push((canary.clone(), scene.began + seconds(4)));
    assert_eq!(scene.done(seconds(7)), []);
    assert_eq!(scene.done(seconds(8)), std::slice::from_ref(&canary));
    // It writes, so only where the proxy may act by itself, and only where somebody would acknowledge it.
    scene.repairs.clear();
    scene.mode = Mode::Manual;
    assert_eq!(scene.done(seconds(60)), []);
    scene.mode = Mode::Automatic;
    scene.source_side().clients = 0;
    assert_eq!(scene.done(seconds(60)), []);
}

#[test]
fn proxy_crash_a_replica_that_a_plan_left_stopped_is_taken_back() {
    let mut scene = Scene::new();
    scene.source = Some(REPLICA);
    scene.facts[1].channels = vec![channel(Receiver::Stopped)];
    let follow = Step { server: REPLICA, what: What::Follow { source: PRIMARY, acknowledges: true } };
    assert_eq!(scene.done(seconds(1)), std::slice::from_ref(&follow));
    scene.repairs.push((follow, scene.began + seconds(1)));
    assert_eq!(scene.done(seconds(2)), []);
    // A cluster on which nothing was promoted from here is not touched.
    scene.repairs.clear();
    scene.has_promoted = false;
    assert_eq!(scene.done(seconds(60)), []);
}

#[test]
fn two_failures_commits_wait_again_when_somebody_can_acknowledge() {
    let mut scene = Scene::new();
    scene.source_side().enabled = false;
    let wanted = facts(false, Vec::new()).semi_sync.source.expect("it waits");
    let wait = Step { server: PRIMARY, what: What::StartWaiting { semi_sync: wanted } };
    assert_eq!(scene.done(seconds(1)), [wait]);
    scene.facts[1].semi_sync.acknowledges = Some(false);
    assert_eq!(scene.done(seconds(1)), []);
}

#[test]
fn replica_writable_by_hand_is_closed() {
    let mut scene = Scene::new();
    scene.facts[1].read_only = false;
    assert_eq!(scene.done(seconds(1)), [Step { server: REPLICA, what: What::Quarantine }]);
}
