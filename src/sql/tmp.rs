//! Stand-ins until the room is merged.
use super::*;
pub struct Judge;
impl Judge {
    pub fn judge(&self, _t: &[u8], _d: &Dialect, _s: Option<&str>, _c: &Catalog) -> Judged {
        unreachable!()
    }
    pub fn remember_write(&self, _t: &[u8], _d: &Dialect, _s: Option<&str>, _c: &Catalog) {
        unreachable!()
    }
}
pub struct Catalog;
pub fn judge_truncated(_t: &[u8], _d: &Dialect) -> Judged {
    unreachable!()
}
pub fn substitute_calls(_t: &[u8], _d: &Dialect, _v: &[(&str, &str)]) -> Option<Vec<u8>> {
    unreachable!()
}
