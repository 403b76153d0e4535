//! Logging in through the proxy as to a server: accounts of every plugin, and the errors a server would give.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, OptsBuilder, SslOpts};
use pointsman::flavour::Flavour;
use pointsman::playground::{Cluster, Programs, ROOT};
use tokio::sync::OnceCell;

use crate::clusters::{block_on, both, shared};
use crate::through::Proxy;

both![what_a_server_says_the_proxy_says, command_lines_log_in, a_changed_password_is_noticed];

const MYSQL: &[&str] = &[
    "CREATE USER login_sha2 IDENTIFIED WITH caching_sha2_password BY 'secret'",
    "CREATE USER login_old IDENTIFIED WITH sha256_password BY 'secret'",
    "CREATE USER login_locked IDENTIFIED BY 'secret' ACCOUNT LOCK",
];

const MARIADB: &[&str] = &[
    "CREATE USER login_native IDENTIFIED VIA mysql_native_password USING PASSWORD('secret')",
    "CREATE USER login_ed IDENTIFIED VIA ed25519 USING PASSWORD('secret')",
    "CREATE USER login_both IDENTIFIED VIA ed25519 USING PASSWORD('other') OR mysql_native_password USING PASSWORD('secret')",
    "CREATE USER login_locked IDENTIFIED BY 'secret' ACCOUNT LOCK",
];

const ALL: &[&str] = &[
    "CREATE USER login_plain IDENTIFIED BY 'secret'",
    "CREATE USER login_umlaut IDENTIFIED BY 'pässwörd'",
    "CREATE USER login_long IDENTIFIED BY \
     '0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789'",
    "CREATE USER login_none",
    "CREATE USER login_tls IDENTIFIED BY 'secret' REQUIRE SSL",
    "CREATE USER login_expired IDENTIFIED BY 'secret' PASSWORD EXPIRE",
    "CREATE USER login_reader IDENTIFIED BY 'secret'",
    "GRANT SELECT ON *.* TO login_reader",
];

/// The shared cluster with the accounts above, and a proxy that has read them.
async fn house(flavour: Flavour) -> Result<(&'static Cluster, &'static Proxy)> {
    static ON_MYSQL: OnceCell<Proxy> = OnceCell::const_new();
    static ON_MARIADB: OnceCell<Proxy> = OnceCell::const_new();
    let cluster = shared(flavour).await?;
    let cell = if flavour == Flavour::MySql { &ON_MYSQL } else { &ON_MARIADB };
    let proxy = cell.get_or_try_init(|| async {
        create_accounts(cluster).await?;
        let proxy = Proxy::start(cluster, |_| {}).await?;
        wait_for_account(&proxy, "login_reader").await;
        anyhow::Ok(proxy)
    });
    Ok((cluster, proxy.await?))
}

async fn create_accounts(cluster: &Cluster) -> Result<()> {
    let (own, prepare) = match cluster.flavour() {
        Flavour::MySql => (MYSQL, None),
        // A replica needs the plugin too, before the account comes.
        Flavour::MariaDb => (MARIADB, Some("INSTALL SONAME 'auth_ed25519'")),
    };
    for server in cluster.servers() {
        let mut conn = server.connect(ROOT).await?;
        if let Some(statement) = prepare {
            conn.query_drop(statement).await?;
        }
    }
    let mut conn = cluster.primary.connect(ROOT).await?;
    for statement in ALL.iter().chain(own) {
        conn.query_drop(*statement).await.context(*statement)?;
    }
    Ok(())
}

async fn wait_for_account(proxy: &Proxy, user: &str) {
    let mut catalog = proxy.running.outlook.catalog.clone();
    let read = |rows: &[pointsman::topology::catalog::Account]| rows.iter().any(|row| row.user == user);
    while !catalog.load().accounts.as_ref().is_some_and(|accounts| read(&accounts.rows)) {
        catalog.changed().await;
    }
}

fn options(port: u16, user: &str, password: &str, schema: Option<&str>, tls: bool) -> OptsBuilder {
    let options = OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(port)
        .prefer_socket(false)
        .user(Some(user))
        .pass(Some(password))
        .db_name(schema)
        .max_allowed_packet(Some(1 << 24))
        .wait_timeout(Some(60));
    if tls { options.ssl_opts(SslOpts::default().with_danger_accept_invalid_certs(true)) } else { options }
}

