//! What the server runs at every login, sessions have at every statement.

use anyhow::{Result, ensure};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use pointsman::flavour::Flavour;
use pointsman::playground::{APP, Options, ROOT};

use crate::clusters::{both, private};
use crate::through::Proxy;

both![init_connect_is_run_for_every_session];

/// What two sessions say in turn.
const SAID: [(usize, &str); 18] = [
    (0, "SELECT @@sql_select_limit, @from_init, @@lc_time_names"),
    (1, "SELECT @@sql_select_limit, @from_init, @@lc_time_names"),
    (0, "SET sql_select_limit = 9"),
    (0, "SELECT @@sql_select_limit, @from_init"),
    (1, "SELECT @@sql_select_limit, @from_init"),
    (1, "SET @mine = 'x', @from_init = 6"),
    (0, "SELECT @mine, @from_init"),
    (1, "SELECT @mine, @from_init"),
    (1, "SET lc_time_names = 'fr_FR'"),
    (0, "SELECT @@sql_select_limit, @@lc_time_names"),
    (1, "SELECT @@sql_select_limit, @@lc_time_names"),
    (0, "SET sql_select_limit = DEFAULT"),
    (0, "SELECT @@sql_select_limit"),
    (1, "SELECT @@sql_select_limit"),
    (0, "PREPARE s FROM 'SELECT @from_init, @@lc_time_names'"),
    (0, "EXECUTE s"),
    (1, "SELECT @mine, @from_init, @@lc_time_names"),
    (0, "SELECT @@sql_select_limit, @from_init, @@lc_time_names"),
];

async fn init_connect_is_run_for_every_session(flavour: Flavour) -> Result<()> {
    let cluster = private(Options::new(Some(flavour))).await?;
    let servers = std::iter::once(&cluster.primary).chain(&cluster.replicas);
    for server in servers {
        let mut root = server.connect(ROOT).await?;
        let init = "SET sql_select_limit = 7, @from_init = 5, lc_time_names = ''de_DE''";
        root.query_drop(format!("SET GLOBAL init_connect = '{init}'")).await?;
    }
    let proxy = Proxy::start(&cluster, |_| {}).await?;
    let mut alone = Vec::new();
    let mut through = Vec::new();
    for _ in 0..2 {
        alone.push(Conn::new(cluster.primary.opts(APP).db_name(Some("app"))).await?);
        through.push(proxy.connect().await?);
    }
    let set: Option<(u64, u64)> = alone[0].query_first("SELECT @@sql_select_limit, @from_init").await?;
    ensure!(set == Some((7, 5)), "it was not run: {set:?}");
    for (who, statement) in SAID {
        let should: Vec<mysql_async::Row> = alone[who].query(statement).await?;
        let is: Vec<mysql_async::Row> = through[who].query(statement).await?;
        let values =
            |rows: Vec<mysql_async::Row>| -> Vec<_> { rows.into_iter().map(|row| row.unwrap()).collect() };
        let (should, is) = (values(should), values(is));
        ensure!(is == should, "{who}: {statement}: {is:?}, not {should:?}");
    }
    Ok(())
}
