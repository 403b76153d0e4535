//! `pointsman check FILE`.

use std::io::Write as _;

use super::Outcome;
use super::args::CheckArguments;
use crate::config::Config;

/// Complaints are the answer, so they go to standard output.
pub(super) fn check(arguments: &CheckArguments) -> anyhow::Result<Outcome> {
    let mut out = std::io::stdout().lock();
    match Config::load(&arguments.file) {
        Ok(config) => {
            let (file, servers) = (arguments.file.display(), config.cluster.servers.len());
            writeln!(out, "{file}: good, {servers} server{}", if servers == 1 { "" } else { "s" })?;
            Ok(Outcome::Success)
        }
        Err(complaints) => {
            writeln!(out, "{complaints}")?;
            Ok(Outcome::Negative)
        }
    }
}
