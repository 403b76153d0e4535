//! Which transactions each server is known to have, from probes and from its own answers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::flavour::Flavour;
use crate::gtid::GtidSet;
use crate::topology::Server;

pub struct Positions {
    servers: Vec<Mutex<Position>>,
}

struct Position {
    /// The text of the probe that `set` was last read from.
    probed: Arc<str>,
    set: GtidSet,
    /// It was waited for in vain, and no probe has brought news of it since.
    late: bool,
}

/// Gaps between what a server is known to have; beyond that, the next probe tells.
const GAPS_MAX: usize = 256;

impl Positions {
    pub fn new(servers: usize) -> Self {
        let unknown =
            || Mutex::new(Position { probed: "".into(), set: GtidSet::empty(Flavour::MySql), late: false });
        Self { servers: (0..servers).map(|_| unknown()).collect() }
    }

    /// Whether a server is known to have all of `wanted`.
    pub(super) fn has(&self, server: &Server, wanted: &GtidSet) -> bool {
        self.of(server).is_some_and(|position| position.set.contains(wanted))
    }

    /// Whether waiting for a server is likely to be in vain again.
    pub(super) fn is_late(&self, server: &Server) -> bool {
        self.of(server).is_some_and(|position| position.late)
    }

    /// A server has said that it has all of `these`.
    pub(super) fn learn(&self, server: &Server, these: &GtidSet) {
        if let Some(mut position) = self.of(server) {
            position.late = false;
            if position.set.gaps() < GAPS_MAX {
                position.set.add(these);
            }
        }
    }

    /// A server was waited for in vain.
    pub(super) fn was_late(&self, server: &Server) {
        if let Some(mut position) = self.of(server) {
            position.late = true;
        }
    }

    /// Adds what a server is known to have to a set.
    pub(super) fn add_to(&self, server: &Server, set: &mut GtidSet) {
        if let Some(position) = self.of(server) {
            set.add(&position.set);
        }
    }

    /// Leaves of a set what a server is known to have.
    pub(super) fn keep_of(&self, server: &Server, set: &GtidSet) -> GtidSet {
        let known = self.of(server);
        known.map_or_else(|| set.clone(), |position| set.intersection(&position.set))
    }

    fn of(&self, server: &Server) -> Option<MutexGuard<'_, Position>> {
        let position = self.servers.get(usize::from(server.id.0))?;
        let mut position = position.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&position.probed, &server.gtid) {
            let flavour = server.version.map_or(Flavour::MySql, |version| version.flavour);
            let set = GtidSet::parse(flavour, &server.gtid).unwrap_or(GtidSet::empty(flavour));
            // The same words again are no news.
            let late = position.late && position.probed == server.gtid;
            *position = Position { probed: Arc::clone(&server.gtid), set, late };
        }
        Some(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flavour::Version;
    use crate::topology::{Role, ServerId, Standing};

    fn server(gtid: &str) -> Server {
        Server {
            id: ServerId(0),
            name: "r".into(),
            address: "r:1".into(),
            role: Role::Replica,
            standing: Standing::Serving,
            lag: None,
            weight: 1,
            version: Some(Version::parse("10.11.1-MariaDB")),
            version_text: "10.11.1-MariaDB".into(),
            gtid: gtid.into(),
        }
    }

    #[test]
    fn a_server_is_late_until_there_is_news_of_it() {
        let positions = Positions::new(1);
        let at = |text| GtidSet::parse(Flavour::MariaDb, text).expect("a position");
        let probed = server("0-1-5");
        assert!(positions.has(&probed, &at("0-1-5")) && !positions.has(&probed, &at("0-1-6")));
        positions.was_late(&probed);
        assert!(positions.is_late(&probed));
        assert!(positions.is_late(&server("0-1-5")), "another probe that says the same is no news");
        assert!(!positions.is_late(&server("0-1-6")), "this is");
        let probed = server("0-1-6");
        positions.was_late(&probed);
        positions.learn(&probed, &at("0-1-9"));
        assert!(!positions.is_late(&probed) && positions.has(&probed, &at("0-1-8")));
        assert_eq!(positions.keep_of(&probed, &at("0-1-11,7-1-1")), at("0-1-9"));
        assert!(!positions.has(&server("0-1-7"), &at("0-1-8")), "a probe has the last word");
    }
}
