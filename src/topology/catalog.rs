//! What the primary's dictionary says that routing and login must know, as plain rows.

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::flavour::Version;

/// One reading of the dictionary. Parts that did not change are shared with the reading before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalog {
    /// `None` until it could be read once: then nothing is known of any function or view.
    pub rows: Option<Arc<CatalogRows>>,
    /// `None` until they could be read once: then every login must be verified by a server.
    pub accounts: Option<Arc<Accounts>>,
    pub defaults: Option<Arc<Defaults>>,
}

/// Stored routines and views.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CatalogRows {
    /// Moves whenever the rows differ from those before; verdicts cached under an older one are void.
    pub version: u64,
    pub routines: Vec<Routine>,
    pub views: Vec<View>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routine {
    pub schema: String,
    pub name: String,
    /// Else it is a procedure.
    pub is_function: bool,
    pub sql_data_access: SqlDataAccess,
}

/// What the author of a routine declared; the server does not enforce it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SqlDataAccess {
    NoSql,
    ContainsSql,
    ReadsSqlData,
    ModifiesSqlData,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    pub schema: String,
    pub name: String,
    /// The view's SELECT; empty where the control account may not see it.
    pub definition: String,
}

/// The database's users and what their passwords are verified against.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    /// Moves whenever the rows differ from those before.
    pub version: u64,
    pub rows: Vec<Account>,
}

/// One way of logging in. A MariaDB account with several plugins has one row for each.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    pub user: String,
    /// A pattern: `%`, `10.0.0.%`, `localhost`, …
    pub host: String,
    pub plugin: String,
    /// Bytes: the salt in it is not always text.
    pub authentication_string: Vec<u8>,
    /// A locked account's password is right but of no use.
    pub locked: bool,
    /// REQUIRE SSL, or more.
    pub requires_tls: bool,
}

/// What a session starts with when it sets nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defaults {
    pub version: Version,
    pub sql_mode: String,
    pub autocommit: bool,
    pub character_set: String,
    pub collation: String,
    /// The number of `collation_server`, which greetings name. `None`: it has none of its own.
    pub server_collation: Option<u16>,
    pub max_allowed_packet: u64,
    /// Run by the server at every login of an unprivileged account.
    pub init_connect: String,
    /// As in `READ-COMMITTED`.
    pub transaction_isolation: String,
    pub lower_case_table_names: u8,
}

impl SqlDataAccess {
    /// Reads `information_schema.ROUTINES.SQL_DATA_ACCESS`; an unknown word is the worst.
    pub fn parse(text: &str) -> Self {
        match text {
            "NO SQL" => SqlDataAccess::NoSql,
            "CONTAINS SQL" => SqlDataAccess::ContainsSql,
            "READS SQL DATA" => SqlDataAccess::ReadsSqlData,
            _ => SqlDataAccess::ModifiesSqlData,
        }
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{} by {}", self.user, self.host, self.plugin)
    }
}

impl Catalog {
    /// The catalog after a new reading: what differs is replaced and its version moved, what is the same stays
    /// shared, and what could not be read this time (`None`) is kept.
    pub fn after(
        &self,
        rows: Option<CatalogRows>,
        accounts: Option<Accounts>,
        defaults: Option<Defaults>,
    ) -> Catalog {
        let rows = rows.map(|rows| match &self.rows {
            Some(old) if old.routines == rows.routines && old.views == rows.views => Arc::clone(old),
            old => Arc::new(CatalogRows { version: 1 + old.as_ref().map_or(0, |old| old.version), ..rows }),
        });
        let accounts = accounts.map(|accounts| match &self.accounts {
            Some(old) if old.rows == accounts.rows => Arc::clone(old),
            old => Arc::new(Accounts { version: 1 + old.as_ref().map_or(0, |old| old.version), ..accounts }),
        });
        Catalog {
            rows: rows.or_else(|| self.rows.clone()),
            accounts: accounts.or_else(|| self.accounts.clone()),
            defaults: defaults.map(Arc::new).or_else(|| self.defaults.clone()),
        }
    }
}

/// Opens the window with an empty catalog.
pub fn channel() -> (CatalogPublisher, CatalogReader) {
    let current = Arc::new(ArcSwap::from_pointee(Catalog::default()));
    let (changed, observed) = watch::channel(());
    (
        CatalogPublisher { current: Arc::clone(&current), changed },
        CatalogReader { current, changed: observed },
    )
}

/// The only writer. Not `Clone`.
pub struct CatalogPublisher {
    current: Arc<ArcSwap<Catalog>>,
    changed: watch::Sender<()>,
}

impl CatalogPublisher {
    pub fn load(&self) -> Arc<Catalog> {
        self.current.load_full()
    }

    pub fn publish(&mut self, catalog: Catalog) {
        self.current.store(Arc::new(catalog));
        self.changed.send_replace(());
    }
}

#[derive(Clone)]
pub struct CatalogReader {
    current: Arc<ArcSwap<Catalog>>,
    changed: watch::Receiver<()>,
}

impl CatalogReader {
    /// The catalog of this moment; wait-free.
    pub fn load(&self) -> arc_swap::Guard<Arc<Catalog>> {
        self.current.load()
    }

    /// Returns at the first publication after the last call of this method on this reader.
    /// Waits for ever once the publisher is gone.
    pub async fn changed(&mut self) {
        if self.changed.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
