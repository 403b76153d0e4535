//! A pool before a real server.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use pointsman::backend::{
    BackendTlsSetup, Credential, Key, Opening, Pool, SessionSetup, Settings, Target, UserVariables, Wanted,
};
use pointsman::config::Config;
use pointsman::flavour::{Flavour, Version};
use pointsman::playground::APP;
use pointsman::topology::ServerId;
use pointsman::wire::auth::Password;

use crate::clusters::{both, shared};

both![a_variable_the_server_lacks_is_not_tracked];

fn tracked(_: Version) -> &'static [&'static str] {
    &["autocommit", "gone_in_this_version", "sql_mode", "gone_as_well"]
}

/// MariaDB refuses the whole list for one name it does not know.
async fn a_variable_the_server_lacks_is_not_tracked(flavour: Flavour) -> Result<()> {
    let cluster = shared(flavour).await?;
    let config = Config::default();
    let target = Target {
        address: cluster.primary.address().into(),
        tls: Arc::new(BackendTlsSetup::load(&config.cluster.tls)?),
        connect_timeout: Duration::from_secs(10),
        compression: None,
        proxy_protocol: false,
    };
    let pool = Pool::new(ServerId(0), target, config.pool, SessionSetup { tracked });
    let credential = Credential { user: APP.user.to_owned(), password: Password::clear(APP.password) };
    let wanted = Wanted {
        key: Key { user: APP.user.into(), profile: 0, collation: 45, has_schema: false },
        settings: Settings::default(),
        user_variables: UserVariables::default(),
        role: None,
        opening: Opening { credential: Arc::new(credential), schema: None },
    };
    // New, and after a reset that switches the trackers on again.
    for _ in 0..2 {
        let mut lease = pool.checkout(&wanted).await?;
        assert_eq!(lease.ask_number(b"SELECT @@session_track_state_change").await?, 1);
        lease.forget_diagnostics().await?;
        assert_eq!(lease.ask_number(b"SELECT @@session_track_state_change").await?, 1);
        lease.release_clean();
    }
    Ok(())
}
