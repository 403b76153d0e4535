//! `pointsman explain`.

use super::Outcome;
use super::args::ExplainArguments;

pub(super) fn explain(_arguments: &ExplainArguments) -> anyhow::Result<Outcome> {
    anyhow::bail!("explain waits for the sql room");
}
