//! Reads routines, views, accounts and defaults from the primary and publishes them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;
use tokio::time;

use super::door::{self, Door, bytes};
use super::observation::Failure;
use super::{probe, tell};
use crate::flavour::{Flavour, Version};
use crate::topology::catalog::{
    Account, Accounts, Catalog, CatalogPublisher, CatalogRows, Defaults, Routine, SqlDataAccess, View,
};
use crate::topology::events::{EventKind, Events};
use crate::topology::{self, ServerId, Snapshot, Standing};

/// How long one reading may take; far longer than any dictionary needs.
const READING_MAX: Duration = Duration::from_secs(30);

const ROUTINES: &str =
    "SELECT ROUTINE_SCHEMA, ROUTINE_NAME, ROUTINE_TYPE, SQL_DATA_ACCESS FROM information_schema.ROUTINES";
// The server's own hundred views only read, and are long.
const VIEWS: &str = "SELECT TABLE_SCHEMA, TABLE_NAME, VIEW_DEFINITION FROM information_schema.VIEWS \
                     WHERE TABLE_SCHEMA NOT IN ('sys', 'mysql', 'information_schema', 'performance_schema')";
const ACCOUNTS_OF_MYSQL: &str =
    "SELECT User, Host, plugin, authentication_string, account_locked = 'Y', ssl_type <> '' FROM mysql.user";
// An account may have several plugins; in their list `{}` stands for the one outside it.
const ACCOUNTS_OF_MARIADB: &str = "\
    SELECT g.User, g.Host, JSON_VALUE(g.Priv, '$.plugin'), JSON_VALUE(g.Priv, '$.authentication_string'), \
    IFNULL(JSON_VALUE(g.Priv, '$.account_locked'), 0) IN ('1', 'true'), \
    IFNULL(JSON_VALUE(g.Priv, '$.ssl_type'), 0) > 0 \
    FROM mysql.global_priv g WHERE IFNULL(JSON_VALUE(g.Priv, '$.is_role'), 0) NOT IN ('1', 'true') \
    UNION ALL \
    SELECT g.User, g.Host, j.plugin, j.authentication_string, \
    IFNULL(JSON_VALUE(g.Priv, '$.account_locked'), 0) IN ('1', 'true'), \
    IFNULL(JSON_VALUE(g.Priv, '$.ssl_type'), 0) > 0 \
    FROM mysql.global_priv g, JSON_TABLE(g.Priv, '$.auth_or[*]' COLUMNS ( \
    plugin VARCHAR(64) PATH '$.plugin', authentication_string TEXT PATH '$.authentication_string')) j \
    WHERE j.plugin IS NOT NULL";

/// Reads at once when a primary is found or another takes its place, and in every interval after that.
pub(super) async fn run(
    doors: Vec<Door>,
    interval: Duration,
    mut topology: topology::Reader,
    publisher: CatalogPublisher,
    events: Events,
) {
    let mut librarian = Librarian { doors, publisher, events, complaints: HashMap::new(), connection: None };
    loop {
        let source = source(&topology.load());
        if let Some(server) = source {
            librarian.read(server).await;
        }
        let pause = if source.is_some() { interval } else { Duration::MAX };
        let moved = async {
            // Most publications only move lag and GTIDs.
            while self::source(&topology.load()) == source {
                topology.changed().await;
            }
        };
        let _ = time::timeout(pause, moved).await;
    }
}

/// The primary; where there is none, the first server that serves.
fn source(snapshot: &Snapshot) -> Option<ServerId> {
    let serves = |server: &&topology::Server| server.standing == Standing::Serving;
    snapshot.primary.or_else(|| snapshot.servers.iter().find(serves).map(|server| server.id))
}

struct Librarian {
    doors: Vec<Door>,
    publisher: CatalogPublisher,
    events: Events,
    /// What could not be read and why, so that it is told once.
    complaints: HashMap<&'static str, Arc<str>>,
    connection: Option<(ServerId, Conn)>,
}

