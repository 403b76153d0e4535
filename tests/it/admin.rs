//! The admin port: every command against a fixed view, and real clients against a port.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use pointsman::admin::{
    self, Answer, Asker, DigestView, Outcome, PinView, PoolView, Request, SessionView, Situation, View,
};
use pointsman::backend::Gauge;
use pointsman::config::{Config, PrimaryReads, Secret, Server, User, settings};
use pointsman::flavour::Version;
use pointsman::route::{Because, SessionState, Spread};
use pointsman::serve::Activity;
use pointsman::sql::{self, Catalog, Dialect, Judge, PinCause, PinSet, Statement};
use pointsman::topology::events::{Event, EventKind};
use pointsman::topology::{self, Epoch, Exclusion, Role, ServerId, Snapshot, Standing};

use crate::cases;

mod port;

#[test]
fn commands() {
    let view = view();
    cases::run("admin", |input| {
        // Several commands of one connection: what USE chose holds for those after it.
        let mut asker = asker();
        input.split("\n;\n").map(|text| respond(text, &view, &mut asker)).collect::<Vec<_>>().join("\n")
    });
}

fn respond(text: &str, view: &View, asker: &mut Asker) -> String {
    let request = match admin::parse(text) {
        Ok(request) => request,
        Err(unparsed) => return format!("ERROR {}", unparsed.packet()),
    };
    match &request {
        Request::Select(sql) => match admin::select(sql, view, asker) {
            Ok(answer) => show(&answer),
            Err(error) => format!("ERROR {}", error.packet()),
        },
        Request::Explain { statement } => show(&explain(statement, view, asker)),
        Request::Order(order) => format!("{order:?}"),
        request => match admin::answer(request, view) {
            Outcome::Rows(answer) => show(&answer),
            Outcome::Done => {
                if let Request::Use { schema } = request {
                    asker.schema = Some(schema.clone());
                }
                "OK".to_owned()
            }
            Outcome::Elsewhere => format!("{request:?}"),
        },
    }
}

