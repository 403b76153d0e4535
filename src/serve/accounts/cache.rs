//! Passwords that a server has verified not long ago.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::backend::Credential;
use crate::wire::auth::Password;

/// Users whose password is remembered; the one verified longest ago makes room.
pub const CREDENTIALS_MAX: usize = 10_000;

/// Schemas remembered for one user.
const SCHEMAS_MAX: usize = 16;

/// After this time without a login that a server verified, a password is forgotten.
const KEPT_FOR: Duration = Duration::from_secs(24 * 3600);
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// Verified passwords by user name.
pub struct CredentialCache {
    remembered: Mutex<Remembered>,
    trusted_for: Duration,
    len_max: usize,
}

#[derive(Default)]
struct Remembered {
    entries: HashMap<String, Entry>,
    /// When those too old were last looked for.
    swept: Option<Instant>,
}

struct Entry {
    credential: Arc<Credential>,
    /// Of the account when the password was verified.
    stamp: Option<u64>,
    verified: Instant,
    /// Schemas that a server let this user begin in.
    schemas: Vec<Box<str>>,
}

/// Whether a remembered password will do without asking a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    Trusted,
    /// A server has not been asked for longer than `listen.auth_cache`.
    Expired,
    /// The account is another than at the time.
    AccountChanged,
    /// The password will do, but whether the user may begin in this schema is not known.
    SchemaUnseen,
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Trust::Trusted => "verified not long ago",
            Trust::Expired => "verified too long ago",
            Trust::AccountChanged => "the account has changed since it was verified",
            Trust::SchemaUnseen => "not verified with this schema",
        })
    }
}

impl CredentialCache {
    pub fn new(trusted_for: Duration) -> Self {
        Self::with_limit(trusted_for, CREDENTIALS_MAX)
    }

    /// As `new`, for other limits than the named one.
    pub fn with_limit(trusted_for: Duration, len_max: usize) -> Self {
        Self { remembered: Mutex::default(), trusted_for, len_max }
    }

    pub fn len(&self) -> usize {
        self.lock().entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The password last verified for `user`, and how far it goes for a session that begins in `schema`.
    pub fn look(
        &self,
        user: &str,
        schema: Option<&str>,
        stamp: Option<u64>,
        now: Instant,
    ) -> Option<(Arc<Credential>, Trust)> {
        let remembered = self.lock();
        let entry = remembered.entries.get(user)?;
        let age = now.saturating_duration_since(entry.verified);
        if age >= KEPT_FOR {
            return None;
        }
        let trust = if entry.stamp != stamp {
            Trust::AccountChanged
        } else if age >= self.trusted_for {
            Trust::Expired
        } else if schema.is_some_and(|schema| !entry.has_seen(schema)) {
            Trust::SchemaUnseen
        } else {
            Trust::Trusted
        };
        Some((Arc::clone(&entry.credential), trust))
    }

    /// Remembers a password that a server has verified. `stamp` is the account's from before it was asked.
    pub fn learn(
        &self,
        credential: &Arc<Credential>,
        schema: Option<&str>,
        stamp: Option<u64>,
        now: Instant,
    ) {
        let mut remembered = self.lock();
        remembered.sweep(now);
        let entries = &mut remembered.entries;
        if !entries.contains_key(&credential.user) && entries.len() >= self.len_max {
            remove_oldest(entries);
        }
        match entries.get_mut(&credential.user) {
            Some(entry) if entry.stamp == stamp && entry.credential.password.same(&credential.password) => {
                entry.verified = now;
                if matches!(credential.password, Password::Clear(_)) {
                    entry.credential = Arc::clone(credential);
                }
                entry.see(schema);
            }
            _ => {
                let credential = Arc::clone(credential);
                let mut entry = Entry { credential, stamp, verified: now, schemas: Vec::new() };
                entry.see(schema);
                entries.insert(entry.credential.user.clone(), entry);
            }
        }
    }

    /// To be called when a server refuses the password. One verified in the meantime stays.
    pub fn forget(&self, refused: &Credential) {
        let mut remembered = self.lock();
        let entry = remembered.entries.get(&refused.user);
        if entry.is_some_and(|entry| entry.credential.password.same(&refused.password)) {
            remembered.entries.remove(&refused.user);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Remembered> {
        // Every change is a single insertion or removal: a panic elsewhere leaves nothing half done.
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn has_seen(&self, schema: &str) -> bool {
        self.schemas.iter().any(|seen| **seen == *schema)
    }

    fn see(&mut self, schema: Option<&str>) {
        if let Some(schema) = schema
            && !self.has_seen(schema)
        {
            self.schemas.truncate(SCHEMAS_MAX - 1);
            self.schemas.insert(0, schema.into());
        }
    }
}

impl Remembered {
    fn sweep(&mut self, now: Instant) {
        if self.swept.is_some_and(|swept| now.saturating_duration_since(swept) < SWEEP_INTERVAL) {
            return;
        }
        self.swept = Some(now);
        self.entries.retain(|_, entry| now.saturating_duration_since(entry.verified) < KEPT_FOR);
    }
}

fn remove_oldest(entries: &mut HashMap<String, Entry>) {
    let oldest = entries.iter().min_by_key(|(_, entry)| entry.verified).map(|(user, _)| user.clone());
    if let Some(user) = oldest {
        entries.remove(&user);
    }
}
