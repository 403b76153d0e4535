//! What a read must have seen, wherever it runs.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// Whatever the replica has.
    Eventual,
    /// All that its own session has written.
    Session,
    /// All that was acknowledged through this proxy, to any session, before the read began.
    Global,
}

impl Consistency {
    pub const ALL: [Consistency; 3] = [Consistency::Session, Consistency::Global, Consistency::Eventual];

    /// The level of that name, in any case of letters.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name().eq_ignore_ascii_case(name))
    }

    pub const fn name(self) -> &'static str {
        match self {
            Consistency::Eventual => "eventual",
            Consistency::Session => "session",
            Consistency::Global => "global",
        }
    }
}

impl fmt::Display for Consistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
