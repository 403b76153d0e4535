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
use crate::gtid::History;
use crate::serve::House;
use crate::topology::ServerId;

/// The control line as it was where the configuration only follows.
pub(super) fn equip(
    control: Control,
    config: &Config,
    house: &Arc<House>,
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
        gate: Arc::new(Front(Arc::clone(house))),
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

/// All ways to the servers lead through the pools, and all that clients are told through the front.
struct Front(Arc<House>);

impl Front {
    fn pool(&self, server: ServerId) -> &Arc<Pool> {
        &self.0.pools[usize::from(server.0)]
    }
}

impl Gate for Front {
    fn close(&self, server: ServerId) {
        self.pool(server).close_way();
    }

    fn open(&self, server: ServerId) {
        self.pool(server).open_way();
    }

    fn prepare(&self, from: ServerId, to: ServerId) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.pool(to).open_like(self.pool(from)))
    }

    fn acknowledged(&self) -> History {
        self.0.acknowledged.all()
    }

    fn busy(&self, server: ServerId) -> usize {
        self.pool(server).in_use() as usize
    }
}
