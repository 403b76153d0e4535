//! From the file's shape to the program's: every mistake is gathered, none stops the reading.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::DeTable;

use super::complaint::{Complaint, Complaints};
use super::file::{Section, Source, Value, Wrong};
use super::refer::{Surroundings, pair, path, pem, secret};
use super::{
    Admin, BackendTls, BackendTlsMode, Cluster, Config, Control, DurabilityClass, Failover, FailoverMode,
    FrontTls, FrontTlsMode, Limits, Listen, Log, LogFormat, Policy, Pool, PrimaryReads, Routing, User,
    UserLevel, levels, servers, wire,
};

/// What `toml` says of a key given twice.
const DUPLICATE: &str = "duplicate key";

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

fn millis(low: u64, high: Duration) -> RangeInclusive<Duration> {
    Duration::from_millis(low)..=high
}

/// Reads a whole file's text. `name` is what complaints call the file.
pub(super) fn check(name: &str, text: &str, around: &Surroundings<'_>) -> Result<Config, Complaints> {
    let source = Source::new(name, text);
    let (table, errors) = DeTable::parse_recoverable(text);
    complain_of_syntax(&source, &errors);
    // What a half-read tree lacks is not what the operator forgot. A key given twice leaves a whole tree.
    let whole = errors.iter().all(|error| error.message() == DUPLICATE);
    let config = whole.then(|| read(source.root(table.get_ref()), around));
    finish(source.into_complaints(), config)
}

/// One complaint a line: what follows in the same line is mostly the parser finding its way back.
fn complain_of_syntax(source: &Source<'_>, errors: &[toml::de::Error]) {
    let mut last = None;
    for error in errors {
        let line = error.span().map(|span| source.line(span.start));
        let mend = match error.message() {
            DUPLICATE => "remove one of them",
            _ => "mend the TOML syntax; the keys are checked after that",
        };
        if last != Some(line) {
            let problem = error.message().lines().collect::<Vec<_>>().join(", ");
            source.complain(line, "", Wrong { problem, mend: mend.to_owned() });
        }
        last = Some(line);
    }
}

fn finish(complaints: Vec<Complaint>, config: Option<Config>) -> Result<Config, Complaints> {
    match config {
        Some(config) if complaints.is_empty() => Ok(config),
        _ => Err(Complaints(complaints)),
    }
}

/// Reads every section; always returns, with defaults in the place of what is wrong.
pub(super) fn read(root: Section<'_, '_>, around: &Surroundings<'_>) -> Config {
    let default = Config::default();
    let mut config = Config {
        data_dir: path(&root, "data_dir", around).unwrap_or(default.data_dir),
        cluster: cluster(root.section("cluster"), around),
        listen: listen(root.section("listen"), default.listen, around),
        routing: routing(root.section("routing"), default.routing),
        failover: failover(root.section("failover"), default.failover, around),
        pool: pool(root.section("pool"), default.pool),
        limits: limits(root.section("limits"), default.limits),
        admin: admin(root.section("admin"), default.admin, around),
        log: log(root.section("log"), default.log),
        users: Vec::new(),
    };
    config.users = users(&root, "users", around, Some(&mut config.routing.users));
    ports_differ(&root, &config);
    root.finish();
    config
}

fn cluster(section: Section<'_, '_>, around: &Surroundings<'_>) -> Cluster {
    let cluster = Cluster {
        servers: servers::read(&section),
        control: control(section.section("control"), around),
        tls: backend_tls(section.section("tls"), around),
        compression: wire::towards_servers(&section),
    };
    section.finish();
    cluster
}