/// As the mysql command line prints it; one row of many columns as with \G.
fn show(answer: &Answer) -> String {
    let texts = |row: &admin::Row| -> Vec<String> {
        let shown = row.iter().zip(&answer.headings).map(|(value, heading)| value.shown(heading.kind));
        shown.map(|text| text.map_or("NULL".to_owned(), |text| text.into_owned())).collect()
    };
    let rows: Vec<Vec<String>> = answer.rows.iter().map(texts).collect();
    if rows.is_empty() {
        let names: Vec<&str> = answer.headings.iter().map(|heading| &*heading.name).collect();
        return format!("empty: {}", names.join(", "));
    }
    if rows.len() == 1 && answer.headings.len() > 4 || rows.iter().flatten().any(|text| text.contains('\n')) {
        let lines = rows.iter().flat_map(|row| {
            row.iter().zip(&answer.headings).map(|(text, heading)| format!("{}: {text}", heading.name))
        });
        return lines.collect::<Vec<_>>().join("\n");
    }
    let width = |at: usize| {
        let texts = rows.iter().map(|row| row[at].chars().count());
        texts.chain([answer.headings[at].name.chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..answer.headings.len()).map(width).collect();
    let is_text = |at: usize| answer.headings[at].kind == pointsman::wire::text::TextType::Text;
    let line = |cells: Vec<&str>| {
        let cells = cells.iter().enumerate().map(|(at, cell)| {
            if is_text(at) { format!("{cell:<0$}", widths[at]) } else { format!("{cell:>0$}", widths[at]) }
        });
        cells.collect::<Vec<_>>().join(" | ").trim_end().to_owned()
    };
    let mut lines = vec![line(answer.headings.iter().map(|heading| &*heading.name).collect())];
    lines.extend(rows.iter().map(|row| line(row.iter().map(String::as_str).collect())));
    lines.join("\n")
}

/// `db1` is the primary; of its replicas one serves and one lags.
pub(crate) fn snapshot() -> Snapshot {
    let version = "8.4.5";
    let server = |id: u16, role, standing, lag: Option<u64>| topology::Server {
        id: ServerId(id),
        name: format!("db{}", id + 1).into(),
        address: format!("10.0.0.{}:3306", id + 1).into(),
        role,
        standing,
        lag: lag.map(Duration::from_millis),
        weight: 1,
        version: Some(Version::parse(version)),
        version_text: version.into(),
        gtid: "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-77".into(),
    };
    let lagging = Exclusion::Lagging { lag: Duration::from_millis(12_300), limit: Duration::from_secs(10) };
    Snapshot {
        epoch: Epoch(2),
        primary: Some(ServerId(0)),
        servers: Box::new([
            server(0, Role::Primary, Standing::Serving, None),
            server(1, Role::Replica, Standing::Serving, Some(0)),
            server(2, Role::Replica, Standing::Excluded(lagging), Some(12_300)),
        ]),
    }
}

pub(crate) fn config() -> Config {
    let mut config = Config::default();
    let server = |id: u16| Server { name: format!("db{id}"), ..Server::plain(format!("10.0.0.{id}:3306")) };
    config.cluster.servers = (1..=3).map(server).collect();
    config.cluster.control.user = "pointsman".to_owned();
    config.cluster.control.password = Secret::new("control-secret");
    config.admin.users = vec![User { name: "admin".to_owned(), password: Secret::new("admin-secret") }];
    config.users = vec![User { name: "app".to_owned(), password: Secret::new("app-secret") }];
    config
}

fn judge(text: &str, schema: Option<&str>) -> sql::Judged {
    let dialect = Dialect::plain(Version::parse("8.4.5"));
    Judge::new(16).judge(text.as_bytes(), &dialect, schema, &Catalog::default())
}

fn statement(text: &str) -> Option<Arc<Statement>> {
    Some(judge(text, None).statement)
}

fn explain(text: &str, view: &View, asker: &Asker) -> Answer {
    let spread = Spread { ticket: 0, client: 7, in_use: &[0, 0, 0], avoid: &[] };
    let (mut routing, session) = (Config::default().routing, SessionState::default());
    let mut snapshot = (*view.snapshot).clone();
    // Worlds that are not the usual one, by the schema that is chosen.
    match asker.schema.as_deref() {
        Some("without_primary") => {
            snapshot.primary = None;
            snapshot.servers[0].standing = Standing::Excluded(Exclusion::Draining);
        }
        Some("without_replicas") => {
            snapshot.servers[1].standing = Standing::Excluded(Exclusion::Draining);
            routing.primary_reads = PrimaryReads::Never;
        }
        _ => {}
    }
    let situation = Situation { snapshot: &snapshot, routing: &routing, session: &session, spread };
    admin::explain(&judge(text, asker.schema.as_deref()), &situation)
}

fn asker() -> Asker {
    Asker {
        user: "admin".to_owned(),
        peer: SocketAddr::from(([127, 0, 0, 1], 50_000)).into(),
        schema: None,
        connection_id: 9,
    }
}

fn view() -> View {
    View {
        now: Instant::now(),
        uptime: Duration::from_secs(3_700),
        snapshot: Arc::new(snapshot()),
        pools: (0..3).map(pool).collect(),
        sessions: sessions(),
        pins: pins(),
        digests: digests(),
        failover: Default::default(),
        events: events(),
        counters: vec![
            ("accepted", 120, "Connections accepted."),
            ("logins_failed", 3, "Logins that failed."),
            ("statements", 4_242, "Statements received."),
        ],
        settings: settings(&config()),
    }
}

fn pool(server: u64) -> PoolView {
    let gauge = Gauge {
        open: 5,
        idle: 3,
        in_use: 2,
        waiting: usize::from(server == 0),
        cap: 200,
        wait_limit: Duration::from_secs(10),
    };
    let counters = pointsman::backend::Counters::default().all();
    let counters = (1..).zip(counters).map(|(at, (name, _))| (name, 1_000 * server + 10 * at));
    PoolView { gauge, counters: counters.collect() }
}

fn sessions() -> Vec<SessionView> {
    let session = |id: u32, user: &str, activity| SessionView {
        id,
        user: user.into(),
        peer: SocketAddr::from(([10, 1, 0, id as u8], 40_000)).into(),
        program: id.is_multiple_of(2).then(|| "billing".into()),
        schema: Some("shop".into()),
        activity,
        since: Duration::from_millis(1_250),
        statements: u64::from(id) * 10,
        backend: None,
        pins: PinSet::EMPTY,
        pinned_for: None,
        in_transaction: false,
        because: None,
        statement: None,
    };
    vec![
        SessionView {
            backend: Some((ServerId(0), 812)),
            pins: PinSet::of(PinCause::TemporaryTable).union(PinSet::of(PinCause::UserLock)),
            pinned_for: Some(Duration::from_millis(61_500)),
            in_transaction: true,
            because: Some(Because::Pinned),
            statement: statement("INSERT INTO cart VALUES (1, 'x')"),
            ..session(12, "app", Activity::Active)
        },
        SessionView {
            because: Some(Because::Write),
            statement: statement("SELECT * FROM stock WHERE id = 7 FOR UPDATE"),
            ..session(11, "app", Activity::Idle)
        },
        SessionView { schema: None, ..session(13, "report", Activity::Waiting) },
    ]
}

fn pins() -> Vec<PinView> {
    let pin = |cause: PinCause| {
        let set = cause as u64;
        let total = Duration::from_millis(1_500 * set);
        PinView { cause, sessions: set % 2, set, total, longest: total / 2 }
    };
    PinCause::ALL.into_iter().map(pin).collect()
}

fn digests() -> Vec<DigestView> {
    let digest = |text: &str, by_server: [u64; 3], reasons: &[(Because, u64)], total: u64| {
        let statement = judge(text, None).statement;
        DigestView {
            digest: Arc::clone(&statement.digest),
            is_read: statement.access == sql::Access::Read,
            statement: Some(statement),
            by_server: by_server.to_vec(),
            reasons: reasons.to_vec(),
            errors: 1,
            rows: 55,
            total: Duration::from_micros(total),
            p50: Duration::from_micros(192),
            p95: Duration::from_micros(768),
            p99: Duration::from_micros(1_536),
        }
    };
    let others = DigestView {
        digest: "(other reads)".into(),
        statement: None,
        ..digest("SELECT 1", [0, 3, 0], &[(Because::Replica, 2), (Because::Pinned, 1)], 500)
    };
    vec![
        digest("SELECT * FROM stock WHERE id = 7 FOR UPDATE", [4, 0, 0], &[(Because::Write, 4)], 9_000),
        others,
        digest(
            "SELECT name FROM product WHERE id = 3",
            [2, 30, 28],
            &[(Because::Replica, 58), (Because::NoReplicaServing, 2)],
            12_345,
        ),
        digest("DELETE FROM cart", [0, 0, 0], &[], 0),
    ]
}

fn events() -> Vec<Event> {
    let event = |seconds: u64, kind, text: &str| Event {
        at: UNIX_EPOCH + Duration::from_millis(1_770_000_000_123 + seconds * 1000),
        kind,
        text: text.to_owned(),
    };
    vec![
        event(0, EventKind::ServerServing, "db1 (primary) serves"),
        event(0, EventKind::PrimaryChanged, "epoch 1: db1 is the primary"),
        event(61, EventKind::ServerExcluded, "db3 (replica) takes no statements: lagging: 12.3 s behind"),
    ]
}

#[test]
fn statements_that_would_eat_the_machine_end() {
    let view = view();
    let refused =
        |sql: &str| admin::select(sql, &view, &asker()).expect_err("a refusal").packet().to_string();
    let forever = "WITH RECURSIVE n AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n";
    assert_eq!(refused(forever), "1317 (70100): the statement took longer than 5s");
    let endless = "WITH RECURSIVE n AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM n) SELECT x FROM n";
    assert!(refused(endless).starts_with("1104 (42000): the answer is larger than 100000 rows or 64 MiB"));
    let wide =
        "WITH RECURSIVE n AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM n) SELECT zeroblob(10000000) FROM n";
    assert!(refused(wide).starts_with("1104 "), "{}", refused(wide));
    assert!(refused("SELECT length(zeroblob(1000000000))").starts_with("1104 "));
    let sorted = "WITH RECURSIVE n AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM n LIMIT 400) \
                  SELECT x FROM n ORDER BY hex(zeroblob(1000000)) || x";
    assert!(
        refused(sorted).starts_with("1105 (HY000): the statement needs more memory"),
        "{}",
        refused(sorted)
    );
    let deep = format!("SELECT {}1{}", "(".repeat(500_000), ")".repeat(500_000));
    assert!(refused(&deep).starts_with("1064 "), "{}", refused(&deep));
    let long = format!("SELECT 1{}", " UNION SELECT 1".repeat(5_000));
    assert!(refused(&long).starts_with("1064 "), "{}", refused(&long));
    // And none of it is in the way of the next.
    assert!(admin::select("SELECT 1", &view, &asker()).is_ok());
}
