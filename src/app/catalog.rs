//! Turns the rows that the control line reads into what the judges ask.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::backend::Pool;
use crate::flavour::Version;
use crate::sql::{self, DataAccess, Dialect, RoutineKind};
use crate::topology::catalog::{Catalog, CatalogReader, SqlDataAccess};

/// Keeps the judges' catalog, and what pools must know of the servers' defaults, true to the last reading.
pub(super) async fn follow(
    mut dictionary: CatalogReader,
    judges: Arc<ArcSwap<sql::Catalog>>,
    pools: Vec<Arc<Pool>>,
) {
    let mut version = 0;
    loop {
        let reading = Arc::clone(&dictionary.load());
        if let Some(rows) = &reading.rows
            && rows.version != version
        {
            version = rows.version;
            judges.store(Arc::new(for_judges(&reading)));
        }
        if let Some(defaults) = &reading.defaults {
            for pool in &pools {
                pool.expect_init_connect(!defaults.init_connect.is_empty());
            }
        }
        dictionary.changed().await;
    }
}

/// A reading as the judges want it.
pub(crate) fn for_judges(reading: &Catalog) -> sql::Catalog {
    let Some(rows) = &reading.rows else { return sql::Catalog::default() };
    let routines: Vec<sql::Routine> = rows
        .routines
        .iter()
        .map(|routine| sql::Routine {
            schema: routine.schema.clone(),
            name: routine.name.clone(),
            kind: if routine.is_function { RoutineKind::Function } else { RoutineKind::Procedure },
            data_access: match routine.sql_data_access {
                SqlDataAccess::NoSql => DataAccess::NoSql,
                SqlDataAccess::ContainsSql => DataAccess::ContainsSql,
                SqlDataAccess::ReadsSqlData => DataAccess::ReadsSqlData,
                SqlDataAccess::ModifiesSqlData => DataAccess::ModifiesSqlData,
            },
        })
        .collect();
    let views: Vec<sql::View> = rows
        .views
        .iter()
        .map(|view| sql::View {
            schema: view.schema.clone(),
            name: view.name.clone(),
            definition: view.definition.clone(),
        })
        .collect();
    // The server prints definitions in one fixed form, whatever the mode they were written in.
    let dialect =
        Dialect::plain(reading.defaults.as_ref().map_or(Version::parse(""), |defaults| defaults.version));
    sql::Catalog::new(rows.version, &routines, &views, &dialect)
}
