//! The second judge: a full parser's view of what the first holds to be read-only.

use super::{Catalog, Dialect, Kind};

/// What the parser sees that is not read-only; `None` also where it cannot parse the text.
pub(super) fn objection(
    _digest: &[u8],
    _kind: &Kind,
    _dialect: &Dialect,
    _schema: Option<&str>,
    _catalog: &Catalog,
) -> Option<String> {
    None
}
