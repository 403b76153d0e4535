//! A pool before a real server.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use mysql_async::prelude::Queryable;
use pointsman::backend::{
    BackendTlsSetup, Credential, Key, Opening, Pool, SessionSetup, Settings, Target, UserVariables, Wanted,
};
use pointsman::config::Config;
use pointsman::flavour::{Flavour, Version};
use pointsman::playground::{APP, Cluster};
use pointsman::topology::ServerId;
use pointsman::wire::auth::Password;

use crate::clusters::{both, schema, shared};

both![a_variable_the_server_lacks_is_not_tracked, a_reset_keeps_the_character_set_of_the_schema];

fn tracked(_: Version) -> &'static [&'static str] {
    &["autocommit", "gone_in_this_version", "sql_mode", "gone_as_well"]
}

/// MariaDB refuses the whole list for one name it does not know.
async fn a_variable_the_server_lacks_is_not_tracked(flavour: Flavour) -> Result<()> {
    let cluster = shared(flavour).await?;
    let (pool, wanted) = pool(cluster, None)?;
    // New, and after a reset that switches the trackers on again.
    for _ in 0..2 {
        let mut lease = pool.checkout(&wanted).await?;
        assert_eq!(lease.ask_number(b"SELECT @@session_track_state_change").await?, 1);
        lease.release_after_reset();
    }
    Ok(())
}

/// The server gives it its own default, and LOAD DATA reads files by it.
async fn a_reset_keeps_the_character_set_of_the_schema(flavour: Flavour) -> Result<()> {
    let cluster = shared(flavour).await?;
    schema(cluster, "pool_reset").await?.query_drop("ALTER DATABASE pool_reset CHARACTER SET latin2").await?;
    let (pool, wanted) = pool(cluster, Some("pool_reset"))?;
    for _ in 0..2 {
        let mut lease = pool.checkout(&wanted).await?;
        let is_latin2 = lease.ask_number(b"SELECT @@character_set_database = 'latin2'").await?;
        assert_eq!(is_latin2, 1);
        lease.release_after_reset();
    }
    Ok(())
}

/// A pool of one connection before the primary, and what a session of APP asks of it.
fn pool(cluster: &Cluster, schema: Option<&str>) -> Result<(Arc<Pool>, Wanted)> {
    let mut config = Config::default();
    config.pool.max_per_server = 1;
    let target = Target {
        address: cluster.primary.address().into(),
        tls: Arc::new(BackendTlsSetup::load(&config.cluster.tls)?),
        connect_timeout: Duration::from_secs(10),
        compression: None,
        proxy_protocol: false,
    };
    let pool = Pool::new(ServerId(0), target, config.pool, SessionSetup { tracked });
    let credential = Credential { user: APP.user.to_owned(), password: Password::clear(APP.password) };
    let schema: Option<Arc<str>> = schema.map(Arc::from);
    let wanted = Wanted {
        key: Key { user: APP.user.into(), profile: 0, collation: 45, has_schema: schema.is_some() },
        settings: Settings::with_schema(schema.clone()),
        user_variables: UserVariables::default(),
        role: None,
        opening: Opening { credential: Arc::new(credential), schema },
    };
    Ok((pool, wanted))
}
