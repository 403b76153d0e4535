//! Which transactions each server is known to have, from probes and from its own answers.

use std::sync::{Arc, Mutex, PoisonError};

use crate::flavour::Flavour;
use crate::gtid::GtidSet;
use crate::topology::{Server, ServerId};

pub struct Positions {
    servers: Vec<Mutex<Position>>,
}

struct Position {
    /// The text of the probe that `set` was last read from.
    probed: Arc<str>,
    set: GtidSet,
}

impl Positions {
    pub fn new(servers: usize) -> Self {
        let unknown = || Mutex::new(Position { probed: "".into(), set: GtidSet::empty(Flavour::MySql) });
        Self { servers: (0..servers).map(|_| unknown()).collect() }
    }

    /// Whether a server is known to have all of `wanted`.
    pub(super) fn has(&self, server: &Server, wanted: &GtidSet) -> bool {
        let Some(position) = self.servers.get(usize::from(server.id.0)) else { return false };
        let mut position = position.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&position.probed, &server.gtid) {
            let flavour = server.version.map_or(Flavour::MySql, |version| version.flavour);
            position.probed = Arc::clone(&server.gtid);
            position.set = GtidSet::parse(flavour, &server.gtid).unwrap_or(GtidSet::empty(flavour));
        }
        position.set.contains(wanted)
    }

    /// A server has said that it has all of `these`.
    pub(super) fn learn(&self, server: ServerId, these: &GtidSet) {
        if let Some(position) = self.servers.get(usize::from(server.0)) {
            position.lock().unwrap_or_else(PoisonError::into_inner).set.add(these);
        }
    }
}