impl Librarian {
    async fn read(&mut self, server: ServerId) {
        let kept = self.connection.take().filter(|(from, _)| *from == server).map(|(_, conn)| conn);
        let door = self.doors[usize::from(server.0)].clone();
        let reading = time::timeout(READING_MAX, Reading::take(&door, kept)).await;
        match reading {
            Ok(Ok((reading, conn))) => {
                self.note("the catalog", None);
                self.connection = Some((server, conn));
                self.publish(reading);
            }
            Ok(Err(failure)) if failure.kind.is_alive() => self.note("the catalog", Some(failure.text)),
            // That a server is away is for the probes to tell.
            Ok(Err(failure)) => tracing::debug!(error = %failure.text, "the catalog cannot be read"),
            Err(_) => self.note("the catalog", Some(format!("no answer within {READING_MAX:?}").into())),
        }
    }

    fn publish(&mut self, reading: Reading) {
        let hidden = |rows: &CatalogRows| rows.views.iter().any(|view| view.definition.is_empty());
        let hidden = reading.rows.as_ref().is_ok_and(hidden);
        self.note("what views do", hidden.then(|| "the control account lacks SHOW VIEW or SELECT".into()));
        let rows = self.part("routines and views", reading.rows);
        let accounts = self.part("accounts", reading.accounts);
        let defaults = self.part("defaults", reading.defaults);
        let before = self.publisher.load();
        let after = before.after(rows, accounts, defaults);
        if after != *before {
            tracing::debug!(
                version = after.rows.as_ref().map(|rows| rows.version),
                routines = after.rows.as_ref().map(|rows| rows.routines.len()),
                views = after.rows.as_ref().map(|rows| rows.views.len()),
                accounts = after.accounts.as_ref().map(|accounts| accounts.rows.len()),
                "catalog"
            );
            self.publisher.publish(after);
        }
    }

    fn part<T>(&mut self, name: &'static str, read: Result<T, Failure>) -> Option<T> {
        self.note(name, read.as_ref().err().map(|failure| Arc::clone(&failure.text)));
        read.ok()
    }

    /// Tells of a part that cannot be read, or can be read again, once.
    fn note(&mut self, part: &'static str, error: Option<Arc<str>>) {
        let before = match &error {
            Some(error) => self.complaints.insert(part, Arc::clone(error)),
            None => self.complaints.remove(part),
        };
        match (before, error) {
            (before, Some(error)) if before.as_ref() != Some(&error) => {
                tell(&self.events, EventKind::Problem, format!("{part} cannot be read: {error}"));
            }
            (Some(_), None) => {
                tell(&self.events, EventKind::ProblemOver, format!("{part} can be read again"))
            }
            _ => {}
        }
    }
}

/// Reads the catalog of one server once. Accounts are left out: they are no matter of statements.
pub async fn read_once(dsn: &str) -> Result<Catalog, mysql_async::Error> {
    // The host's name is resolved here, before any thread serves others.
    let options = mysql_async::OptsBuilder::from_opts(mysql_async::Opts::from_url(dsn)?).prefer_socket(false);
    let mut conn = Conn::new(options).await?;
    let version = probe::version(&mut conn).await?;
    let rows = CatalogRows { version: 1, ..rows(&mut conn).await? };
    let defaults = defaults(&mut conn, version).await?;
    conn.disconnect().await?;
    Ok(Catalog { rows: Some(Arc::new(rows)), accounts: None, defaults: Some(Arc::new(defaults)) })
}

/// One reading; a privilege that is missing for one part does not cost the others.
struct Reading {
    rows: Result<CatalogRows, Failure>,
    accounts: Result<Accounts, Failure>,
    defaults: Result<Defaults, Failure>,
}

impl Reading {
    async fn take(door: &Door, kept: Option<Conn>) -> Result<(Self, Conn), Failure> {
        if let Some(mut conn) = kept
            && let Ok(version) = probe::version(&mut conn).await
        {
            return Self::ask(conn, version).await;
        }
        let mut conn = door.open().await?;
        let version = probe::version(&mut conn).await.map_err(|error| door::failure(&error))?;
        Self::ask(conn, version).await
    }

    async fn ask(mut conn: Conn, version: Version) -> Result<(Self, Conn), Failure> {
        let rows = refused(rows(&mut conn).await)?;
        let accounts = refused(accounts(&mut conn, version.flavour).await)?;
        let defaults = refused(defaults(&mut conn, version).await)?;
        Ok((Self { rows, accounts, defaults }, conn))
    }
}

