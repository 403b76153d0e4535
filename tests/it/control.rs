//! The control line's decisions, played against a written world: no server, no clock.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use pointsman::config::{self, Config};
use pointsman::control::changes;
use pointsman::control::judge::{Judge, Verdict};
use pointsman::control::observation::{
    Channel, Facts, Failure, FailureKind, Heard, Observation, Receiver, ThreadError,
};
use pointsman::control::semi_sync::{Durability, SemiSync};
use pointsman::flavour::{Flavour, Version};
use pointsman::gtid::History;
use pointsman::topology::{ServerId, Standing};

use crate::cases;

const INTERVAL: Duration = Duration::from_millis(500);

#[test]
fn scenarios() {
    cases::run("control", World::play);
}

/// A cluster as the probes would find it.
struct World {
    flavour: Flavour,
    servers: Vec<FakeServer>,
    config: config::Cluster,
    max_lag: Duration,
    judge: Option<Judge>,
    last: Option<Verdict>,
    start: Instant,
    now: Instant,
    out: String,
}

struct FakeServer {
    name: String,
    failure: Option<Failure>,
    read_only: bool,
    offline: bool,
    /// Another server's name, `outside`, or none.
    source: Option<String>,
    /// The name under which the source is configured is not ours.
    by_other_name: bool,
    /// The replication link is cut although both ends are well.
    cut_off: bool,
    receiver_stopped: Option<Option<ThreadError>>,
    applier_stopped: Option<Option<ThreadError>>,
    lag: Option<u64>,
    /// Received and not yet applied; told even while the source is out of reach.
    backlog: Option<u64>,
    /// A source is named by identity only once it was connected.
    ever_connected: bool,
}

