//! How long a verified password is trusted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{CredentialCache, Trust};
use crate::backend::Credential;
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
