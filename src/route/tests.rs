//! Where statements go: by state, hint, weight, policy and standing.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::config::{Config, Policy, PrimaryReads, Routing};
use crate::flavour::{Flavour, Version};
use crate::sql::{
    self, Access, Catalog, Dialect, Hint, Judge, Judged, Kind, PinCause, PinSet, Statement, WriteBecause,
};
use crate::topology::{Epoch, Exclusion, Role, Server, ServerId, Snapshot, Standing};

fn server(id: u16, role: Role, weight: u32) -> Server {
    Server {
        id: ServerId(id),
        name: format!("s{id}").into(),
        address: format!("127.0.0.1:{}", 13306 + id).into(),
        role,
        standing: Standing::Serving,
        lag: Some(Duration::ZERO),
        weight,
        version: None,
        version_text: "".into(),
        gtid: "".into(),
    }
}

/// s0 is the primary, s1 and s2 its replicas.
fn cluster() -> Snapshot {
    let servers = vec![server(0, Role::Primary, 1), server(1, Role::Replica, 1), server(2, Role::Replica, 1)];
    Snapshot { epoch: Epoch(1), primary: Some(ServerId(0)), servers: servers.into() }
}

fn judged(kind: Kind, access: Access) -> Judged {
    let statement = Statement::bare(kind, access, "SELECT ?");
    Judged { statement: Arc::new(statement), hint: None, consistency: None }
}

fn select() -> Judged {
    judged(Kind::Select, Access::Read)
}

fn insert() -> Judged {
    judged(Kind::Modify, Access::Write(WriteBecause::Keyword("INSERT".into())))
}

fn routing() -> Routing {
    Config::default().routing
}

fn spread(ticket: u64) -> Spread<'static> {
    Spread { ticket, client: 7, in_use: &[], avoid: &[] }
}

fn to(route: Route) -> u16 {
    match route.to {
        Destination::Server(id) => id.0,
        other => panic!("no server: {other:?}"),
    }
}

#[test]
fn reads_alternate_and_writes_go_to_the_primary() {
    let idle = SessionState::default();
    let servers: Vec<u16> =
        (0..4).map(|ticket| to(route(&select(), &idle, &cluster(), &routing(), spread(ticket)))).collect();
    assert_eq!(servers, [1, 2, 1, 2]);
    let write = route(&insert(), &idle, &cluster(), &routing(), spread(0));
    assert_eq!((to(write), write.because), (0, Because::Write));
    assert_eq!(write.explain(&insert(), &idle), "INSERT is not read-only");
}

#[test]
fn weights_share_turns_and_zero_takes_none() {
    let mut snapshot = cluster();
    snapshot.servers[1].weight = 300;
    snapshot.servers[2].weight = 100;
    let servers: Vec<u16> = (0..4)
        .map(|ticket| to(route(&select(), &SessionState::default(), &snapshot, &routing(), spread(ticket))))
        .collect();
    assert_eq!(servers, [1, 1, 1, 2]);
    snapshot.servers[1].weight = 0;
    assert_eq!(to(route(&select(), &SessionState::default(), &snapshot, &routing(), spread(0))), 2);
}

#[test]
fn excluded_replicas_take_nothing_and_the_primary_steps_in() {
    let idle = SessionState::default();
    let mut snapshot = cluster();
    snapshot.servers[1].standing = Standing::Excluded(Exclusion::Draining);
    assert!((0..3).all(|ticket| to(route(&select(), &idle, &snapshot, &routing(), spread(ticket))) == 2));
    snapshot.servers[2].standing = Standing::Excluded(Exclusion::LagUnknown);
    let fallback = route(&select(), &idle, &snapshot, &routing(), spread(0));
    assert_eq!((to(fallback), fallback.because), (0, Because::NoReplicaServing));
    let never = Routing { primary_reads: PrimaryReads::Never, ..routing() };
    assert_eq!(route(&select(), &idle, &snapshot, &never, spread(0)).to, Destination::NoReplica);
    snapshot.primary = None;
    assert_eq!(route(&insert(), &idle, &snapshot, &routing(), spread(0)).to, Destination::NoPrimary);
}

#[test]
fn the_primary_reads_in_turn_where_configured() {
    let always = Routing { primary_reads: PrimaryReads::Always, ..routing() };
    let servers: Vec<u16> = (0..3)
        .map(|ticket| to(route(&select(), &SessionState::default(), &cluster(), &always, spread(ticket))))
        .collect();
    assert_eq!(servers, [0, 1, 2]);
}

#[test]
fn a_failed_replica_is_avoided_by_the_repeat() {
    let avoid = [ServerId(1)];
    let again = Spread { avoid: &avoid, ..spread(0) };
    assert_eq!(to(route(&select(), &SessionState::default(), &cluster(), &routing(), again)), 2);
}

