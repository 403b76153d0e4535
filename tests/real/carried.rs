//! What is carried from connection to connection, by the binary protocol too.

use anyhow::Result;
use mysql_async::prelude::Queryable;
use mysql_async::{ChangeUserOpts, Conn};
use pointsman::flavour::Flavour;
use pointsman::playground::{APP, ROOT};
use pointsman::sql::{PinCause, PinSet};
use pointsman::topology::Role;

use crate::clusters::{both, shared};
use crate::through::shared_proxy;

both![prepared_statements_read_and_write_user_variables, a_change_of_user_forgets_what_was_carried];

async fn prepared_statements_read_and_write_user_variables(flavour: Flavour) -> Result<()> {
    let proxy = shared_proxy(flavour).await?;
    let (mut one, mut other) = (proxy.connect().await?, proxy.connect().await?);
    one.query_drop("SET @v = 5").await?;
    other.query_drop("SET @v = 'text'").await?;
    let select = "SELECT CONCAT(@v), 'carried'";
    let read = |row: Option<(Option<String>, String)>| row.and_then(|(value, _)| value);
    for _ in 0..3 {
        assert_eq!(read(one.exec_first(select, ()).await?).as_deref(), Some("5"));
        assert_eq!(proxy.role(proxy.seen(&one).server), Role::Replica);
        assert_eq!(read(other.exec_first(select, ()).await?).as_deref(), Some("text"));
    }
    // A parameter is no literal: only the connection knows it.
    one.exec_drop("SET @v = ?", (7,)).await?;
    assert_eq!(read(one.exec_first(select, ()).await?).as_deref(), Some("7"));
    proxy.tied_by(one.id(), PinSet::of(PinCause::UserVariable)).await?;
    one.exec_drop("SET @v = 8", ()).await?;
    assert_eq!(read(one.exec_first(select, ()).await?).as_deref(), Some("8"));
    proxy.tied_by(one.id(), PinSet::EMPTY).await?;
    assert_eq!(read(other.exec_first(select, ()).await?).as_deref(), Some("text"));
    Ok(())
}

async fn a_change_of_user_forgets_what_was_carried(flavour: Flavour) -> Result<()> {
    let (cluster, proxy) = (shared(flavour).await?, shared_proxy(flavour).await?);
    let mut root = cluster.primary.connect(ROOT).await?;
    root.query_drop("CREATE ROLE carried_role").await?;
    root.query_drop(format!("GRANT carried_role TO {}", APP.user)).await?;
    cluster.wait_applied().await?;
    let mut conn: Conn = proxy.connect().await?;
    conn.query_drop("SET @v = 5").await?;
    conn.query_drop("PREPARE s FROM 'SELECT 1'").await?;
    conn.query_drop("SET ROLE carried_role").await?;
    let role: Option<String> = conn.query_first("SELECT CURRENT_ROLE()").await?;
    assert!(role.is_some_and(|role| role.contains("carried_role")));
    conn.change_user(ChangeUserOpts::new()).await?;
    let (variable, role): (Option<String>, Option<String>) =
        conn.query_first("SELECT @v, CURRENT_ROLE()").await?.expect("a row");
    assert_eq!(variable, None);
    assert!(role.is_none_or(|role| role == "NONE"));
    let refused = conn.query_drop("EXECUTE s").await.expect_err("of a session that is over");
    assert!(matches!(refused, mysql_async::Error::Server(error) if error.code == 1243));
    Ok(())
}