/// Separates what the server refused, which is that part's matter, from a broken connection, which is all's.
fn refused<T>(answer: Result<T, mysql_async::Error>) -> Result<Result<T, Failure>, Failure> {
    match answer {
        Ok(value) => Ok(Ok(value)),
        Err(error) if door::is_broken(&error) => Err(door::failure(&error)),
        Err(error) => Ok(Err(door::failure(&error))),
    }
}

async fn rows(conn: &mut Conn) -> Result<CatalogRows, mysql_async::Error> {
    let routines: Vec<mysql_async::Row> = conn.query(ROUTINES).await?;
    let views: Vec<mysql_async::Row> = conn.query(VIEWS).await?;
    let routine = |row: &mysql_async::Row| Routine {
        schema: text(row, 0),
        name: text(row, 1),
        is_function: text(row, 2) == "FUNCTION",
        sql_data_access: SqlDataAccess::parse(&text(row, 3)),
    };
    let view =
        |row: &mysql_async::Row| View { schema: text(row, 0), name: text(row, 1), definition: text(row, 2) };
    let mut rows = CatalogRows {
        version: 0,
        routines: routines.iter().map(routine).collect(),
        views: views.iter().map(view).collect(),
    };
    // The dictionary promises no order; without one each reading would look like a change.
    rows.routines
        .sort_by(|a, b| (&a.schema, &a.name, a.is_function).cmp(&(&b.schema, &b.name, b.is_function)));
    rows.views.sort_by(|a, b| (&a.schema, &a.name).cmp(&(&b.schema, &b.name)));
    Ok(rows)
}

async fn accounts(conn: &mut Conn, flavour: Flavour) -> Result<Accounts, mysql_async::Error> {
    let sql = match flavour {
        Flavour::MySql => ACCOUNTS_OF_MYSQL,
        Flavour::MariaDb => ACCOUNTS_OF_MARIADB,
    };
    let rows: Vec<mysql_async::Row> = conn.query(sql).await?;
    let account = |row: &mysql_async::Row| Account {
        user: text(row, 0),
        host: text(row, 1),
        plugin: text(row, 2),
        authentication_string: bytes(row, 3).unwrap_or_default().to_vec(),
        locked: text(row, 4) == "1",
        requires_tls: text(row, 5) == "1",
    };
    let mut rows: Vec<Account> = rows.iter().map(account).collect();
    rows.sort_by(|a, b| (&a.user, &a.host, &a.plugin).cmp(&(&b.user, &b.host, &b.plugin)));
    Ok(Accounts { version: 0, rows })
}

async fn defaults(conn: &mut Conn, version: Version) -> Result<Defaults, mysql_async::Error> {
    // MariaDB has the name without `tx_` only since 11.1, MySQL only that one since 8.0.
    let isolation = match version.flavour {
        Flavour::MySql => "transaction_isolation",
        Flavour::MariaDb => "tx_isolation",
    };
    let sql = format!(
        "SELECT @@GLOBAL.sql_mode, @@GLOBAL.autocommit, @@GLOBAL.character_set_client, \
         @@GLOBAL.collation_connection, @@GLOBAL.max_allowed_packet, @@GLOBAL.init_connect, \
         @@GLOBAL.{isolation}, @@GLOBAL.lower_case_table_names, \
         (SELECT ID FROM information_schema.COLLATIONS WHERE COLLATION_NAME = @@GLOBAL.collation_server)"
    );
    let row: Option<mysql_async::Row> = conn.query_first(sql).await?;
    let Some(row) = row else { return Err(mysql_async::DriverError::ConnectionClosed.into()) };
    Ok(Defaults {
        version,
        sql_mode: text(&row, 0),
        autocommit: text(&row, 1) == "1",
        character_set: text(&row, 2),
        collation: text(&row, 3),
        max_allowed_packet: text(&row, 4).parse().unwrap_or(0),
        init_connect: text(&row, 5),
        transaction_isolation: text(&row, 6),
        lower_case_table_names: text(&row, 7).parse().unwrap_or(0),
        server_collation: text(&row, 8).parse().ok(),
    })
}

fn text(row: &mysql_async::Row, index: usize) -> String {
    String::from_utf8_lossy(bytes(row, index).unwrap_or_default()).into_owned()
}