impl World {
    /// Runs a script; what comes out is what the operator would read, with the time it happened.
    fn play(script: &str) -> String {
        let mut world = World {
            flavour: Flavour::MySql,
            servers: Vec::new(),
            config: Config::default().cluster,
            max_lag: Duration::from_secs(10),
            judge: None,
            last: None,
            start: Instant::now(),
            now: Instant::now(),
            out: String::new(),
        };
        world.now = world.start;
        for line in script.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
            world.command(line);
        }
        world.out
    }

    fn command(&mut self, line: &str) {
        let line = line.split('#').next().unwrap_or_default().trim();
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["flavour", "mariadb"] => self.flavour = Flavour::MariaDb,
            ["flavour", "mysql"] => self.flavour = Flavour::MySql,
            ["max_lag", seconds] => self.max_lag = Duration::from_secs(number(seconds)),
            ["cluster", names @ ..] => self.cluster(names),
            // Before the first tick the configuration says so, later an operator.
            ["drain", name] => self.drain(name, true),
            ["undrain", name] => self.drain(name, false),
            ["tick"] => self.tick(1),
            ["tick", count] => self.tick(number(count)),
            ["show"] => self.show(),
            ["all", rest @ ..] => {
                for index in 0..self.servers.len() {
                    self.change(index, rest);
                }
            }
            [verb, name, rest @ ..] => {
                let index = self.place(name);
                let words: Vec<&str> = std::iter::once(*verb).chain(rest.iter().copied()).collect();
                self.change(index, &words);
            }
            _ => panic!("what is {line:?}?"),
        }
    }

    fn drain(&mut self, name: &str, drains: bool) {
        let place = self.place(name);
        self.config.servers[place].draining = drains;
        if let Some(judge) = &mut self.judge {
            let servers = (0..).map(ServerId).zip(&self.config.servers);
            judge.set_draining(servers.filter(|(_, server)| server.draining).map(|(id, _)| id).collect());
        }
    }

    /// `a*` takes writes; the others replicate from it and are read-only.
    fn cluster(&mut self, names: &[&str]) {
        let primary = names.iter().find_map(|name| name.strip_suffix('*'));
        for name in names {
            let writes = name.ends_with('*');
            let name = name.trim_end_matches('*').to_owned();
            let address = format!("{name}:3306");
            self.config.servers.push(config::Server { name: name.clone(), ..config::Server::plain(address) });
            self.servers.push(FakeServer {
                source: primary.filter(|_| !writes).map(str::to_owned),
                name,
                failure: None,
                read_only: !writes,
                offline: false,
                by_other_name: false,
                cut_off: false,
                receiver_stopped: None,
                applier_stopped: None,
                lag: Some(0),
                backlog: None,
                ever_connected: true,
            });
        }
    }

    fn change(&mut self, index: usize, words: &[&str]) {
        let server = &mut self.servers[index];
        let fail = |kind, text: &str| Some(Failure { kind, text: text.into() });
        match words {
            ["crash"] => server.failure = fail(FailureKind::Refused, "connection refused"),
            ["hang"] => server.failure = fail(FailureKind::Timeout, "no answer within 1s"),
            ["deny"] => server.failure = fail(FailureKind::AccessDenied, "ERROR 1045: Access denied"),
            ["fill"] => {
                server.failure = fail(FailureKind::TooManyConnections, "ERROR 1040: Too many connections")
            }
            ["recover"] => server.failure = None,
            ["read_only"] => server.read_only = true,
            ["writable"] => server.read_only = false,
            ["offline"] => server.offline = true,
            ["lag", "unknown"] => server.lag = None,
            ["lag", seconds] => server.lag = Some(number(seconds)),
            ["backlog", "none"] => server.backlog = None,
            ["backlog", seconds] => server.backlog = Some(number(seconds)),
            ["cut"] => server.cut_off = true,
            ["heal"] => server.cut_off = false,
            ["other_name"] => server.by_other_name = true,
            ["never_connected"] => server.ever_connected = false,
            ["source", "none"] => server.source = None,
            ["source", source] => server.source = Some((*source).to_owned()),
            ["stop", "receiver", error @ ..] => server.receiver_stopped = Some(thread_error(error)),
            ["stop", "applier", error @ ..] => server.applier_stopped = Some(thread_error(error)),
            ["start"] => (server.receiver_stopped, server.applier_stopped) = (None, None),
            _ => panic!("what is {words:?}?"),
        }
    }

    fn tick(&mut self, count: u64) {
        for _ in 0..count {
            self.now += INTERVAL;
            for index in 0..self.servers.len() {
                let observation = self.probe(index);
                let (config, max_lag) = (&self.config, self.max_lag);
                let judge = self.judge.get_or_insert_with(|| Judge::new(config, max_lag));
                let before = self
                    .last
                    .take()
                    .unwrap_or_else(|| Verdict { snapshot: judge.unprobed(), problems: Vec::new() });
                judge.observe(ServerId(u16::try_from(index).expect("few servers")), observation, self.now);
                let after = judge.verdict(self.now).unwrap_or_else(|| before.clone());
                self.check(&before, &after);
                self.tell(&before, &after);
                self.last = Some(after);
            }
        }
    }

    /// What must hold whatever the script says.
    fn check(&self, before: &Verdict, after: &Verdict) {
        let (before, after) = (&before.snapshot, &after.snapshot);
        let moved = after.epoch.0 - before.epoch.0;
        assert!(moved <= 1, "the epoch moves one step at a time");
        if let (Some(old), Some(new)) = (before.primary, after.primary) {
            assert_eq!(old != new, moved == 1, "the epoch moves exactly when the primary does");
        }
        if let Some(primary) = after.primary {
            let fake = &self.servers[usize::from(primary.0)];
            assert_eq!(after.server(primary).standing, Standing::Serving);
            // Unless it has just failed and that is not settled, a primary takes writes.
            assert!(fake.failure.is_some() || !fake.read_only, "a read-only server was made the primary");
        }
    }

    fn tell(&mut self, before: &Verdict, after: &Verdict) {
        for (kind, text) in changes::between(before, after) {
            let seconds = (self.now - self.start).as_secs_f64();
            let _ = writeln!(self.out, "{seconds:.1}s {kind}: {text}");
        }
    }

    fn show(&mut self) {
        let snapshot = &self.last.as_ref().expect("a tick before").snapshot;
        let name = |id: ServerId| snapshot.server(id).name.to_string();
        let primary = snapshot.primary.map_or("none".to_owned(), name);
        let _ = writeln!(self.out, "epoch {} primary {primary}", snapshot.epoch.0);
        for server in &snapshot.servers {
            let lag = server.lag.map_or("-".to_owned(), |lag| format!("{:.1}s", lag.as_secs_f64()));
            let _ = writeln!(self.out, "  {} {} lag {lag}: {}", server.name, server.role, server.standing);
        }
    }

    fn probe(&self, index: usize) -> Observation {
        let server = &self.servers[index];
        if let Some(failure) = &server.failure {
            return Err(failure.clone());
        }
        let version_text = match self.flavour {
            Flavour::MySql => "9.7.0",
            Flavour::MariaDb => "10.11.14-MariaDB",
        };
        Ok(Facts {
            version: Version::parse(version_text),
            version_text: version_text.into(),
            server_id: self.server_id(&server.name),
            server_uuid: (self.flavour == Flavour::MySql).then(|| uuid(&server.name).into()),
            read_only: server.read_only,
            super_read_only: false,
            offline_mode: server.offline,
            gtid: "".into(),
            executed: Some(History::default()),
            purged: History::default(),
            durability: Durability::default(),
            semi_sync: SemiSync::default(),
            uptime: None,
            channels: server.source.iter().map(|source| self.channel(server, source)).collect(),
        })
    }

    fn channel(&self, server: &FakeServer, source: &str) -> Channel {
        let alive = |other: &FakeServer| other.name == source && other.failure.as_ref().is_none_or(lives);
        let connected = !server.cut_off && (source == "outside" || self.servers.iter().any(alive));
        let receiver = match (&server.receiver_stopped, connected) {
            (Some(_), _) => Receiver::Stopped,
            (None, true) => Receiver::Running,
            (None, false) => Receiver::Connecting,
        };
        let applier_runs = server.applier_stopped.is_none();
        let host = if server.by_other_name { format!("db-{source}.internal") } else { source.to_owned() };
        let is_known = server.ever_connected;
        // MariaDB shows no lag while the source is away.
        let shown = server.backlog.filter(|_| self.flavour == Flavour::MySql);
        let lag = if receiver == Receiver::Running { server.backlog.or(server.lag) } else { shown };
        Channel {
            name: String::new(),
            source_host: host,
            source_port: 3306,
            source_uuid: (is_known && self.flavour == Flavour::MySql).then(|| uuid(source).into()),
            source_server_id: is_known.then(|| self.server_id(source)),
            receiver,
            applier_runs,
            lag: lag.filter(|_| applier_runs).map(Duration::from_secs),
            caught_up: server.backlog.is_none(),
            receiver_error: server.receiver_stopped.clone().flatten(),
            applier_error: server.applier_stopped.clone().flatten(),
            received: History::default(),
            heard: Heard::default(),
            heartbeat_period: None,
            delay: Duration::ZERO,
        }
    }

    fn server_id(&self, name: &str) -> u32 {
        let place = self.servers.iter().position(|server| server.name == name).unwrap_or(98);
        u32::try_from(place).expect("few servers") + 1
    }

    fn place(&self, name: &str) -> usize {
        let place = self.servers.iter().position(|server| server.name == name);
        place.unwrap_or_else(|| panic!("no server {name:?}"))
    }
}

/// A server that turns probes away still feeds its replicas.
fn lives(failure: &Failure) -> bool {
    failure.kind.is_alive()
}

fn uuid(name: &str) -> String {
    format!("uuid-of-{name}")
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| panic!("{text:?} is no number"))
}

fn thread_error(words: &[&str]) -> Option<ThreadError> {
    let (code, text) = words.split_first()?;
    Some(ThreadError { code: u32::try_from(number(code)).expect("a code"), text: text.join(" ") })
}
