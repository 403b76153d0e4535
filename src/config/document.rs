//! Every key with its default and what it does: one table that yields the documentation.

use super::quantity::{show_duration, show_size};
use super::{
    BackendTlsMode, Config, DurabilityClass, FailoverMode, FrontTlsMode, LogFormat, Policy, PrimaryReads,
    wire,
};

/// How a key stands in the documented file.
pub(super) enum Shown {
    /// The default, as TOML.
    Default(fn(&Config) -> String),
    /// No default: an example that must be replaced.
    Replace(&'static str),
    /// No default and not needed: an example behind a `#`.
    Example(&'static str),
}

pub(super) struct Key {
    section: &'static str,
    name: &'static str,
    doc: &'static str,
    pub(super) shown: Shown,
}

impl Key {
    /// The section's name and the key's own.
    pub(super) fn path(&self) -> String {
        match self.section {
            "" => self.name.to_owned(),
            section => format!("{section}.{}", self.name),
        }
    }
}

const fn key(section: &'static str, name: &'static str, doc: &'static str, shown: Shown) -> Key {
    Key { section, name, doc, shown }
}

/// In the order of the file; keys of one section stand together.
pub(super) const KEYS: &[Key] = &[
    key(
        "",
        "data_dir",
        "Where files that must outlive the process are kept (the generated certificate).\n\
         Relative paths in this file start at the folder of this file.",
        Shown::Default(|c| text(&c.data_dir.to_string_lossy())),
    ),
    key(
        "cluster",
        "servers",
        "Every server of the cluster. Roles are discovered, never declared.\n\
         Each is \"host:port\" or \"unix:/path\", or a table with more to say:\n\
         { address = \"host:port\", name = \"east\", weight = 1, draining = false, proxy_protocol = false }.\n\
         name: what people and hints call it (default: the address). weight: share of reads, 0 to 1000, 0 takes\n\
         none. draining: takes no new statements. no_promote = true: never made the primary. priority: of several\n\
         that could be made the primary, the one with the highest is (0 to 1000). proxy_protocol: applications'\n\
         connections begin with a header of the PROXY protocol, version 2. It says LOCAL and names no client, because\n\
         connections are shared; health checks send none.",
        Shown::Replace("[\"10.0.0.1:3306\", \"10.0.0.2:3306\", \"10.0.0.3:3306\"]"),
    ),
    key(
        "cluster",
        "compression",
        "Whether connections to the servers are compressed: \"off\", \"zlib\" or \"zstd\" (at level 3), where the server\n\
         offers it.",
        Shown::Default(|c| text(c.cluster.compression.map_or("off", wire::name))),
    ),
    key(
        "cluster.control",
        "user",
        "The database account for health checks and for reading routines, views and accounts.\n\
         MySQL: GRANT SELECT, SHOW VIEW, REPLICATION CLIENT ON *.* TO …\n\
         MariaDB: GRANT SELECT, SHOW VIEW, REPLICA MONITOR, BINLOG MONITOR ON *.* TO …",
        Shown::Replace("\"pointsman\""),
    ),
    key(
        "cluster.control",
        "password",
        "{ env = \"VARIABLE\" }, { file = \"path\" } or a text.",
        Shown::Replace("{ env = \"POINTSMAN_PASSWORD\" }"),
    ),
    key(
        "cluster.control",
        "interval",
        "Time from one probe of a server to the next.",
        Shown::Default(|c| duration(c.cluster.control.interval)),
    ),
    key(
        "cluster.control",
        "timeout",
        "How long one probe may take before it counts as failed.",
        Shown::Default(|c| duration(c.cluster.control.timeout)),
    ),
    key(
        "cluster.control",
        "failures",
        "Consecutive failed probes after which a server is down. A refused connection counts twice.",
        Shown::Default(|c| c.cluster.control.failures.to_string()),
    ),
    key(
        "cluster.control",
        "successes",
        "Consecutive good probes after which a server is up again.",
        Shown::Default(|c| c.cluster.control.successes.to_string()),
    ),
    key(
        "cluster.control",
        "catalog_interval",
        "Time from one reading of routines, views and accounts to the next.",
        Shown::Default(|c| duration(c.cluster.control.catalog_interval)),
    ),
    key(
        "cluster.tls",
        "mode",
        "How connections to the servers are encrypted: \"disabled\"; \"preferred\", where the server offers it;\n\
         \"required\", or refused; \"verify-ca\", certificate signed by ca, its names not checked;\n\
         \"verify-full\", signed by ca and naming the host. (Health checks take verify-ca for verify-full.)",
        Shown::Default(|c| {
            text(match c.cluster.tls.mode {
                BackendTlsMode::Disabled => "disabled",
                BackendTlsMode::Preferred => "preferred",
                BackendTlsMode::Required => "required",
                BackendTlsMode::VerifyCa => "verify-ca",
                BackendTlsMode::VerifyFull => "verify-full",
            })
        }),
    ),
    key(
        "cluster.tls",
        "ca",
        "PEM file of the authority that signed the servers' certificates.",
        Shown::Example("\"ca.pem\""),
    ),
    key(
        "cluster.tls",
        "certificate",
        "PEM files of the client certificate shown to servers.",
        Shown::Example("\"client-cert.pem\""),
    ),
    key("cluster.tls", "key", "", Shown::Example("\"client-key.pem\"")),
    key(
        "listen",
        "address",
        "The port applications connect to.",
        Shown::Default(|c| text(&c.listen.address.to_string())),
    ),
    key(
        "listen",
        "max_clients",
        "Clients served at once; the next is told error 1040.",
        Shown::Default(|c| c.listen.max_clients.to_string()),
    ),
    key(
        "listen",
        "login_timeout",
        "How long a client may take to log in.",
        Shown::Default(|c| duration(c.listen.login_timeout)),
    ),
    key(
        "listen",
        "idle_timeout",
        "How long a client may be silent outside a statement.",
        Shown::Default(|c| duration(c.listen.idle_timeout)),
    ),
    key(
        "listen",
        "auth_cache",
        "How long a verified password is trusted before a server is asked again.",
        Shown::Default(|c| duration(c.listen.auth_cache)),
    ),
    key(
        "listen",
        "consistency",
        "Of the clients of this port, where it is not to be routing.consistency.",
        Shown::Example("\"session\""),
    ),
    key(
        "listen",
        "socket",
        "A Unix socket to connect to, beside the port; a table sets its mode, which is \"0777\" otherwise. What is left of\n\
         a process that listens no more is replaced; the file is removed at exit.",
        Shown::Example("{ path = \"/run/pointsman/pointsman.sock\", mode = \"0770\" }"),
    ),
    key(
        "listen",
        "proxy_protocol",
        "Load balancers whose connections begin with a header of the PROXY protocol (version 1 or 2), by which the\n\
         client's own address is known. required: connections from there without one are closed. A header from anywhere\n\
         else closes the connection.",
        Shown::Example("{ from = [\"10.0.0.0/8\"], required = false }"),
    ),
    key(
        "listen",
        "local_infile",
        "Whether LOAD DATA LOCAL INFILE works, where the servers allow it too.",
        Shown::Default(|c| c.listen.local_infile.to_string()),
    ),
    key(
        "listen",
        "compression",
        "Ways to compress that clients may ask for; [] offers none.",
        Shown::Default(|c| {
            let names: Vec<String> = c.listen.compression.iter().map(|way| text(wire::name(*way))).collect();
            format!("[{}]", names.join(", "))
        }),
    ),
    key(
        "listen.tls",
        "mode",
        "\"disabled\", \"preferred\" (offered to clients) or \"required\".",
        Shown::Default(|c| {
            text(match c.listen.tls.mode {
                FrontTlsMode::Disabled => "disabled",
                FrontTlsMode::Preferred => "preferred",
                FrontTlsMode::Required => "required",
            })
        }),
    ),
    key(
        "listen.tls",
        "certificate",
        "PEM files; where none are given, generated once and kept under data_dir.",
        Shown::Example("\"server-cert.pem\""),
    ),
    key("listen.tls", "key", "", Shown::Example("\"server-key.pem\"")),
    key(
        "listen.tls",
        "client_ca",
        "PEM file; clients must show a certificate signed by it.",
        Shown::Example("\"client-ca.pem\""),
    ),
    key(
        "routing",
        "policy",
        "How reads are spread over the replicas: \"round_robin\", \"least_connections\" or \"source_ip\".",
        Shown::Default(|c| {
            text(match c.routing.policy {
                Policy::RoundRobin => "round_robin",
                Policy::LeastConnections => "least_connections",
                Policy::SourceIp => "source_ip",
            })
        }),
    ),
    key(
        "routing",
        "max_lag",
        "A replica further behind than this takes no reads.",
        Shown::Default(|c| duration(c.routing.max_lag)),
    ),
    key(
        "routing",
        "primary_reads",
        "\"fallback\": the primary takes reads when no replica may; \"always\": it takes its turn like a replica;\n\
         \"never\": such a read fails.",
        Shown::Default(|c| {
            text(match c.routing.primary_reads {
                PrimaryReads::Fallback => "fallback",
                PrimaryReads::Always => "always",
                PrimaryReads::Never => "never",
            })
        }),
    ),
    key(
        "routing",
        "hints",
        "Whether comments such as /* pointsman: primary */ are obeyed.",
        Shown::Default(|c| c.routing.hints.to_string()),
    ),
    key(
        "routing",
        "primary_wait",
        "How long a write waits for a primary before it fails.",
        Shown::Default(|c| duration(c.routing.primary_wait)),
    ),
    key(
        "routing",
        "consistency",
        "\"session\": a session reads what it wrote, also on replicas; \"global\": it reads what anybody wrote through\n\
         this proxy; \"eventual\": it reads what the replica has. What is nearer to the statement comes first:\n\
         a hint, /* pointsman: consistency=global */; SET @pointsman_consistency = 'global'; the user;\n\
         listen.consistency; this.",
        Shown::Default(|c| text(c.routing.consistency.name())),
    ),
    key(
        "routing",
        "causal_wait",
        "How long a replica is waited for to apply what a read must see, before the primary is asked.",
        Shown::Default(|c| duration(c.routing.causal_wait)),
    ),
    key(
        "routing",
        "transaction_split",
        "Whether the reads before the first write of a BEGIN … COMMIT may go to a replica. Only under READ COMMITTED\n\
         and READ UNCOMMITTED, where each read sees a state of its own anyway; under the others this changes nothing.",
        Shown::Default(|c| c.routing.transaction_split.to_string()),
    ),
    key(
        "routing",
        "users",
        "Users with a consistency of their own, be they listed in this file or only in the database.",
        Shown::Example("[{ name = \"report\", consistency = \"eventual\" }]"),
    ),
    key(
        "failover",
        "mode",
        "\"automatic\": a dead primary is replaced by a replica that has all that was acknowledged. \"manual\": when\n\
         an operator says so (FAILOVER, SWITCHOVER TO on the admin port). \"follow\": never; whoever was made the\n\
         primary by others is taken for it, as for Galera, Group Replication and managed databases.\n\
         Nothing is changed on a running cluster before its first change of primary.",
        Shown::Default(|c| {
            text(match c.failover.mode {
                FailoverMode::Automatic => "automatic",
                FailoverMode::Manual => "manual",
                FailoverMode::Follow => "follow",
            })
        }),
    ),
    key(
        "failover",
        "min_class",
        "How durable writes must have been for a failover without an operator. \"lossless\": semi-synchronous\n\
         replication, so that whatever was acknowledged is on a replica. \"bounded\": a replica was less than a\n\
         second behind. \"best-effort\": always. SHOW DURABILITY says what the class is, and why.",
        Shown::Default(|c| {
            text(match c.failover.min_class {
                DurabilityClass::Lossless => "lossless",
                DurabilityClass::Bounded => "bounded",
                DurabilityClass::BestEffort => "best-effort",
            })
        }),
    ),
    key(
        "failover",
        "allow_degraded",
        "Whether a new primary takes writes although no replica is left to acknowledge them.",
        Shown::Default(|c| c.failover.allow_degraded.to_string()),
    ),
    key(
        "failover",
        "replication_user",
        "What replicas log in to their source with; needed unless the mode is \"follow\".\n\
         GRANT REPLICATION SLAVE ON *.* TO …; and the control account needs more, on MySQL: RELOAD, PROCESS,\n\
         REPLICATION_SLAVE_ADMIN, SYSTEM_VARIABLES_ADMIN, CONNECTION_ADMIN; on MariaDB: SUPER, RELOAD, PROCESS,\n\
         REPLICATION SLAVE ADMIN, READ_ONLY ADMIN, CONNECTION ADMIN, BINLOG ADMIN.",
        Shown::Example("\"replication\""),
    ),
    key("failover", "replication_password", "", Shown::Example("{ env = \"REPLICATION_PASSWORD\" }")),
    key(
        "failover",
        "replication_tls",
        "Whether replicas encrypt their connection to their source.",
        Shown::Default(|c| c.failover.replication_tls.to_string()),
    ),
    key(
        "failover",
        "grace",
        "How long open transactions may go on when a switchover begins.",
        Shown::Default(|c| duration(c.failover.grace)),
    ),
    key(
        "failover",
        "catch_up",
        "How long a switchover waits for its target to catch up; then the old primary goes on.",
        Shown::Default(|c| duration(c.failover.catch_up)),
    ),
    key(
        "failover",
        "min_interval",
        "Least time between two failovers without an operator.",
        Shown::Default(|c| duration(c.failover.min_interval)),
    ),
    key(
        "failover",
        "max_failovers",
        "Failovers without an operator within half an hour; after that one must look.",
        Shown::Default(|c| c.failover.max_failovers.to_string()),
    ),
    key(
        "pool",
        "max_per_server",
        "Connections to one server, over all users.",
        Shown::Default(|c| c.pool.max_per_server.to_string()),
    ),
    key(
        "pool",
        "max_prepared_per_server",
        "Statements prepared on one server, over all connections; keep it under the server's own max_prepared_stmt_count.",
        Shown::Default(|c| c.pool.max_prepared_per_server.to_string()),
    ),
    key(
        "pool",
        "min_idle",
        "Idle connections kept open per server and user after idle_timeout.",
        Shown::Default(|c| c.pool.min_idle.to_string()),
    ),
    key(
        "pool",
        "idle_timeout",
        "How long a connection may be idle before it is closed.",
        Shown::Default(|c| duration(c.pool.idle_timeout)),
    ),
    key(
        "pool",
        "max_age",
        "A connection older than this is closed when it is next idle.",
        Shown::Default(|c| duration(c.pool.max_age)),
    ),
    key(
        "pool",
        "wait_timeout",
        "How long a statement waits for a connection when all are in use.",
        Shown::Default(|c| duration(c.pool.wait_timeout)),
    ),
    key(
        "pool",
        "connect_timeout",
        "How long opening and logging in a connection may take.",
        Shown::Default(|c| duration(c.pool.connect_timeout)),
    ),
    key(
        "pool",
        "reuse",
        "For tests: false closes each connection when it is given back, so that a session gets a new one for every\n\
         statement that does not need the last one's.",
        Shown::Default(|c| c.pool.reuse.to_string()),
    ),
    key(
        "limits",
        "max_allowed_packet",
        "Largest statement or row a client may send.",
        Shown::Default(|c| text(&show_size(c.limits.max_allowed_packet))),
    ),
    key(
        "limits",
        "statement_buffer",
        "A statement longer than this is streamed to the primary and judged by its beginning.",
        Shown::Default(|c| text(&show_size(c.limits.statement_buffer))),
    ),
    key(
        "limits",
        "digest_cache",
        "Verdicts remembered, one for each form of statement.",
        Shown::Default(|c| c.limits.digest_cache.to_string()),
    ),
    key(
        "limits",
        "drain_timeout",
        "How long open transactions may go on after a signal to stop.",
        Shown::Default(|c| duration(c.limits.drain_timeout)),
    ),
    key(
        "admin",
        "address",
        "The port for people, speaking the MySQL protocol; \"off\" closes it.",
        Shown::Default(|c| text(&c.admin.address.map_or("off".to_owned(), |address| address.to_string()))),
    ),
    key(
        "admin",
        "users",
        "Who may log in there; the control account where none is given.",
        Shown::Example("[{ name = \"operator\", password = { env = \"OPERATOR_PASSWORD\" } }]"),
    ),
    key(
        "log",
        "format",
        "\"text\" or \"json\".",
        Shown::Default(|c| {
            text(match c.log.format {
                LogFormat::Text => "text",
                LogFormat::Json => "json",
            })
        }),
    ),
    key(
        "log",
        "level",
        "\"error\", \"warn\", \"info\", \"debug\", \"trace\", or by module: \"info,pointsman::control=debug\".",
        Shown::Default(|c| text(&c.log.level)),
    ),
];

/// `users` stands last in the file: a list of tables would swallow the keys after it.
const TAIL: &str = "\
# Users known by this file; all others are those of the database.
# [[users]]
# name = \"app\"
# password = { env = \"APP_PASSWORD\" }
# consistency = \"session\" # as in routing.users; may be left out
";

/// The documented file: every key at its default.
pub fn print() -> String {
    let config = Config::default();
    let mut out =
        String::from("# Every key of Pointsman, at its default. Printed by `pointsman print-config`.\n");
    let mut section = "";
    for key in KEYS {
        if key.section != section {
            section = key.section;
            out.push_str(&format!("\n[{section}]\n"));
        } else if !key.doc.is_empty() {
            out.push('\n');
        }
        for line in key.doc.lines() {
            out.push_str(&format!("# {line}\n"));
        }
        out.push_str(&match &key.shown {
            Shown::Default(show) => format!("{} = {}\n", key.name, show(&config)),
            Shown::Replace(example) => format!("{} = {example}\n", key.name),
            Shown::Example(example) => format!("# {} = {example}\n", key.name),
        });
    }
    out.push('\n');
    out.push_str(TAIL);
    out
}

/// What to say of an unknown key: the key meant, the section it belongs to, or the keys there are.
pub(super) fn place_of(name: &str, section: &str, known: &[&str]) -> String {
    if let Some(near) = nearest(name, known) {
        return format!("did you mean {near}?");
    }
    if let Some(key) = KEYS.iter().find(|key| key.name == name && key.section != section) {
        let place =
            if key.section.is_empty() { "the top of the file".into() } else { format!("[{}]", key.section) };
        return format!("it belongs to {place}");
    }
    let mut names: Vec<&str> = known.to_vec();
    names.sort_unstable();
    names.dedup();
    format!("allowed here is {}", names.join(", "))
}

/// The name at the smallest edit distance, if that is small for its length.
pub(crate) fn nearest<'n>(name: &str, names: &[&'n str]) -> Option<&'n str> {
    let (distance, near) = names.iter().map(|known| (distance(name, known), *known)).min()?;
    (distance <= 1 + name.len() / 4 && distance < near.len()).then_some(near)
}

/// Edits from one text to the other; two neighbours exchanged are one edit.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = change.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

fn text(value: &str) -> String {
    format!("{value:?}")
}

fn duration(value: std::time::Duration) -> String {
    text(&show_duration(value))
}

/// Every documented key's whole path.
#[cfg(test)]
pub(super) fn paths() -> Vec<String> {
    KEYS.iter().map(Key::path).collect()
}
