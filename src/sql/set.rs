//! What SET sets: variables that can be replayed by value, and state that holds its connection.

use super::lex::TokenKind;
use super::proxy_variables;
use super::scan::Item;
use super::variables;
use super::{PinCause, PinSet};
use crate::flavour::Flavour;

/// Reads the tokens of SET behind its first word, as far as they stand in no parenthesis.
#[derive(Default)]
pub(super) struct SetScan {
    place: Place,
    /// GLOBAL holds for all later names without a scope of their own.
    scope: Scope,
    /// The scope of this one name, as in `@@global.x`.
    own_scope: Option<Scope>,
    name: String,
    pub(super) pins: PinSet,
    /// A variable of the proxy's was set.
    pub(super) proxys: bool,
    /// What the session is to be told of itself was set: `session_track_…`.
    pub(super) trackers: bool,
    /// Something of the session was set.
    pub(super) session: bool,
    /// What was set that is not of the session.
    pub(super) outside: Option<&'static str>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    /// Before a name.
    #[default]
    Start,
    /// In a name.
    Name,
    /// In a value; a comma ends it.
    Value,
    /// Behind TRANSACTION or ROLE: nothing else follows.
    Rest,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Scope {
    #[default]
    None,
    Session,
    Global,
}

impl SetScan {
    pub(super) fn expects_name(&self) -> bool {
        self.place == Place::Start
    }

    pub(super) fn token(&mut self, item: &Item<'_>, flavour: Flavour) {
        match self.place {
            Place::Start => self.start(item, flavour),
            Place::Name => self.name(item, flavour),
            Place::Value if item.kind == TokenKind::Comma => {
                self.place = Place::Start;
                self.own_scope = None;
            }
            Place::Value | Place::Rest => {}
        }
    }

    fn start(&mut self, item: &Item<'_>, flavour: Flavour) {
        match item.kind {
            TokenKind::UserVariable if proxy_variables::is_proxys(item.bytes) => {
                self.proxys = true;
                self.of_session();
            }
            TokenKind::UserVariable => self.pinned(PinCause::UserVariable),
            TokenKind::SystemVariable => {
                let name = String::from_utf8_lossy(&item.bytes[2..]).to_lowercase();
                self.own_scope = scope_of(name.as_bytes());
                self.named(name.replace('`', ""));
            }
            TokenKind::Word => self.start_word(item, flavour),
            TokenKind::Quoted => {
                self.named(String::from_utf8_lossy(item.bytes).replace(['`', '"'], "").to_lowercase());
            }
            _ => self.pinned(PinCause::SessionVariable),
        }
    }

    fn start_word(&mut self, item: &Item<'_>, flavour: Flavour) {
        let assigned = matches!(item.next, TokenKind::Operator | TokenKind::Assign | TokenKind::Dot);
        if !assigned && let Some(scope) = scope_of(item.word.get()) {
            self.scope = scope;
            return;
        }
        match item.word.get() {
            b"password" => self.elsewhere("SET PASSWORD"),
            _ if assigned => self.named(String::from_utf8_lossy(item.bytes).to_lowercase()),
            b"names" | b"character" | b"charset" | b"char" => self.of_session(),
            b"default" => self.elsewhere("SET DEFAULT ROLE"),
            b"role" => self.pinned(PinCause::Role),
            b"transaction" => self.transaction(),
            // MariaDB's variables of one statement: nothing stays.
            b"statement" => self.place = Place::Value,
            _ => self.pinned(PinCause::SessionVariable),
        }
        // Roles are a list in MySQL.
        let roles = flavour == Flavour::MySql && matches!(item.word.get(), b"role" | b"default");
        if roles || item.word.get() == b"transaction" {
            self.place = Place::Rest;
        }
    }

    fn transaction(&mut self) {
        match self.scope {
            Scope::None => self.pinned(PinCause::NextTransaction),
            Scope::Session => self.of_session(),
            Scope::Global => self.elsewhere("SET GLOBAL"),
        }
    }

    fn name(&mut self, item: &Item<'_>, flavour: Flavour) {
        match item.kind {
            TokenKind::Dot => {}
            TokenKind::Word | TokenKind::Quoted => {
                self.name = String::from_utf8_lossy(item.bytes).replace(['`', '"'], "").to_lowercase();
            }
            TokenKind::Assign | TokenKind::Operator => self.set(flavour),
            _ => self.pinned(PinCause::SessionVariable),
        }
    }

    fn set(&mut self, flavour: Flavour) {
        if self.own_scope.unwrap_or(self.scope) == Scope::Global {
            self.elsewhere("SET GLOBAL");
        } else if variables::is_replayable_variable(&self.name, flavour) {
            self.of_session();
        } else {
            self.trackers |= self.name.starts_with("session_track_");
            self.pinned(PinCause::SessionVariable);
        }
    }

    fn named(&mut self, name: String) {
        self.name = name;
        self.place = Place::Name;
    }

    fn pinned(&mut self, cause: PinCause) {
        self.pins.insert(cause);
        self.of_session();
    }

    fn of_session(&mut self) {
        self.session = true;
        self.place = Place::Value;
    }

    fn elsewhere(&mut self, what: &'static str) {
        self.outside = Some(what);
        self.place = Place::Value;
    }
}

fn scope_of(word: &[u8]) -> Option<Scope> {
    match word {
        b"global" | b"persist" | b"persist_only" => Some(Scope::Global),
        b"session" | b"local" => Some(Scope::Session),
        _ => None,
    }
}
