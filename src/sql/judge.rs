//! The bench: both judges, and the verdicts they have given before.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::Arc;

use quick_cache::Equivalent;
use quick_cache::sync::Cache;

use super::classify::{self, Verdict};
use super::digest::{DIGEST_READ_MAX, Digest};
use super::hint::{self, Hints};
use super::literals;
use super::parse;
use super::{Access, Catalog, Dialect, Judged, Statement, WriteBecause};

/// Digests longer than this are judged each time.
const DIGEST_CACHED_MAX: usize = 4 * 1024;

/// Judges statements and remembers verdicts by digest. Shared by all sessions.
pub struct Judge {
    verdicts: Cache<Key, Arc<Statement>>,
    /// Hashes of digests that a replica refused. A collision makes a write of a read, which is the safe side.
    learned: Cache<u64, ()>,
    hasher: RandomState,
}

/// All that a verdict depends on.
struct Key {
    digest: Box<[u8]>,
    schema: Box<str>,
    dialect: Dialect,
    catalog: u64,
}

struct KeyRef<'a> {
    digest: &'a [u8],
    schema: &'a str,
    dialect: &'a Dialect,
    catalog: u64,
}

impl Judge {
    /// Remembers about `capacity` verdicts; about 400 bytes each for digests of ordinary length.
    pub fn new(capacity: usize) -> Self {
        Self { verdicts: Cache::new(capacity), learned: Cache::new(capacity), hasher: RandomState::new() }
    }

    /// What a text is. A verdict given before costs the reading of the text and a look-up, and allocates
    /// nothing for digests up to 768 bytes.
    pub fn judge(&self, text: &[u8], dialect: &Dialect, schema: Option<&str>, catalog: &Catalog) -> Judged {
        let mut digest = Digest::empty();
        digest.read(text, dialect);
        let Hints { route: hint, level: consistency } = hint::leading(text, dialect);
        let key = KeyRef::new(&digest, dialect, schema, catalog);
        let cacheable = digest.complete && !digest.odd && digest.bytes().len() <= DIGEST_CACHED_MAX;
        if cacheable && let Some(statement) = self.verdicts.get(&key) {
            return Judged { statement, hint, consistency };
        }
        let mut verdict = consider(text, &digest, dialect, schema, catalog);
        if verdict.access == Access::Read && self.learned.get(&self.hash(&digest)).is_some() {
            verdict.access = Access::Write(WriteBecause::Learned);
        }
        let depends_on_literals = literals::refine(&mut verdict, text, dialect);
        let statement = Arc::new(statement(verdict, &digest));
        if cacheable && !depends_on_literals {
            self.verdicts.insert(key.to_owned(), statement.clone());
        }
        Judged { statement, hint, consistency }
    }

    /// Judges a statement by its beginning, where the rest is longer than may be buffered.
    pub fn judge_truncated(
        &self,
        prefix: &[u8],
        dialect: &Dialect,
        schema: Option<&str>,
        catalog: &Catalog,
    ) -> Judged {
        let mut digest = Digest::empty();
        digest.read(prefix, dialect);
        let mut verdict = consider(prefix, &digest, dialect, schema, catalog);
        verdict.access = Access::Write(WriteBecause::TooLong);
        let Hints { route: hint, level: consistency } = hint::leading(prefix, dialect);
        Judged { statement: Arc::new(statement(verdict, &digest)), hint, consistency }
    }

    /// A replica refused this text as a write: from now on it is one, in every schema.
    pub fn remember_write(&self, text: &[u8], dialect: &Dialect) {
        let mut digest = Digest::empty();
        digest.read(text, dialect);
        self.learned.insert(self.hash(&digest), ());
        self.verdicts.retain(|key, _| *key.digest != *digest.bytes());
    }

    fn hash(&self, digest: &Digest) -> u64 {
        self.hasher.hash_one(digest.bytes())
    }
}

/// Asks the judges. The first judges the digest itself, so that what is remembered by digest cannot depend on
/// anything else; only where the digest is too long does it judge the text.
fn consider(
    text: &[u8],
    digest: &Digest,
    dialect: &Dialect,
    schema: Option<&str>,
    catalog: &Catalog,
) -> Verdict {
    let readable = if digest.complete { digest.bytes() } else { text };
    let mut verdict = classify::classify(readable, dialect, schema, catalog);
    if digest.odd {
        verdict.access = Access::Write(WriteBecause::Malformed);
    }
    if verdict.access == Access::Read
        && digest.complete
        && let Some(seen) = parse::objection(digest.bytes(), &verdict.kind, dialect, schema, catalog)
    {
        verdict.access = Access::Write(WriteBecause::JudgesDisagree(seen.into()));
    }
    verdict
}

fn statement(verdict: Verdict, digest: &Digest) -> Statement {
    let bytes = digest.bytes();
    let shown = &bytes[..bytes.len().min(DIGEST_READ_MAX)];
    let mut text = String::from_utf8_lossy(shown).into_owned();
    if !digest.complete {
        text.truncate(text.floor_char_boundary(DIGEST_CACHED_MAX));
        text.push('…');
    }
    let Verdict { kind, access, pins, unpins, needs, effect } = verdict;
    Statement { kind, access, pins, unpins, needs, effect, digest: text.into() }
}

impl<'a> KeyRef<'a> {
    /// Without a catalog no verdict depends on the schema.
    fn new(digest: &'a Digest, dialect: &'a Dialect, schema: Option<&'a str>, catalog: &Catalog) -> Self {
        let schema = if catalog.version() == 0 { "" } else { schema.unwrap_or("") };
        Self { digest: digest.bytes(), schema, dialect, catalog: catalog.version() }
    }

    fn to_owned(&self) -> Key {
        Key {
            digest: self.digest.into(),
            schema: self.schema.into(),
            dialect: *self.dialect,
            catalog: self.catalog,
        }
    }
}

impl Hash for KeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
        self.schema.hash(state);
        self.catalog.hash(state);
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Key { digest, schema, dialect, catalog } = self;
        KeyRef { digest, schema, dialect, catalog: *catalog }.hash(state);
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        let Key { digest, schema, dialect, catalog } = self;
        KeyRef { digest, schema, dialect, catalog: *catalog }.equivalent(other)
    }
}

impl Eq for Key {}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self.digest == *key.digest
            && *self.schema == *key.schema
            && *self.dialect == key.dialect
            && self.catalog == key.catalog
    }
}