#[test]
fn session_state_decides_before_the_statement() {
    let cases = [
        (
            SessionState { transaction: Transaction::ReadWrite, ..SessionState::default() },
            Because::Transaction,
        ),
        (
            SessionState { transaction: Transaction::ReadOnly, ..SessionState::default() },
            Because::ReadOnlyTransaction,
        ),
        (
            SessionState { pins: PinSet::of(PinCause::TemporaryTable), ..SessionState::default() },
            Because::Pinned,
        ),
    ];
    for (session, because) in cases {
        let held = route(&select(), &session, &cluster(), &routing(), spread(0));
        assert_eq!(held, Route { to: Destination::Held, because });
    }
    let off = SessionState { autocommit: false, ..SessionState::default() };
    let read = route(&select(), &off, &cluster(), &routing(), spread(0));
    assert_eq!((to(read), read.because), (0, Because::AutocommitOff));
    let serializable = SessionState { serializable: true, ..SessionState::default() };
    let read = route(&select(), &serializable, &cluster(), &routing(), spread(0));
    assert_eq!((to(read), read.because), (0, Because::Serializable));
}

#[test]
fn hints_move_reads_but_never_writes() {
    let hinted = |mut judged: Judged, hint| {
        judged.hint = Some(hint);
        route(&judged, &SessionState::default(), &cluster(), &routing(), spread(0))
    };
    assert_eq!(to(hinted(select(), Hint::Primary)), 0);
    assert_eq!(to(hinted(select(), Hint::Server("s2".into()))), 2);
    assert_eq!(hinted(select(), Hint::Server("s9".into())).to, Destination::NoSuchServer);
    assert_eq!(to(hinted(insert(), Hint::Replica)), 0);
    assert_eq!(to(hinted(insert(), Hint::Server("s2".into()))), 0);
}

#[test]
fn read_only_transactions_begin_on_a_replica() {
    let begin = judged(Kind::Begin { read_only: true }, Access::Write(WriteBecause::Transaction));
    let route = route(&begin, &SessionState::default(), &cluster(), &routing(), spread(1));
    assert_eq!((to(route), route.because), (2, Because::ReadOnlyTransaction));
}

#[test]
fn source_ip_is_stable_and_moves_only_the_clients_of_a_lost_server() {
    let policy = Routing { policy: Policy::SourceIp, ..routing() };
    let choose = |snapshot: &Snapshot, client| {
        let spread = Spread { client, ..spread(client) };
        to(route(&select(), &SessionState::default(), snapshot, &policy, spread))
    };
    let mut without = cluster();
    without.servers[1].standing = Standing::Excluded(Exclusion::Draining);
    let mut on_first = 0;
    for client in 0..1_000 {
        let before = choose(&cluster(), client);
        assert_eq!(before, choose(&cluster(), client));
        on_first += u32::from(before == 1);
        if before == 2 {
            assert_eq!(choose(&without, client), 2);
        }
    }
    assert!((400..600).contains(&on_first), "{on_first} of 1000 on the first of two");
}

#[test]
fn least_connections_prefers_the_less_used() {
    let policy = Routing { policy: Policy::LeastConnections, ..routing() };
    let spread = Spread { in_use: &[0, 5, 3], ..spread(0) };
    assert_eq!(to(route(&select(), &SessionState::default(), &cluster(), &policy, spread)), 2);
}

#[test]
fn a_state_change_nobody_can_name_pins() {
    let seen = Seen { autocommit: true, state_changed: true, ..Seen::default() };
    let mut session = SessionState::default();
    session.observe(&judged(Kind::Set, Access::Write(WriteBecause::Session)).statement, seen);
    assert!(session.pins.is_empty(), "SET is judged by its text");
    session.observe(&insert().statement, Seen { change_is_known: true, ..seen });
    assert!(session.pins.is_empty(), "the server said what changed");
    session.observe(&insert().statement, seen);
    assert!(session.pins.contains(PinCause::Unknown));
}

/// What ties a session to its connection after these statements, as the judges and the holdings see it. A `!` before
/// one says that the server refused it; `?101` is what the server answers when it is asked next.
fn tied_after(flavour: Flavour, statements: &str) -> String {
    let number = if flavour == Flavour::MySql { 90_704 } else { 101_119 };
    let version = Version { flavour, number };
    let dialect = Dialect::plain(version);
    let judge = Judge::new(16);
    let mut session = SessionState::default();
    for said in statements.split(" | ") {
        if let Some(answer) = said.strip_prefix('?') {
            let question = session.question().expect(statements);
            session.observe_answer(&question, Some(answer));
            continue;
        }
        let (text, failed) = said.strip_prefix('!').map_or((said, false), |text| (text, true));
        let statement = judge.judge(text.as_bytes(), &dialect, Some("db"), &Catalog::default()).statement;
        session.observe(&statement, Seen { autocommit: true, failed, ..Seen::default() });
        if session.is_worth_reading(&statement) {
            let changes = sql::hold_changes(text.as_bytes(), &dialect, Some("db"), statement.pins);
            session.observe_holds(&statement, &changes, failed);
        }
    }
    session.pins.iter().map(|cause| cause.to_string()).collect::<Vec<_>>().join(" ")
}

