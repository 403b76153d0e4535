//! A cluster, the proxy before it, and its writers.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mysql_async::prelude::Queryable;
use pointsman::app::{self, Running};
use pointsman::config::FailoverMode;
use pointsman::control::failover::decide::Order;
use pointsman::control::failover::durability::Class;
use pointsman::flavour::Flavour;
use pointsman::playground::{self, Cluster, ROOT, Server};
use pointsman::shutdown::{self, Trigger};
use pointsman::topology::{Role, ServerId, Snapshot, Standing};

use crate::options::{Event, Options};
use crate::writers::{Seen, Writers};

/// How long a change of primary may take before it is a failure.
const LIMIT: Duration = Duration::from_secs(60);
/// How long the old primary may take to come back.
const RETURN_LIMIT: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(20);

pub(crate) struct Rig {
    cluster: Cluster,
    running: Running,
    /// Dropped, the proxy could no longer be told to stop.
    _trigger: Trigger,
    writers: Writers,
    old: ServerId,
}

impl Rig {
    pub(crate) async fn start(flavour: Flavour, event: Event, settings: &Options) -> Result<Self> {
        let options = playground::Options { semi_sync: true, ..playground::Options::new(Some(flavour)) };
        let cluster = Cluster::start(&options, &|_| {}).await?;
        let mut config = playground::config(&cluster, 0)?;
        config.routing.primary_wait = LIMIT;
        if event == Event::Switchover {
            config.failover.mode = FailoverMode::Manual;
        }
        // It is killed far more often than any budget would allow.
        config.failover.min_interval = Duration::ZERO;
        config.failover.max_failovers = usize::MAX;
        let (trigger, shutdown) = shutdown::channel();
        let running = app::start(config, shutdown).await?;
        let writers =
            Writers::start(running.front.port(), settings.writers, Duration::from_millis(settings.think))
                .await?;
        let rig = Self { cluster, running, _trigger: trigger, writers, old: ServerId(0) };
        anyhow::ensure!(rig.is_whole_again().await, "the cluster does not get well");
        Ok(rig)
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::clone(&self.running.outlook.topology.load())
    }

    fn server(&self, id: ServerId) -> Result<&Server> {
        self.cluster.servers().nth(usize::from(id.0)).context("one of the cluster's")
    }

    /// Lets it happen, and waits until writes go on.
    pub(crate) async fn run(&mut self, event: Event) -> Result<Seen> {
        self.old = self.snapshot().primary.context("there is a primary")?;
        let (unknown, failed) = (self.writers.unknown(), self.writers.failed());
        anyhow::ensure!(self.writers.acknowledged(200, LIMIT).await, "nothing is written");
        let began = Instant::now();
        match event {
            Event::Switchover => {
                let count = self.snapshot().servers.len() as u16;
                let to = ServerId((self.old.0 + 1) % count);
                let lead = self.running.lead.clone().context("it may promote")?;
                lead.order(Order::Switchover { to }, false).await.map_err(anyhow::Error::msg)?;
            }
            Event::Kill => self.server(self.old)?.kill().await,
            Event::Freeze => self.server(self.old)?.freeze(),
        }
        let old = self.old;
        anyhow::ensure!(
            self.comes_true(LIMIT, |now| now.primary.is_some_and(|p| p != old)).await,
            "no failover"
        );
        anyhow::ensure!(self.writers.acknowledged(100, LIMIT).await, "no write after the change");
        let seen = self.writers.seen(began, unknown, failed);
        match event {
            Event::Switchover => {}
            Event::Kill => self.server(old)?.start().await?,
            Event::Freeze => self.server(old)?.thaw(),
        }
        Ok(seen)
    }

    async fn comes_true(&self, limit: Duration, is_so: impl Fn(&Snapshot) -> bool) -> bool {
        let until = Instant::now() + limit;
        while !is_so(&self.snapshot()) {
            if Instant::now() > until {
                return false;
            }
            tokio::time::sleep(LOOK).await;
        }
        true
    }

    /// Waits until every server serves and writes are lossless. `false`: it will not be so by itself.
    pub(crate) async fn is_whole_again(&self) -> bool {
        let serves = |now: &Snapshot| {
            let roles = now.servers.iter().filter(|server| server.role == Role::Replica).count();
            roles + 1 == now.servers.len()
                && now.servers.iter().all(|server| server.standing == Standing::Serving)
        };
        if !self.comes_true(RETURN_LIMIT, serves).await {
            return false;
        }
        let lossless = |_: &Snapshot| {
            let shown = self.running.lead.as_ref().map(|lead| lead.shown());
            shown.and_then(|shown| shown.class).is_some_and(|(class, _)| class == Class::Lossless)
        };
        self.comes_true(RETURN_LIMIT, lossless).await
    }

    /// Ends all of it. How many rows are missing on the primary that a client was told are there.
    pub(crate) async fn end(self) -> Result<usize> {
        let primary = self.snapshot().primary.context("there is a primary")?;
        let acknowledged = self.writers.stop().await;
        let mut conn =
            self.cluster.servers().nth(usize::from(primary.0)).context("a server")?.connect(ROOT).await?;
        let there: Vec<u64> = conn.query("SELECT id FROM app.written").await?;
        let there: BTreeSet<u64> = there.into_iter().collect();
        self.cluster.stop().await;
        Ok(acknowledged.difference(&there).count())
    }
}
