//! `pointsman print-config`.

use std::io::{ErrorKind, Write as _};

use super::Outcome;
use crate::config;

pub(super) fn print_config() -> anyhow::Result<Outcome> {
    match std::io::stdout().write_all(config::print().as_bytes()) {
        // `pointsman print-config | head` is no failure.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(Outcome::Success),
    }
}
