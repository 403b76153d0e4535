//! Gives the control line what it needs to change the primary: a journal, the right to decide, a gate.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;

use crate::backend::Pool;
use crate::config::{Config, DurabilityClass, FailoverMode};
use crate::control::Control;
use crate::control::failover::coordinator::Coordinator;
use crate::control::failover::decide::{Mode, Policy};
use crate::control::failover::durability::Class;
use crate::control::failover::lead::{Desk, Equipment, Gate};
use crate::control::failover::local::{FileJournal, FileLeadership};
use crate::topology::ServerId;

/// The control line as it was where the configuration only follows.
pub(super) fn equip(
    control: Control,
    config: &Config,
    pools: &[Arc<Pool>],
) -> anyhow::Result<(Control, Option<Desk>)> {
    let Some(mode) = mode(config.failover.mode) else { return Ok((control, None)) };
    let folder = &config.data_dir;
    let in_folder = || format!("the failover journal in {}", folder.display());
    let leadership = FileLeadership::take(folder).with_context(in_folder)?;
    let (journal, records) = FileJournal::open(folder).with_context(in_folder)?;
    let names = config.cluster.servers.iter().map(|server| server.name.as_str().into()).collect();
    let mut coordinator = Coordinator::new(policy(mode, config), names);
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    coordinator.restore(&records, u64::try_from(wall).unwrap_or(u64::MAX), Instant::now());
    let equipment = Equipment {
        coordinator,
        journal: Box::new(journal),
        leadership: Box::new(leadership),
        gate: Arc::new(Pools(pools.to_vec())),
    };
    let (control, desk) = control.equip(equipment, &config.failover);
    Ok((control, Some(desk)))
}

fn mode(mode: FailoverMode) -> Option<Mode> {
    match mode {
        FailoverMode::Automatic => Some(Mode::Automatic),
        FailoverMode::Manual => Some(Mode::Manual),
        FailoverMode::Follow => None,
    }
}

fn policy(mode: Mode, config: &Config) -> Policy {
    let failover = &config.failover;
    Policy {
        mode,
        min_class: match failover.min_class {
            DurabilityClass::BestEffort => Class::BestEffort,
            DurabilityClass::Bounded => Class::Bounded,
            DurabilityClass::Lossless => Class::Lossless,
        },
        allow_degraded: failover.allow_degraded,
        grace: failover.grace,
        catch_up: failover.catch_up,
        min_interval: failover.min_interval,
        max_failovers: failover.max_failovers,
    }
}

/// All ways to the servers lead through the pools.
struct Pools(Vec<Arc<Pool>>);

impl Gate for Pools {
    fn close(&self, server: ServerId) {
        self.0[usize::from(server.0)].close_way();
    }

    fn open(&self, server: ServerId) {
        self.0[usize::from(server.0)].open_way();
    }

    fn prepare(&self, from: ServerId, to: ServerId) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let (from, to) = (&self.0[usize::from(from.0)], &self.0[usize::from(to.0)]);
        Box::pin(to.open_like(from))
    }

    fn busy(&self, server: ServerId) -> usize {
        self.0[usize::from(server.0)].in_use() as usize
    }
}