fn control(section: Section<'_, '_>, around: &Surroundings<'_>) -> Control {
    let default = Config::default().cluster.control;
    let user = section.get("user");
    if user.is_none() {
        section.missing("user", "name the database account for health checks: user = \"pointsman\"");
    }
    let password = section.get("password");
    if password.is_none() {
        section.missing("password", "write password = { env = \"VARIABLE\" }, { file = \"path\" } or a text");
    }
    let control = Control {
        user: user.and_then(|user| name(&user)).unwrap_or_default(),
        password: password.and_then(|value| secret(&value, around)).unwrap_or(default.password),
        interval: section.duration("interval", default.interval, millis(50, MINUTE)),
        timeout: section.duration("timeout", default.timeout, millis(50, MINUTE)),
        failures: section.number("failures", default.failures, 1..=100),
        successes: section.number("successes", default.successes, 1..=100),
        catalog_interval: section.duration("catalog_interval", default.catalog_interval, millis(1000, DAY)),
    };
    section.finish();
    control
}

fn backend_tls(section: Section<'_, '_>, around: &Surroundings<'_>) -> BackendTls {
    let modes = [
        ("disabled", BackendTlsMode::Disabled),
        ("preferred", BackendTlsMode::Preferred),
        ("required", BackendTlsMode::Required),
        ("verify-ca", BackendTlsMode::VerifyCa),
        ("verify-full", BackendTlsMode::VerifyFull),
    ];
    let mode = section.choice("mode", BackendTlsMode::Preferred, &modes);
    let ca = pem(&section, "ca", "CERTIFICATE", around);
    if matches!(mode, BackendTlsMode::VerifyCa | BackendTlsMode::VerifyFull) && section.get("ca").is_none() {
        section
            .missing("ca", "this mode checks certificates: name the authority's PEM file, ca = \"ca.pem\"");
    }
    let (certificate, key) = pair(&section, around);
    section.finish();
    BackendTls { mode, ca, certificate, key }
}

fn listen(section: Section<'_, '_>, default: Listen, around: &Surroundings<'_>) -> Listen {
    let listen = Listen {
        address: address(&section, "address").unwrap_or(default.address),
        max_clients: section.number("max_clients", default.max_clients as u32, 1..=1_000_000) as usize,
        login_timeout: section.duration("login_timeout", default.login_timeout, millis(100, HOUR)),
        idle_timeout: section.duration("idle_timeout", default.idle_timeout, millis(1000, 365 * DAY)),
        tls: front_tls(section.section("tls"), around),
        auth_cache: section.duration("auth_cache", default.auth_cache, millis(0, DAY)),
        consistency: levels::optional(&section),
        socket: wire::socket(&section, around),
        proxy_protocol: wire::proxy_protocol(&section),
        local_infile: section.flag("local_infile", default.local_infile),
        compression: wire::offered(&section).unwrap_or(default.compression),
    };
    section.finish();
    listen
}

fn front_tls(section: Section<'_, '_>, around: &Surroundings<'_>) -> FrontTls {
    let modes = [
        ("disabled", FrontTlsMode::Disabled),
        ("preferred", FrontTlsMode::Preferred),
        ("required", FrontTlsMode::Required),
    ];
    let mode = section.choice("mode", FrontTlsMode::Preferred, &modes);
    let client_ca = pem(&section, "client_ca", "CERTIFICATE", around);
    if mode == FrontTlsMode::Disabled
        && let Some(value) = section.get("client_ca")
    {
        value.wrong("TLS is disabled here", "set mode to \"preferred\" or \"required\", or remove this key");
    }
    let (certificate, key) = pair(&section, around);
    section.finish();
    FrontTls { mode, certificate, key, client_ca }
}

fn routing(section: Section<'_, '_>, default: Routing) -> Routing {
    let policies = [
        ("round_robin", Policy::RoundRobin),
        ("least_connections", Policy::LeastConnections),
        ("source_ip", Policy::SourceIp),
    ];
    let primary_reads = [
        ("fallback", PrimaryReads::Fallback),
        ("always", PrimaryReads::Always),
        ("never", PrimaryReads::Never),
    ];
    let routing = Routing {
        policy: section.choice("policy", default.policy, &policies),
        max_lag: section.duration("max_lag", default.max_lag, millis(0, 365 * DAY)),
        primary_reads: section.choice("primary_reads", default.primary_reads, &primary_reads),
        hints: section.flag("hints", default.hints),
        primary_wait: section.duration("primary_wait", default.primary_wait, millis(0, HOUR)),
        consistency: section.choice("consistency", default.consistency, &levels::CHOICES),
        causal_wait: section.duration("causal_wait", default.causal_wait, millis(0, HOUR)),
        transaction_split: section.flag("transaction_split", default.transaction_split),
        users: levels::of_users(&section),
    };
    section.finish();
    routing
}