#[test]
fn pins_end_with_the_last_thing_held() {
    let both = [
        ("CREATE TEMPORARY TABLE a (x INT)", "temporary_table"),
        ("CREATE TEMPORARY TABLE a (x INT) | DROP TABLE a", ""),
        ("CREATE TEMPORARY TABLE a (x INT) | DROP TABLE A", "temporary_table"),
        ("CREATE TEMPORARY TABLE a (x INT) | DROP TABLE other.a", "temporary_table"),
        ("CREATE TEMPORARY TABLE `a` (x INT) | DROP TEMPORARY TABLE IF EXISTS b, /* c */ db.a", ""),
        ("CREATE TEMPORARY TABLE IF NOT EXISTS other.a LIKE b | DROP TABLE a", "temporary_table"),
        ("CREATE TEMPORARY TABLE a (x INT) | CREATE TEMPORARY TABLE b (x INT) | DROP TABLES a, b", ""),
        ("CREATE TEMPORARY TABLE a (x INT) | !DROP TABLE a, b", "temporary_table"),
        ("!CREATE TEMPORARY TABLE a (x INT)", ""),
        ("CREATE TEMPORARY TABLE `a.b` (x INT) | DROP TABLE `a.b`", "temporary_table"),
        ("CREATE TEMPORARY TABLE \u{e4} (x INT) | DROP TABLE \u{e4}", "temporary_table"),
        ("CREATE TEMPORARY TABLE a (x INT) | ALTER TABLE a RENAME b | DROP TABLE a", "temporary_table"),
        ("CREATE TEMPORARY TABLE a (event INT) | DROP TABLE a", ""),
        ("CREATE TEMPORARY TABLE a (x INT) | CREATE PROCEDURE p() DROP TABLE a", "temporary_table"),
        ("CREATE TEMPORARY TABLE a (x INT) | SELECT 'DROP TABLE a'", "temporary_table"),
        ("CREATE TEMPORARY TABLE a (x INT); SELECT 1; DROP TABLE a", ""),
        ("!CREATE TEMPORARY TABLE a (x INT); SELECT 1; DROP TABLE a", "temporary_table"),
        (
            "CREATE TEMPORARY TABLE a (x INT); CREATE PROCEDURE p() DO 1; CREATE TEMPORARY TABLE b (x INT) | DROP TABLE a",
            "temporary_table",
        ),
        ("USE x; CREATE TEMPORARY TABLE a (x INT) | DROP TABLE a", "temporary_table"),
        ("SELECT GET_LOCK('a', 1)", "user_lock"),
        ("SELECT GET_LOCK('a', 1) | ?0", ""),
        ("SELECT GET_LOCK('a', 1), GET_LOCK('b', 1) | ?11 | DO RELEASE_LOCK('a') | ?01", "user_lock"),
        ("SELECT GET_LOCK('a', 1) | ?1 | DO RELEASE_LOCK('a') | ?", "user_lock"),
        ("SELECT GET_LOCK('a', 1) | ?1 | DO RELEASE_LOCK('a') | ?0", ""),
        ("SELECT `GET_LOCK`('a', 1) | ?1", "user_lock"),
        ("SELECT `get_lock`('a', 1) | ?1 | DO `RELEASE_LOCK`('a') | ?0", ""),
        ("SELECT GET_LOCK(@a, 1) | SELECT RELEASE_ALL_LOCKS()", ""),
        ("SELECT GET_LOCK(@a, 1) | !SELECT RELEASE_ALL_LOCKS()", "user_lock"),
        ("SELECT GET_LOCK(@a, 1) | SELECT RELEASE_ALL_LOCKS() FROM t", "user_lock"),
        ("SELECT GET_LOCK('\\'', 1) | DO RELEASE_ALL_LOCKS()", ""),
        ("SELECT SERVICE_GET_READ_LOCKS('a', 'b', 1) | SELECT RELEASE_ALL_LOCKS()", "unknown"),
        ("LOCK TABLES t READ | UNLOCK TABLES", ""),
        ("LOCK TABLES t READ | BEGIN", ""),
        ("!LOCK TABLES t READ", ""),
        ("FLUSH TABLES t WITH READ LOCK | BEGIN", ""),
        ("FLUSH TABLES WITH READ LOCK | BEGIN", "global_read_lock"),
        ("FLUSH TABLES WITH READ LOCK | UNLOCK TABLES", ""),
        ("!FLUSH TABLES WITH READ LOCK", "global_read_lock"),
        ("HANDLER t OPEN | HANDLER u OPEN AS v | HANDLER t CLOSE", "handler"),
        ("HANDLER db.t OPEN | HANDLER u OPEN v | HANDLER t CLOSE | HANDLER v CLOSE", ""),
        ("SET timestamp = 1 | SET @@session.timestamp = DEFAULT", ""),
        ("SET timestamp = 1, sql_mode = '' | SET GLOBAL timestamp = DEFAULT", "session_variable"),
        ("SET timestamp = 1, rand_seed1 = 2 | SET timestamp = 0", "session_variable"),
        ("SET timestamp = 1 | SET timestamp = 0 + 5", "session_variable"),
        ("!SET timestamp = 1", ""),
        ("SET LOCAL sql_log_bin = OFF | SET sql_log_bin := 1", ""),
        ("SET insert_id = 5 | INSERT INTO t VALUES () | ?0", ""),
        ("SET insert_id = 5 | INSERT INTO t VALUES () | ?1", "session_variable"),
        ("SELECT SQL_CALC_FOUND_ROWS 1", "found_rows"),
        ("SELECT SQL_CALC_FOUND_ROWS 1 | SELECT FOUND_ROWS()", ""),
        ("XA START 'a' | XA END 'a'", "xa"),
        ("XA START 'a' | XA END 'a' | XA ROLLBACK 'a'", ""),
        ("!XA START 'a'", ""),
        ("SET TRANSACTION READ ONLY", "next_transaction"),
        ("SET TRANSACTION READ ONLY | SELECT 1", ""),
        ("!SET TRANSACTION READ ONLY", ""),
    ];
    for (statements, expected) in both {
        for flavour in [Flavour::MySql, Flavour::MariaDb] {
            assert_eq!(tied_after(flavour, statements), expected, "{statements} ({flavour})");
        }
    }
}

