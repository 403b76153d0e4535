//! Semi-synchronous replication and durability, as a server's own variables show them.

use std::time::Duration;

/// `SHOW GLOBAL VARIABLES` and `SHOW GLOBAL STATUS` of what is of interest here, by name. Names and values are
/// texts, and what a version does not know is not there.
#[derive(Clone, Copy, Debug)]
pub struct Variables<'v>(pub &'v [(String, String)]);

/// The settings that decide what survives a server, beside semi-synchronous replication.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Durability {
    /// What it applies as a replica goes to its own binary log, so that others can follow it.
    pub logs_updates: bool,
    /// `sync_binlog = 1`
    pub syncs_log: bool,
    /// `innodb_flush_log_at_trx_commit = 1`
    pub flushes_commits: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SemiSync {
    /// `None` where the server has no such side: the plugin is not loaded.
    pub source: Option<SourceSide>,
    /// Whether it acknowledges what it receives; `None` where it cannot.
    pub acknowledges: Option<bool>,
    /// MySQL's names since 8.0.26, `source` and `replica`; else `master` and `slave`.
    pub modern_names: bool,
}

/// How commits wait for acknowledgements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSide {
    /// `..._enabled`
    pub enabled: bool,
    /// `..._status`: commits do wait at present.
    pub active: bool,
    /// `AFTER_SYNC`: nobody sees a transaction before a replica has it.
    pub before_visible: bool,
    /// How long a commit waits before it goes on alone.
    pub timeout: Duration,
    /// Whether it waits while no replica is there.
    pub waits_for_none: bool,
    /// Acknowledgements that a commit waits for; MariaDB knows only one.
    pub wanted: u32,
    /// Replicas that acknowledge at present.
    pub clients: u32,
    /// Commits that wait at present.
    pub waiting: u32,
}

/// A commit that waits this long is taken to wait for ever.
pub const FOR_EVER: Duration = Duration::from_secs(86_400);

impl Variables<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    fn is_on(&self, name: &str) -> Option<bool> {
        self.get(name).map(|value| value.eq_ignore_ascii_case("ON") || value == "1")
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.get(name).and_then(|value| value.parse().ok())
    }

    /// Time since the server's start.
    pub fn uptime(&self) -> Option<Duration> {
        self.number("Uptime").map(Duration::from_secs)
    }

    pub fn durability(&self) -> Durability {
        let logs = |name| self.is_on(name).unwrap_or(false);
        Durability {
            logs_updates: logs("log_bin") && (logs("log_replica_updates") || logs("log_slave_updates")),
            syncs_log: self.number("sync_binlog") == Some(1),
            flushes_commits: self.number("innodb_flush_log_at_trx_commit") == Some(1),
        }
    }

    pub fn semi_sync(&self) -> SemiSync {
        let modern = self.get("rpl_semi_sync_source_enabled").is_some()
            || self.get("rpl_semi_sync_replica_enabled").is_some();
        let (source, replica, none) = names(modern);
        let of = |what: &str| format!("rpl_semi_sync_{source}_{what}");
        let side = self.is_on(&of("enabled")).map(|enabled| SourceSide {
            enabled,
            active: self.is_on(&of("status")).unwrap_or(false),
            before_visible: self.get(&of("wait_point")) == Some("AFTER_SYNC"),
            timeout: Duration::from_millis(self.number(&of("timeout")).unwrap_or(0)),
            waits_for_none: self.is_on(&of(none)).unwrap_or(false),
            wanted: self
                .number(&of(&format!("wait_for_{replica}_count")))
                .map_or(1, |wanted| u32::try_from(wanted).unwrap_or(u32::MAX)),
            clients: self.number(&of("clients")).map_or(0, |n| u32::try_from(n).unwrap_or(u32::MAX)),
            waiting: self.number(&of("wait_sessions")).map_or(0, |n| u32::try_from(n).unwrap_or(u32::MAX)),
        });
        SemiSync {
            source: side,
            acknowledges: self.is_on(&format!("rpl_semi_sync_{replica}_enabled")),
            modern_names: modern,
        }
    }
}

/// The words for the two sides, and the variable for waiting while no replica is there.
pub fn names(modern: bool) -> (&'static str, &'static str, &'static str) {
    if modern { ("source", "replica", "wait_no_replica") } else { ("master", "slave", "wait_no_slave") }
}

/// What `Variables` are read with.
pub const VARIABLES_SQL: &str = "SHOW GLOBAL VARIABLES WHERE Variable_name LIKE 'rpl\\_semi\\_sync%' OR Variable_name IN \
     ('log_bin', 'log_replica_updates', 'log_slave_updates', 'sync_binlog', 'innodb_flush_log_at_trx_commit')";
pub const STATUS_SQL: &str =
    "SHOW GLOBAL STATUS WHERE Variable_name LIKE 'Rpl\\_semi\\_sync%' OR Variable_name = 'Uptime'";
