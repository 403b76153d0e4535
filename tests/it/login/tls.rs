//! Certificates on both sides.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use mysql_async::{ClientIdentity, SslOpts};

use pointsman::backend::{BackendTlsSetup, Conn, ConnectError, Login};
use pointsman::config::{BackendTls, BackendTlsMode, FrontTls, FrontTlsMode};
use pointsman::flavour::Flavour;
use pointsman::serve::tls::{FrontTlsSetup, load_rsa_key};
use pointsman::wire::capability;

use super::rig::{Authority, Front, TempDir, backend_tls, credential, front, options, target, try_login};

/// A front whose certificate is signed by `authority` for these names.
async fn certified(
    authority: &Authority,
    names: &[&str],
    client_ca: Option<PathBuf>,
    dir: &TempDir,
) -> Front {
    let (certificate, key) = authority.sign(names);
    let config = FrontTls {
        mode: FrontTlsMode::Preferred,
        certificate: Some(dir.write("server.pem", &certificate)),
        key: Some(dir.write("server-key.pem", &key)),
        client_ca,
    };
    let mut login = front(&[("app", "secret")]);
    login.tls = FrontTlsSetup::load(&config, dir.path()).expect("a TLS setup");
    Front::start(Flavour::MySql, login).await
}

fn login() -> Login {
    Login { client_capabilities: capability::offered_to_clients(true, false), ..Login::default() }
}

#[tokio::test]
async fn servers_are_verified_as_far_as_asked() {
    use BackendTlsMode::{Disabled, Preferred, Required, VerifyCa, VerifyFull};
    let dir = TempDir::new();
    let (ours, theirs) = (Authority::new(), Authority::new());
    let (our_ca, their_ca) = (dir.write("ca.pem", &ours.pem), dir.write("other-ca.pem", &theirs.pem));
    // Names in the certificate, host connected to, mode, authority, how it ends
    let cases = [
        (&["localhost"][..], "localhost", Disabled, None, "plain"),
        (&["localhost"], "localhost", Preferred, None, "TLS"),
        (&["localhost"], "localhost", Required, None, "TLS"),
        (&["localhost"], "localhost", VerifyCa, Some(&our_ca), "TLS"),
        (&["localhost"], "localhost", VerifyFull, Some(&our_ca), "TLS"),
        (&["127.0.0.1"], "127.0.0.1", VerifyFull, Some(&our_ca), "TLS"),
        // As MySQL generates them: without names.
        (&[], "127.0.0.1", VerifyCa, Some(&our_ca), "TLS"),
        (&[], "127.0.0.1", VerifyFull, Some(&our_ca), "refused"),
        (&["elsewhere"], "localhost", VerifyCa, Some(&our_ca), "TLS"),
        (&["elsewhere"], "localhost", VerifyFull, Some(&our_ca), "refused"),
        (&["localhost"], "localhost", VerifyCa, Some(&their_ca), "refused"),
        (&["localhost"], "localhost", VerifyFull, Some(&their_ca), "refused"),
    ];
    for (names, host, mode, ca, expected) in cases {
        let front = certified(&ours, names, None, &dir).await;
        let target = target(format!("{host}:{}", front.address.port()), &backend_tls(mode, ca.cloned()));
        let found = match Conn::connect(&target, &credential("app", "secret"), &login()).await {
            Ok(conn) if conn.channel.stream().is_tls() => "TLS",
            Ok(_) => "plain",
            Err(ConnectError::Tls(_)) => "refused",
            Err(error) => panic!("{error}"),
        };
        assert_eq!(found, expected, "{names:?} as {host}, {mode:?}");
    }
}

#[tokio::test]
async fn clients_show_certificates_where_they_are_asked_to() {
    let dir = TempDir::new();
    let (ours, theirs) = (Authority::new(), Authority::new());
    let client_ca = dir.write("client-ca.pem", &ours.pem);
    let mut front = certified(&ours, &["localhost"], Some(client_ca), &dir).await;
    let any = || SslOpts::default().with_danger_accept_invalid_certs(true);
    let identity = |authority: &Authority, name: &str| {
        let (certificate, key) = authority.sign(&[name]);
        let certificate = dir.write(&format!("{name}.pem"), &certificate);
        ClientIdentity::new(certificate.into(), dir.write(&format!("{name}-key.pem"), &key).into())
    };
    let good = any().with_client_identity(Some(identity(&ours, "friend")));
    let forged = any().with_client_identity(Some(identity(&theirs, "foe")));
    let cases = [
        ("a good one", Some(good), "app over TLS: Listed"),
        ("another authority's", Some(forged), "TLS with the client: "),
        ("none", Some(any()), "TLS with the client: "),
        ("no TLS", None, "the client does not use TLS, which is required"),
    ];
    for (title, tls, expected) in cases {
        let options = options(front.address, "app", "secret");
        let options = if let Some(tls) = tls { options.ssl_opts(tls) } else { options };
        let result = try_login(options).await;
        let end = front.next().await;
        assert!(end.starts_with(expected), "{title}: {end}");
        assert_eq!(result.is_ok(), title == "a good one", "{title}");
    }
}

