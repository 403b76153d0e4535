//! How long a verified password is trusted, and what the accounts table says by name.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Account, CredentialCache, Trust, from_catalog};
use crate::backend::Credential;
use crate::topology::catalog::{self, Accounts, Catalog};
use crate::wire::auth::Password;

const TRUSTED_FOR: Duration = Duration::from_secs(300);

fn credential(user: &str, password: &str) -> Arc<Credential> {
    Arc::new(Credential { user: user.to_owned(), password: Password::clear(password) })
}

#[test]
fn trust_ends_with_time_account_and_schema() {
    let now = Instant::now();
    let cache = CredentialCache::new(TRUSTED_FOR);
    cache.learn(&credential("app", "secret"), Some("shop"), Some(1), now);
    // user, schema, stamp, seconds later, expected
    let cases = [
        ("app", None, Some(1), 0, Some(Trust::Trusted)),
        ("app", Some("shop"), Some(1), 299, Some(Trust::Trusted)),
        ("app", Some("other"), Some(1), 0, Some(Trust::SchemaUnseen)),
        ("app", None, Some(1), 300, Some(Trust::Expired)),
        ("app", None, Some(2), 0, Some(Trust::AccountChanged)),
        ("app", None, None, 0, Some(Trust::AccountChanged)),
        ("app", None, Some(1), 24 * 3600, None),
        ("nobody", None, None, 0, None),
    ];
    for (user, schema, stamp, later, expected) in cases {
        let found = cache.look(user, schema, stamp, now + Duration::from_secs(later));
        assert_eq!(found.map(|(_, trust)| trust), expected, "{user} {schema:?} {stamp:?} {later} s");
    }
}

#[test]
fn another_password_forgets_the_schemas_of_the_first() {
    let now = Instant::now();
    let cache = CredentialCache::new(TRUSTED_FOR);
    let trust = |schema| cache.look("app", Some(schema), None, now).map(|(_, trust)| trust);
    cache.learn(&credential("app", "old"), Some("shop"), None, now);
    cache.learn(&credential("app", "old"), Some("blog"), None, now);
    assert_eq!((trust("shop"), trust("blog")), (Some(Trust::Trusted), Some(Trust::Trusted)));
    cache.learn(&credential("app", "new"), Some("blog"), None, now);
    assert_eq!((trust("shop"), trust("blog")), (Some(Trust::SchemaUnseen), Some(Trust::Trusted)));
}

#[test]
fn a_clear_password_is_kept_over_its_hash() {
    let now = Instant::now();
    let cache = CredentialCache::new(TRUSTED_FOR);
    // SHA1("secret")
    let hash = *b"\xe5\xe9\xfa\x1b\xa3\x1e\xcd\x1a\xe8\x4f\x75\xca\xaa\x47\x4f\x3a\x66\x3f\x05\xf4";
    let hashed = Credential { user: "app".to_owned(), password: Password::NativeHash(hash.into()) };
    let is_clear = || {
        let (credential, _) = cache.look("app", None, None, now).expect("a remembered password");
        matches!(credential.password, Password::Clear(_))
    };
    cache.learn(&Arc::new(hashed.clone()), None, None, now);
    assert!(!is_clear());
    cache.learn(&credential("app", "secret"), None, None, now);
    assert!(is_clear());
    cache.learn(&Arc::new(hashed), None, None, now);
    assert!(is_clear());
}

#[test]
fn only_the_refused_password_is_forgotten() {
    let now = Instant::now();
    let cache = CredentialCache::new(TRUSTED_FOR);
    cache.learn(&credential("app", "right"), None, None, now);
    cache.forget(&credential("app", "guess"));
    assert_eq!(cache.len(), 1);
    cache.forget(&credential("app", "right"));
    assert!(cache.is_empty());
}

#[test]
fn the_oldest_makes_room_and_the_forgotten_are_swept() {
    let now = Instant::now();
    let cache = CredentialCache::with_limit(TRUSTED_FOR, 2);
    for (user, later) in [("a", 2), ("b", 1), ("c", 3)] {
        cache.learn(&credential(user, "x"), None, None, now + Duration::from_secs(later));
    }
    let known = |user| cache.look(user, None, None, now).is_some();
    assert_eq!((known("a"), known("b"), known("c")), (true, false, true));
    cache.learn(&credential("d", "x"), None, None, now + Duration::from_secs(2 * 24 * 3600));
    assert_eq!(cache.len(), 1);
}

fn row(user: &str, host: &str, plugin: &str, hash: &str) -> catalog::Account {
    catalog::Account {
        user: user.to_owned(),
        host: host.to_owned(),
        plugin: plugin.to_owned(),
        authentication_string: hash.as_bytes().to_vec(),
        locked: false,
    }
}

/// What a lookup finds in a table of these rows.
fn look(rows: Vec<catalog::Account>, user: &str) -> Option<Account> {
    let (mut publisher, reader) = catalog::channel();
    let lookup = from_catalog(reader);
    assert_eq!(lookup(user), None, "before the table was read");
    let accounts = Some(Arc::new(Accounts { version: 1, rows }));
    publisher.publish(Catalog { accounts, ..Catalog::default() });
    lookup(user)
}

#[test]
fn hashes_of_the_native_plugin_are_read_and_no_others() {
    // PASSWORD('secret')
    const HASH: &str = "*14E65567ABDB5135D0CFD9A70B3032C179A49EE7";
    let expected = [
        0x14, 0xE6, 0x55, 0x67, 0xAB, 0xDB, 0x51, 0x35, 0xD0, 0xCF, 0xD9, 0xA7, 0x0B, 0x30, 0x32, 0xC1, 0x79,
        0xA4, 0x9E, 0xE7,
    ];
    let cases = [
        ("mysql_native_password", HASH, vec![expected]),
        ("mysql_native_password", "", vec![]),
        ("mysql_native_password", "*14E65567", vec![]),
        ("mysql_native_password", "*+4E65567ABDB5135D0CFD9A70B3032C179A49EE7", vec![]),
        ("mysql_native_password", "*é4E65567ABDB5135D0CFD9A70B3032C179A49EE", vec![]),
        ("mysql_native_password", "6f8c114b58f2ce9e", vec![]),
        ("caching_sha2_password", HASH, vec![]),
        ("ed25519", HASH, vec![]),
    ];
    for (plugin, hash, expected) in cases {
        let found = look(vec![row("app", "%", plugin, hash)], "app").expect("an account");
        assert_eq!(found.native_hashes, expected, "{plugin} {hash}");
    }
}

#[test]
fn the_stamp_moves_with_the_accounts_of_the_name() {
    let base = || vec![row("app", "%", "p", "1"), row("app", "10.%", "p", "2"), row("other", "%", "p", "3")];
    let stamp = |rows| look(rows, "app").map(|account| account.stamp);
    let before = stamp(base());
    let mut turned = base();
    turned.reverse();
    assert_eq!(stamp(turned), before, "the order of rows");
    let change = |change: fn(&mut Vec<catalog::Account>)| {
        let mut rows = base();
        change(&mut rows);
        stamp(rows)
    };
    assert_eq!(change(|rows| rows[2].plugin = "q".to_owned()), before, "another user");
    assert_ne!(change(|rows| rows[0].authentication_string = b"9".to_vec()), before, "a password");
    assert_ne!(change(|rows| rows[1].plugin = "q".to_owned()), before, "a plugin");
    assert_ne!(change(|rows| rows[1].locked = true), before, "a lock");
    assert_ne!(change(|rows| drop(rows.remove(1))), before, "a host less");
    assert_eq!(change(|rows| rows.truncate(0)), None, "no account");
}