fn failover(section: Section<'_, '_>, default: Failover, around: &Surroundings<'_>) -> Failover {
    let modes = [
        ("automatic", FailoverMode::Automatic),
        ("manual", FailoverMode::Manual),
        ("follow", FailoverMode::Follow),
    ];
    let classes = [
        ("lossless", DurabilityClass::Lossless),
        ("bounded", DurabilityClass::Bounded),
        ("best-effort", DurabilityClass::BestEffort),
    ];
    let mode = section.choice("mode", default.mode, &modes);
    let user = section.get("replication_user");
    let password = section.get("replication_password");
    if mode != FailoverMode::Follow {
        // Without it, a primary that was could never be made a replica.
        let mend = "name the account that replicas log in to their source with";
        if user.is_none() {
            section.missing("replication_user", mend);
        }
        if password.is_none() {
            section.missing("replication_password", mend);
        }
    }
    let failover = Failover {
        mode,
        min_class: section.choice("min_class", default.min_class, &classes),
        allow_degraded: section.flag("allow_degraded", default.allow_degraded),
        replication_user: user.and_then(|user| name(&user)).unwrap_or_default(),
        replication_password: password
            .and_then(|value| secret(&value, around))
            .unwrap_or(default.replication_password),
        replication_tls: section.flag("replication_tls", default.replication_tls),
        grace: section.duration("grace", default.grace, millis(0, MINUTE)),
        catch_up: section.duration("catch_up", default.catch_up, millis(100, HOUR)),
        min_interval: section.duration("min_interval", default.min_interval, millis(0, DAY)),
        max_failovers: section.number("max_failovers", default.max_failovers as u32, 0..=1000) as usize,
    };
    section.finish();
    failover
}

fn pool(section: Section<'_, '_>, default: Pool) -> Pool {
    let pool = Pool {
        max_per_server: section.number("max_per_server", default.max_per_server as u32, 1..=100_000) as usize,
        max_prepared_per_server: section.number(
            "max_prepared_per_server",
            default.max_prepared_per_server as u32,
            1..=4_000_000,
        ) as usize,
        min_idle: section.number("min_idle", default.min_idle as u32, 0..=100_000) as usize,
        idle_timeout: section.duration("idle_timeout", default.idle_timeout, millis(0, DAY)),
        max_age: section.duration("max_age", default.max_age, millis(1000, 365 * DAY)),
        wait_timeout: section.duration("wait_timeout", default.wait_timeout, millis(0, HOUR)),
        connect_timeout: section.duration("connect_timeout", default.connect_timeout, millis(50, MINUTE)),
        reuse: section.flag("reuse", default.reuse),
    };
    if pool.min_idle > pool.max_per_server
        && let Some(value) = section.get("min_idle")
    {
        let most = pool.max_per_server;
        value.wrong(format!("more than max_per_server, {most}"), format!("allowed is 0 to {most}"));
    }
    if pool.min_idle > 0
        && !pool.reuse
        && let Some(value) = section.get("min_idle")
    {
        value.wrong("no connection stays idle where reuse is false", "remove this key, or set reuse = true");
    }
    section.finish();
    pool
}

fn limits(section: Section<'_, '_>, default: Limits) -> Limits {
    let packets = 1024..=1 << 30;
    let limits = Limits {
        max_allowed_packet: section.size("max_allowed_packet", default.max_allowed_packet, packets),
        statement_buffer: section.size("statement_buffer", default.statement_buffer, 1024..=1 << 30),
        digest_cache: section.number("digest_cache", default.digest_cache as u32, 0..=10_000_000) as usize,
        drain_timeout: section.duration("drain_timeout", default.drain_timeout, millis(0, HOUR)),
    };
    section.finish();
    limits
}