#[tokio::test]
async fn servers_may_ask_us_for_a_certificate() {
    let dir = TempDir::new();
    let authority = Authority::new();
    let ca = dir.write("ca.pem", &authority.pem);
    let front = certified(&authority, &["localhost"], Some(ca.clone()), &dir).await;
    let (certificate, key) = authority.sign(&["pointsman"]);
    let pair = (dir.write("us.pem", &certificate), dir.write("us-key.pem", &key));
    for with in [true, false] {
        let config = BackendTls {
            mode: BackendTlsMode::VerifyFull,
            ca: Some(ca.clone()),
            certificate: with.then(|| pair.0.clone()),
            key: with.then(|| pair.1.clone()),
        };
        let tls = BackendTlsSetup::load(&config).expect("a TLS setup").into();
        let target = target(format!("localhost:{}", front.address.port()), &tls);
        let result = Conn::connect(&target, &credential("app", "secret"), &login()).await;
        assert_eq!(result.is_ok(), with, "{:?}", result.err());
    }
}

#[test]
fn generated_keys_are_kept_and_private() {
    let dir = TempDir::new();
    let data_dir = dir.path().join("made/at/need");
    let config = FrontTls { mode: FrontTlsMode::Preferred, certificate: None, key: None, client_ca: None };
    let files = || {
        let mut files: Vec<_> = std::fs::read_dir(&data_dir)
            .expect("the data folder")
            .map(|entry| entry.expect("an entry").path())
            .map(|path| {
                let mode = std::fs::metadata(&path).expect("metadata").permissions().mode() & 0o777;
                assert_eq!(mode, 0o600, "{}", path.display());
                std::fs::read(&path).expect("a readable file")
            })
            .collect();
        files.sort();
        files
    };
    let load = || {
        assert!(FrontTlsSetup::load(&config, &data_dir).expect("a TLS setup").is_some());
        load_rsa_key(&data_dir).expect("an RSA key").public_pem().to_owned()
    };
    let (public, made) = (load(), files());
    assert_eq!(made.len(), 3);
    assert_eq!((load(), files()), (public, made), "the next start finds them");
}

#[test]
fn without_a_place_to_keep_them_keys_serve_one_run() {
    let dir = TempDir::new();
    // A file where the folder should be; root may write anywhere else.
    let data_dir = dir.write("file", "").join("data");
    let config = FrontTls { mode: FrontTlsMode::Preferred, certificate: None, key: None, client_ca: None };
    assert!(FrontTlsSetup::load(&config, &data_dir).expect("a TLS setup").is_some());
    load_rsa_key(&data_dir).expect("an RSA key");
}

#[test]
fn broken_configurations_are_refused() {
    let dir = TempDir::new();
    let (certificate, key) = Authority::new().sign(&["localhost"]);
    let (certificate, key) = (dir.write("cert.pem", &certificate), dir.write("key.pem", &key));
    let junk = dir.write("junk.pem", "no certificate");
    let (_, other_key) = Authority::new().sign(&["localhost"]);
    let other_key = dir.write("other-key.pem", &other_key);
    let missing = dir.path().join("missing.pem");
    let cases = [
        ("half a pair", Some(&certificate), None, None),
        ("the other half", None, Some(&key), None),
        ("a file that is not there", Some(&missing), Some(&key), None),
        ("no certificate in the file", Some(&junk), Some(&key), None),
        ("no key in the file", Some(&certificate), Some(&junk), None),
        ("a key of another certificate", Some(&certificate), Some(&other_key), None),
        ("no authority in the file", Some(&certificate), Some(&key), Some(&junk)),
    ];
    for (title, certificate, key, ca) in cases {
        let (certificate, key, ca) = (certificate.cloned(), key.cloned(), ca.cloned());
        let front = FrontTls {
            mode: FrontTlsMode::Preferred,
            certificate: certificate.clone(),
            key: key.clone(),
            client_ca: ca.clone(),
        };
        assert!(FrontTlsSetup::load(&front, dir.path()).is_err(), "front: {title}");
        let mode = if ca.is_some() { BackendTlsMode::VerifyCa } else { BackendTlsMode::Preferred };
        let backend = BackendTls { mode, ca, certificate, key };
        assert!(BackendTlsSetup::load(&backend).is_err(), "backend: {title}");
    }
}
