//! Our front: who is let in, by whom, and what the others are told.

use std::sync::Arc;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{ChangeUserOpts, SslOpts};

use pointsman::config::FrontTlsMode;
use pointsman::flavour::Flavour;
use pointsman::serve::accounts::{Account, CredentialCache};
use pointsman::serve::login::FrontLogin;
use pointsman::topology::{Exclusion, Standing};

use super::rig::{Front, TempDir, front, front_tls, options, servers, snapshot, try_login};

fn any_certificate() -> SslOpts {
    SslOpts::default().with_danger_accept_invalid_certs(true)
}

const FLAVOURS: [Flavour; 2] = [Flavour::MySql, Flavour::MariaDb];

#[tokio::test]
async fn listed_users_log_in_with_and_without_tls() {
    let dir = TempDir::new();
    for flavour in FLAVOURS {
        let mut login = front(&[("app", "secret"), ("open", "")]);
        login.tls = front_tls(FrontTlsMode::Preferred, &dir);
        let mut front = Front::start(flavour, login).await;
        let cases = [
            ("app", "secret", "app: Listed"),
            ("open", "", "open: Listed"),
            ("app", "wrong", "access denied for \"app\" from 127.0.0.1 (using password: YES)"),
            ("app", "", "access denied for \"app\" from 127.0.0.1 (using password: NO)"),
            ("open", "guess", "access denied for \"open\" from 127.0.0.1 (using password: YES)"),
            ("nobody", "secret", "access denied for \"nobody\" from 127.0.0.1 (using password: YES)"),
            ("nobody", "", "access denied for \"nobody\" from 127.0.0.1 (using password: NO)"),
        ];
        for tls in [false, true] {
            for (user, password, expected) in cases {
                let title = format!("{flavour}, {user}, {password:?}, TLS: {tls}");
                let options = options(front.address, user, password);
                let options = if tls { options.ssl_opts(any_certificate()) } else { options };
                let result = try_login(options).await;
                let expected =
                    if tls { expected.replace(": Listed", " over TLS: Listed") } else { expected.into() };
                assert_eq!(front.next().await, expected, "{title}");
                match result {
                    Ok(mut conn) => conn.query_drop("DO 1").await.expect("a session that answers"),
                    Err(error) => {
                        let using = if password.is_empty() { "NO" } else { "YES" };
                        let words = format!(
                            "1045 (28000): Access denied for user '{user}'@'127.0.0.1' (using password: {using})"
                        );
                        assert_eq!(error, words, "{title}");
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn tls_that_is_required_is_not_there_for_the_asking() {
    let dir = TempDir::new();
    let mut login = front(&[("app", "secret")]);
    login.tls = front_tls(FrontTlsMode::Required, &dir);
    let mut front = Front::start(Flavour::MySql, login).await;
    let refused = try_login(options(front.address, "app", "secret")).await.err();
    let words = "3159 (HY000): Connections using insecure transport are prohibited while \
                 --require_secure_transport=ON.";
    assert_eq!(refused.as_deref(), Some(words));
    assert_eq!(front.next().await, "the client does not use TLS, which is required");
    let options = options(front.address, "app", "secret").ssl_opts(any_certificate());
    try_login(options).await.expect("a session");
}

/// A database with one user, and a front before it.
struct House {
    database: Front,
    front: Front,
}

async fn house(flavour: Flavour, change: impl FnOnce(&mut FrontLogin)) -> House {
    let database = Front::start(flavour, front(&[("app", "secret"), ("open", "")])).await;
    let (publisher, servers) = servers(snapshot(&[database.address], Some(0)));
    // The window stays as it is; readers do not need the publisher.
    drop(publisher);
    let mut login = front(&[]);
    login.servers = Some(servers);
    change(&mut login);
    House { front: Front::start(flavour, login).await, database }
}

impl House {
    /// How a login ended at the front, and whether the database was asked.
    async fn log_in(&mut self, user: &str, password: &str, schema: Option<&str>) -> (String, bool) {
        let options = options(self.front.address, user, password).db_name(schema);
        let before = self.database.accepted();
        let result = try_login(options).await;
        let end = self.front.next().await;
        assert_eq!(result.is_ok(), end.contains(user) && !end.contains("denied"), "{end}");
        (end, self.database.accepted() > before)
    }
}

#[tokio::test]
async fn the_database_decides_once_and_is_remembered() {
    for flavour in FLAVOURS {
        let mut house = house(flavour, |_| {}).await;
        let denied = |user: &str, using| {
            format!("access denied for \"{user}\" from 127.0.0.1 (using password: {using})")
        };
        let cases = [
            ("app", "wrong", None, denied("app", "YES"), true),
            ("nobody", "secret", None, denied("nobody", "YES"), true),
            ("app", "secret", None, "app: Verified, session on server 0".to_owned(), true),
            ("app", "secret", None, "app: Remembered".to_owned(), false),
            // A wrong password is the database's to judge again, and evicts nobody.
            ("app", "wrong", None, denied("app", "YES"), true),
            ("app", "secret", None, "app: Remembered".to_owned(), false),
            ("app", "secret", Some("shop"), "app/shop: Verified, session on server 0".to_owned(), true),
            ("app", "secret", Some("shop"), "app/shop: Remembered".to_owned(), false),
            ("open", "", None, "open: Verified, session on server 0".to_owned(), true),
            ("open", "", None, "open: Remembered".to_owned(), false),
            ("app", "", None, denied("app", "NO"), true),
        ];
        for (user, password, schema, expected, asked) in cases {
            let found = house.log_in(user, password, schema).await;
            assert_eq!(found, (expected, asked), "{flavour}, {user}, {password:?}, {schema:?}");
        }
    }
}

#[tokio::test]
async fn trust_ends_when_the_account_changes_or_time_is_up() {
    let stamp = Arc::new(std::sync::atomic::AtomicU64::new(1));
    let seen = Arc::clone(&stamp);
    let accounts = move |_: &str| {
        let stamp = seen.load(std::sync::atomic::Ordering::SeqCst);
        Some(Account { stamp, ..Account::default() })
    };
    let mut changing = house(Flavour::MySql, |login| login.accounts = Box::new(accounts)).await;
    assert!(changing.log_in("app", "secret", None).await.1);
    assert!(!changing.log_in("app", "secret", None).await.1);
    stamp.store(2, std::sync::atomic::Ordering::SeqCst);
    let verified = ("app: Verified, session on server 0".to_owned(), true);
    assert_eq!(changing.log_in("app", "secret", None).await, verified);
    assert!(!changing.log_in("app", "secret", None).await.1);

    let mut untrusting =
        house(Flavour::MySql, |login| login.cache = CredentialCache::new(Duration::ZERO)).await;
    for _ in 0..2 {
        assert_eq!(untrusting.log_in("app", "secret", None).await, verified);
    }
}

#[tokio::test]
async fn the_hash_of_a_native_account_spares_the_password() {
    // PASSWORD('secret') and PASSWORD('other')
    let secret = "14E65567ABDB5135D0CFD9A70B3032C179A49EE7";
    let other = "7F0C90A004C46C64A0EB9DDDCE5DE0DC437A635C";
    // The second is a hash that is out of date: the password is asked for.
    for (hash, how) in [(secret, " by hash"), (other, "")] {
        let bytes: Vec<u8> = (0..20)
            .map(|at| u8::from_str_radix(&hash[2 * at..2 * at + 2], 16).expect("hexadecimal"))
            .collect();
        let native_hashes = vec![bytes.try_into().expect("twenty bytes")];
        let account = Account { stamp: 1, native_hashes, ..Account::default() };
        let mut house = house(Flavour::MariaDb, |login| {
            login.accounts = Box::new(move |user| (user == "app").then(|| account.clone()));
        })
        .await;
        let denied = "access denied for \"app\" from 127.0.0.1 (using password: YES)".to_owned();
        let cases = [
            ("secret", format!("app: Verified{how}, session on server 0"), true),
            ("secret", format!("app: Remembered{how}"), false),
            ("other", denied.clone(), true),
            ("third", denied, true),
        ];
        for (password, expected, asked) in cases {
            assert_eq!(house.log_in("app", password, None).await, (expected, asked), "{password}{how}");
        }
    }
}

#[tokio::test]
async fn the_primary_is_asked_first_and_the_others_when_it_cannot_be() {
    let mut stale = Front::start(Flavour::MySql, front(&[])).await;
    let mut primary = Front::start(Flavour::MySql, front(&[("app", "secret")])).await;
    let (mut publisher, servers) = servers(snapshot(&[stale.address, primary.address], Some(1)));
    let mut login = front(&[("listed", "secret")]);
    login.servers = Some(servers);
    login.cache = CredentialCache::new(Duration::ZERO);
    let mut house = Front::start(Flavour::MySql, login).await;
    let app = |address| options(address, "app", "secret");

    try_login(app(house.address)).await.expect("a session");
    assert_eq!(house.next().await, "app: Verified, session on server 1");
    assert_eq!(primary.next().await, "app: Listed");
    assert_eq!(stale.accepted(), 0, "only the primary was asked");

    // Published without a primary, the first that serves decides, and here knows better than the memory.
    let mut replicas = snapshot(&[stale.address, primary.address], None);
    replicas.servers[1].standing = Standing::Excluded(Exclusion::Draining);
    publisher.publish(replicas.clone());
    try_login(app(house.address)).await.expect_err("the replica knows no such user");
    assert!(house.next().await.starts_with("access denied"));
    stale.next().await;

    // A server that is gone is passed over.
    let gone = stale.address;
    drop(stale);
    replicas.servers[1].standing = Standing::Serving;
    publisher.publish(replicas.clone());
    try_login(app(house.address)).await.expect("a session");
    assert_eq!(house.next().await, "app: Verified, session on server 1", "{gone} is gone");

    // No server at all: who must be verified is told so; who is listed gets in and may wait inside.
    for server in &mut replicas.servers {
        server.standing = Standing::Excluded(Exclusion::Draining);
    }
    publisher.publish(replicas);
    let refused = try_login(app(house.address)).await.err();
    let words = "1105 (HY000): No database server is available to verify the login";
    assert_eq!(refused.as_deref(), Some(words));
    assert_eq!(house.next().await, "no server could verify the login: none is serving");
    for schema in [None, Some("shop")] {
        try_login(options(house.address, "listed", "secret").db_name(schema)).await.expect("a session");
        let shown = schema.map(|schema| format!("/{schema}")).unwrap_or_default();
        assert_eq!(house.next().await, format!("listed{shown}: Listed"));
    }
}

#[tokio::test]
async fn another_user_takes_over_an_open_session() {
    let dir = TempDir::new();
    for flavour in FLAVOURS {
        for tls in [false, true] {
            let mut house = house(flavour, |login| {
                login.tls = front_tls(FrontTlsMode::Preferred, &dir);
                login.users = front(&[("listed", "geheim")]).users;
            })
            .await;
            let options = options(house.front.address, "app", "secret");
            let options = if tls { options.ssl_opts(any_certificate()) } else { options };
            let mut conn = try_login(options).await.expect("a session");
            house.front.next().await;
            let shown = if tls { " over TLS" } else { "" };
            let cases = [
                ("listed", "geheim", "", format!("listed{shown}: Listed")),
                ("app", "secret", "", format!("app{shown}: Remembered")),
                ("open", "", "shop", format!("open/shop{shown}: Verified, session on server 0")),
                ("app", "secret", "shop", format!("app/shop{shown}: Verified, session on server 0")),
            ];
            for (user, password, schema, expected) in cases {
                let change = ChangeUserOpts::new()
                    .with_user(Some(user.to_owned()))
                    .with_pass(Some(password.to_owned()))
                    .with_db_name((!schema.is_empty()).then(|| schema.to_owned()));
                conn.change_user(change).await.expect("a change of user");
                assert_eq!(house.front.next().await, expected, "{flavour}");
                conn.query_drop("DO 1").await.expect("a session that answers");
            }
            let wrong =
                ChangeUserOpts::new().with_user(Some("app".to_owned())).with_pass(Some("x".to_owned()));
            let refused = conn.change_user(wrong).await.expect_err("a wrong password").to_string();
            assert!(refused.contains("Access denied for user 'app'@'127.0.0.1'"), "{refused}");
            assert!(house.front.next().await.starts_with("access denied"));
            conn.query_drop("DO 1").await.expect_err("the session was cut off");
        }
    }
}

#[tokio::test]
async fn an_account_that_requires_tls_is_not_for_others() {
    let dir = TempDir::new();
    let mut house = house(Flavour::MySql, |login| {
        login.tls = front_tls(FrontTlsMode::Preferred, &dir);
        login.accounts = Box::new(|user| Some(Account { requires_tls: user == "app", ..Account::default() }));
    })
    .await;
    let plain = |address, user, password| options(address, user, password);
    let cases = [
        ("app", "secret", false, "the account of \"app\" requires TLS"),
        ("app", "secret", true, "app over TLS: Verified"),
    ];
    // Twice: what is remembered from a login over TLS is for TLS only as well.
    for (user, password, tls, expected) in cases.into_iter().chain([cases[0]]) {
        let options = plain(house.front.address, user, password);
        let options = if tls { options.ssl_opts(any_certificate()) } else { options };
        let refused = try_login(options).await.err();
        let end = house.front.next().await;
        assert!(end.starts_with(expected), "{end}");
        let words = "1045 (28000): Access denied for user 'app'@'127.0.0.1' (using password: YES)";
        assert_eq!(refused.as_deref(), (!tls).then_some(words));
    }
    try_login(options(house.front.address, "open", "")).await.expect("an account without such a rule");
}
