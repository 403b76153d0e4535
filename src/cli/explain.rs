//! `pointsman explain`.

use std::io::{Read as _, Write as _};

use anyhow::Context as _;

use super::Outcome;
use super::args::{ExplainArguments, FlavourName};
use crate::flavour::{Flavour, Version};
use crate::sql::{self, Dialect, ExplainOptions};
use crate::{app, control};

/// What is assumed of servers that are not asked: the latest of their family.
const MYSQL_ASSUMED: &str = "9.7.0";
const MARIADB_ASSUMED: &str = "11.8.0-MariaDB";

pub(super) fn explain(arguments: &ExplainArguments) -> anyhow::Result<Outcome> {
    let (catalog, server) = match &arguments.catalog_from {
        Some(dsn) => read_catalog(dsn)?,
        None => (sql::Catalog::default(), None),
    };
    let options = ExplainOptions {
        dialect: dialect(arguments.flavour, server),
        schema: arguments.catalog_from.as_deref().and_then(schema_of),
        lines: arguments.lines,
        json: arguments.json,
    };
    let input = match &arguments.sql {
        Some(sql) => sql.clone().into_bytes(),
        None => {
            let mut input = Vec::new();
            std::io::stdin().read_to_end(&mut input).context("standard input")?;
            input
        }
    };
    std::io::stdout().write_all(sql::explain(&input, &options, &catalog).as_bytes())?;
    Ok(Outcome::Success)
}

fn read_catalog(dsn: &str) -> anyhow::Result<(sql::Catalog, Option<Version>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let reading = runtime
        .block_on(control::read_catalog_once(dsn))
        // The DSN holds a password, so it is not repeated.
        .context("cannot read the catalog from the server of --catalog-from")?;
    let version = reading.defaults.as_ref().map(|defaults| defaults.version);
    Ok((app::catalog::for_judges(&reading), version))
}

/// The server's own version, unless another family is asked for.
fn dialect(asked: Option<FlavourName>, server: Option<Version>) -> Dialect {
    let flavour = asked.map(Flavour::from).or(server.map(|version| version.flavour));
    let assumed = match flavour.unwrap_or(Flavour::MySql) {
        Flavour::MySql => Version::parse(MYSQL_ASSUMED),
        Flavour::MariaDb => Version::parse(MARIADB_ASSUMED),
    };
    let version = server.filter(|version| version.flavour == assumed.flavour).unwrap_or(assumed);
    Dialect::plain(version)
}

/// The schema named in `mysql://user:password@host:port/schema?options`.
fn schema_of(dsn: &str) -> Option<String> {
    let (_, rest) = dsn.split_once("://")?;
    let (_, path) = rest.rsplit_once('@').unwrap_or(("", rest)).1.split_once('/')?;
    let schema = path.split('?').next().unwrap_or_default();
    (!schema.is_empty()).then(|| schema.to_owned())
}