fn admin(section: Section<'_, '_>, default: Admin, around: &Surroundings<'_>) -> Admin {
    let off = section.get("address").filter(|value| value.is_text() && value.text() == Some("off"));
    let given = if off.is_some() { None } else { address(&section, "address").or(default.address) };
    let admin = Admin { address: given, users: users(&section, "users", around, None) };
    section.finish();
    admin
}

fn log(section: Section<'_, '_>, default: Log) -> Log {
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    let level = section.get("level").and_then(|value| level(&value));
    let log = Log {
        format: section.choice("format", default.format, &formats),
        level: level.unwrap_or(default.level),
    };
    section.finish();
    log
}

/// A filter of `tracing`'s form. Checked here because a misspelt level would silently be taken for the name
/// of a module.
fn level(value: &Value<'_, '_>) -> Option<String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let text = value.text()?;
    for directive in text.split(',') {
        let level = directive.rsplit('=').next().unwrap_or_default().trim();
        if !LEVELS.contains(&level) {
            value.wrong(
                format!("{level:?} is not a level"),
                format!("allowed is {}, or module=level, joined by commas", LEVELS.join(", ")),
            );
            return None;
        }
    }
    Some(text.to_owned())
}

/// The two ports people and applications connect to cannot be one.
fn ports_differ(root: &Section<'_, '_>, config: &Config) {
    let listen = config.listen.address;
    let clash = config.admin.address.filter(|admin| {
        let one_host =
            admin.ip() == listen.ip() || admin.ip().is_unspecified() || listen.ip().is_unspecified();
        admin.port() == listen.port() && admin.port() != 0 && one_host
    });
    if clash.is_some() {
        let value = root.section("admin").get("address").or_else(|| root.section("listen").get("address"));
        if let Some(value) = value {
            value.wrong("listen.address and admin.address are the same port", "give them different ports");
        }
    }
}

/// `levels` takes up those of users that may be given one.
fn users(
    section: &Section<'_, '_>,
    key: &'static str,
    around: &Surroundings<'_>,
    mut levels: Option<&mut Vec<UserLevel>>,
) -> Vec<User> {
    let mut users: Vec<User> = Vec::new();
    let Some(list) = section.get(key) else { return users };
    for entry in list.list().unwrap_or_default() {
        let section = entry.as_section();
        let value = section.get("name");
        let password = section.get("password");
        if value.is_none() && entry.is_table() {
            section.missing("name", "write name = \"…\"");
        }
        if password.is_none() && entry.is_table() {
            section.missing(
                "password",
                "write password = { env = \"VARIABLE\" }, { file = \"path\" } or a text",
            );
        }
        if let (Some(value), Some(levels)) = (&value, &mut levels)
            && let Some(level) = levels::optional(&section)
        {
            levels::add(levels, value, level);
        }
        let name = value.as_ref().and_then(name);
        let password = password.and_then(|value| secret(&value, around));
        if let (Some(value), Some(name)) = (&value, &name)
            && users.iter().any(|user| user.name == *name)
        {
            value.wrong(format!("user {name:?} is listed twice"), "remove one of them");
        }
        users.extend(name.zip(password).map(|(name, password)| User { name, password }));
        section.finish();
    }
    users
}

pub(super) fn name(value: &Value<'_, '_>) -> Option<String> {
    let text = value.text()?;
    if text.is_empty() {
        value.wrong("the name is empty", "write the account's name");
        return None;
    }
    Some(text.to_owned())
}

fn address(section: &Section<'_, '_>, key: &'static str) -> Option<SocketAddr> {
    let value = section.get(key)?;
    let text = value.text()?;
    let address = text.parse().ok();
    if address.is_none() {
        value.wrong(
            format!("{text:?} is not an address and port"),
            "write it as in \"0.0.0.0:3307\" or \"[::1]:3307\"",
        );
    }
    address
}