#[test]
fn pins_end_as_their_flavour_has_it() {
    for (flavour, statements, expected) in [
        (Flavour::MySql, "XA START 'a' | XA END 'a' | XA PREPARE 'a' | ?0", ""),
        (Flavour::MySql, "XA START 'a' | XA END 'a' | XA PREPARE 'a' | ?1", "xa"),
        (Flavour::MariaDb, "XA START 'a' | XA END 'a' | XA PREPARE 'a'", "xa"),
        (Flavour::MySql, "LOCK INSTANCE FOR BACKUP | UNLOCK TABLES", "instance_lock"),
        (Flavour::MySql, "LOCK INSTANCE FOR BACKUP | UNLOCK INSTANCE", ""),
        (Flavour::MySql, "SET gtid_next = 'a:1' | SET gtid_next = AUTOMATIC", ""),
        (Flavour::MySql, "SET RESOURCE GROUP a | SET RESOURCE GROUP b", "session_variable"),
        (Flavour::MySql, "SET RESOURCE GROUP a | SET RESOURCE GROUP `USR_default`", ""),
        (Flavour::MySql, "SET RESOURCE GROUP a | SET RESOURCE GROUP usr_default FOR 7", "session_variable"),
        (Flavour::MariaDb, "BACKUP STAGE START | BACKUP STAGE FLUSH | BACKUP STAGE END", ""),
        (Flavour::MariaDb, "BACKUP STAGE START | BACKUP LOCK t | BACKUP UNLOCK", "instance_lock"),
        (Flavour::MariaDb, "CREATE OR REPLACE TEMPORARY TABLE a (x INT) | DROP TABLE a", ""),
        (
            Flavour::MariaDb,
            "SET timestamp = 0, ROLE a, sql_log_bin = 0 | SET sql_log_bin = 1",
            "session_variable role",
        ),
        (Flavour::MariaDb, "CREATE TEMPORARY SEQUENCE a | DROP SEQUENCE a", ""),
        (
            Flavour::MariaDb,
            "SET STATEMENT max_statement_time = 1 FOR CREATE TEMPORARY TABLE a (x INT)",
            "temporary_table",
        ),
        (
            Flavour::MariaDb,
            "CREATE TEMPORARY TABLE a (x INT) | SET STATEMENT max_statement_time = 1 FOR DROP TABLE a",
            "",
        ),
    ] {
        assert_eq!(tied_after(flavour, statements), expected, "{statements}");
    }
}