/// Asked of the primary: a replica may not have heard of an account that is a moment old.
const WHO: &str = "/* pointsman: primary */ SELECT CURRENT_USER()";

/// How a login ended: with who the server says we are, or with its error. Servers look our name up, the proxy
/// gives our address.
async fn end(options: OptsBuilder) -> String {
    let mut conn = match Conn::new(options).await {
        Ok(conn) => conn,
        Err(Error::Server(error)) => {
            let message = error.message.replace("'@'localhost'", "'@'127.0.0.1'");
            return format!("{} ({}) {message}", error.code, error.state);
        }
        Err(error) => return error.to_string(),
    };
    let who = conn.query_first::<String, _>(WHO).await;
    let who = who.map(Option::unwrap_or_default).unwrap_or_else(|error| error.to_string());
    let _ = conn.disconnect().await;
    who
}

async fn what_a_server_says_the_proxy_says(flavour: Flavour) -> Result<()> {
    let (cluster, proxy) = house(flavour).await?;
    let long = "0123456789".repeat(10);
    let mut attempts = vec![
        ("login_plain", "secret", None),
        ("login_plain", "wrong", None),
        ("login_plain", "", None),
        ("login_plain", "secret", Some("no_such_schema")),
        ("login_reader", "secret", Some("no_such_schema")),
        ("login_reader", "secret", Some("mysql")),
        ("login_umlaut", "pässwörd", None),
        ("login_long", &long, None),
        ("login_none", "", None),
        ("login_none", "guess", None),
        ("login_tls", "secret", None),
        ("login_tls", "wrong", None),
        ("login_expired", "secret", None),
        ("login_locked", "secret", None),
        ("login_locked", "wrong", None),
        ("login_nobody", "secret", None),
        ("login_nobody", "", None),
    ];
    let own: &[&str] = match flavour {
        Flavour::MySql => &["login_sha2", "login_old"],
        Flavour::MariaDb => &["login_native", "login_ed"],
    };
    attempts.extend(own.iter().flat_map(|user| [(*user, "secret", None), (*user, "wrong", None)]));
    let mut differences = Vec::new();
    for (user, password, schema) in attempts {
        for tls in [false, true] {
            let mut direct = end(options(cluster.primary.port, user, password, schema, tls)).await;
            let stranger = user == "login_nobody" && direct.contains("Access denied");
            if stranger || direct.starts_with("Driver error: `Unknown authentication plugin") {
                // Servers ask strangers for the plugin of any account: one our client here does not speak, or
                // one that answers even for an empty password, so that it counts as given.
                direct = as_it_should_be(user, password);
            }
            // Twice: once a server is asked, then what it said is remembered.
            for round in ["first", "second"] {
                let through = end(options(proxy.running.front.port(), user, password, schema, tls)).await;
                if through != direct {
                    differences.push(format!(
                        "{user} {password:?} {schema:?} TLS {tls}, {round}:\n  direct  {direct}\n  through {through}"
                    ));
                }
            }
        }
    }
    ensure!(differences.is_empty(), "{}", differences.join("\n"));
    Ok(())
}

fn as_it_should_be(user: &str, password: &str) -> String {
    let using = if password.is_empty() { "NO" } else { "YES" };
    match (user, password) {
        ("login_old", "secret") => "login_old@%".to_owned(),
        _ => format!("1045 (28000) Access denied for user '{user}'@'127.0.0.1' (using password: {using})"),
    }
}

/// MariaDB tries one plugin of an account after the other; the client of these tests cannot follow that itself.
#[test]
fn an_account_with_two_plugins_has_two_passwords() -> Result<()> {
    block_on(async {
        let (_, proxy) = house(Flavour::MariaDb).await?;
        for (password, expected) in [("secret", true), ("other", true), ("wrong", false), ("secret", true)] {
            let found = end(options(proxy.running.front.port(), "login_both", password, None, true)).await;
            ensure!((found == "login_both@%") == expected, "{password}: {found}");
        }
        Ok(())
    })
}

/// The command line client of a flavour, with its login plugins.
fn client(flavour: Flavour) -> Result<(PathBuf, Vec<String>)> {
    let client = Programs::find(Some(flavour))?.client.context("a command line client")?;
    let folder = client.parent().and_then(|bin| bin.parent()).context("a folder above")?;
    let machine = format!("{}-linux-gnu", std::env::consts::ARCH);
    let plugins = match flavour {
        Flavour::MySql => folder.join("usr/lib/mysql/plugin"),
        Flavour::MariaDb => folder.join("usr/lib").join(machine).join("libmariadb3/plugin"),
    };
    // A client of the machine knows where its own are.
    let option = plugins.is_dir().then(|| format!("--plugin-dir={}", plugins.display()));
    Ok((client, option.into_iter().collect()))
}

async fn command_lines_log_in(flavour: Flavour) -> Result<()> {
    let (_, proxy) = house(flavour).await?;
    let port = proxy.running.front.port();
    let over: [(Flavour, &str, &[&str]); 5] = [
        // As clients of MySQL come, since mysql_native_password is gone.
        (Flavour::MySql, "TLS without plugins", &["--ssl-mode=REQUIRED", "--plugin-dir=/nowhere"]),
        (Flavour::MySql, "TLS", &["--ssl-mode=REQUIRED"]),
        (Flavour::MySql, "RSA", &["--ssl-mode=DISABLED", "--get-server-public-key"]),
        (Flavour::MariaDb, "TLS", &["--ssl"]),
        (Flavour::MariaDb, "RSA", &["--skip-ssl"]),
    ];
    let denied = "ERROR 1045 (28000): Access denied for user 'login_plain'@'127.0.0.1' (using password: YES)";
    for (of, channel, arguments) in over {
        let (program, plugins) = client(of)?;
        for (password, expected) in [("wrong", denied), ("secret", "42"), ("secret", "42")] {
            let mut command = Command::new(&program);
            command.arg("--no-defaults").args(&plugins).args(arguments);
            command.args(["-h127.0.0.1", "-ulogin_plain", "-BN", "-e", "SELECT 6 * 7"]);
            command.arg(format!("-P{port}")).arg(format!("-p{password}"));
            let output = tokio::task::spawn_blocking(move || command.output()).await??;
            let text = [output.stdout, output.stderr].concat();
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<_> = text.lines().filter(|line| !line.contains("[Warning]")).collect();
            ensure!(lines == [expected], "{of} client, {channel}, {password}: {lines:?}");
        }
    }
    Ok(())
}

async fn a_changed_password_is_noticed(flavour: Flavour) -> Result<()> {
    let (cluster, proxy) = house(flavour).await?;
    let port = proxy.running.front.port();
    let mut root = cluster.primary.connect(ROOT).await?;
    root.query_drop("CREATE USER login_changing IDENTIFIED BY 'first'").await?;
    let try_with = |password: &'static str| end(options(port, "login_changing", password, None, true));
    let (let_in, denied) = (
        "login_changing@%",
        "1045 (28000) Access denied for user 'login_changing'@'127.0.0.1' (using password: YES)",
    );
    // An account that was not there a moment ago.
    assert_eq!(try_with("first").await, let_in);
    wait_for_account(proxy, "login_changing").await;
    // The new password is good at once, and the old one no longer than until the accounts are read again.
    root.query_drop("ALTER USER login_changing IDENTIFIED BY 'second'").await?;
    assert_eq!(try_with("second").await, let_in);
    assert_eq!(try_with("first").await, denied, "the new one has replaced it in memory");
    let version = |proxy: &Proxy| {
        proxy.running.outlook.catalog.load().accounts.as_ref().map(|accounts| accounts.version)
    };
    let before = version(proxy);
    root.query_drop("ALTER USER login_changing IDENTIFIED BY 'third'").await?;
    let mut catalog = proxy.running.outlook.catalog.clone();
    while version(proxy) == before {
        catalog.changed().await;
    }
    assert_eq!(try_with("second").await, denied, "nobody has replaced it in memory");
    assert_eq!(try_with("third").await, let_in);
    root.query_drop("DROP USER login_changing").await?;
    Ok(())
}
