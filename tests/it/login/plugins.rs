//! Our server's side against our client's side in memory, for every plugin; and both against mysql_common.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use mysql_common::scramble::{scramble_native, scramble_sha256};
use proptest::collection::vec;
use proptest::prelude::*;

use pointsman::wire::OkPacket;
use pointsman::wire::auth::{
    self, AuthSwitch, ClientError, ClientLogin, ClientStep, Known, NONCE_LEN, Password, Plugin, RsaKey,
    ServerLogin, ServerStep, auth_more,
};

use super::rig::rsa_key;

const NONCE: [u8; NONCE_LEN] = *b"abcdefghijklmnopqrst";
const NEXT_NONCE: [u8; NONCE_LEN] = *b"ABCDEFGHIJKLMNOPQRST";

/// Plugins a greeting may name, one of them unheard of.
const GREETINGS: [&str; 4] =
    ["mysql_native_password", "caching_sha2_password", "client_ed25519", "authentication_webauthn_client"];

/// How a login between the two ended.
#[derive(Debug)]
enum Outcome {
    /// The server let the client in, and the client knows.
    Proved,
    Claimed(Password),
    Failed,
    ClientGaveUp(ClientError),
}

struct Pair<'a> {
    greeting: &'a str,
    encrypted: bool,
    client: &'a Password,
    known: Known<'a>,
    rsa: &'a RsaKey,
}

impl Pair<'_> {
    fn run(&self) -> Outcome {
        let mut client = ClientLogin::new(self.client, self.encrypted, self.greeting, NONCE);
        let mut server = ServerLogin::new(self.known, self.rsa, self.encrypted, NEXT_NONCE);
        let (plugin, answer) = client.first();
        let mut step = server.start(NONCE, plugin.as_bytes(), &answer);
        loop {
            match step {
                ServerStep::Send(payload) => match client.handle(&payload) {
                    Ok(ClientStep::Send(answer)) => step = server.handle(&answer).expect("a good answer"),
                    Ok(_) => panic!("the client says nothing to {payload:x?}"),
                    Err(error) => return Outcome::ClientGaveUp(error),
                },
                ServerStep::Proved { before_ok } => {
                    if let Some(payload) = before_ok {
                        assert!(matches!(client.handle(&payload), Ok(ClientStep::Wait)));
                    }
                    let mut ok = Vec::new();
                    OkPacket::default().push_payload(&mut ok, 0, 0);
                    assert!(matches!(client.handle(&ok), Ok(ClientStep::Done)));
                    return Outcome::Proved;
                }
                ServerStep::Claimed(password) => return Outcome::Claimed(password),
                ServerStep::Failed => return Outcome::Failed,
            }
        }
    }
}

fn sha1(bytes: &[u8]) -> [u8; 20] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, bytes);
    digest.as_ref().try_into().expect("twenty bytes")
}

fn native_hash(clear: &[u8]) -> Password {
    Password::NativeHash(sha1(clear).into())
}

/// Up to what the RSA key can hold; empty ones often.
fn password() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![1 => Just(Vec::new()), 6 => vec(any::<u8>(), 1..200)]
}

proptest! {
    #[test]
    fn a_known_password_is_proved_and_another_is_told(
        right in password(),
        other in password(),
        greeting in prop::sample::select(&GREETINGS[..]),
        encrypted: bool,
    ) {
        let rsa = rsa_key();
        let (right, other) = (Password::clear(right), Password::clear(other));
        let known = Known { password: Some(&right), native_hashes: &[] };
        let pair = Pair { greeting, encrypted, client: &right, known, rsa };
        prop_assert!(matches!(pair.run(), Outcome::Proved));
        match (Pair { client: &other, ..pair }).run() {
            Outcome::Proved => prop_assert!(other.same(&right)),
            Outcome::Claimed(claimed) => {
                prop_assert!(claimed.same(&other));
                prop_assert!(!claimed.same(&right));
            }
            outcome => prop_assert!(false, "{outcome:?}"),
        }
    }

    #[test]
    fn a_password_nobody_knows_is_told(
        clear in password(),
        greeting in prop::sample::select(&GREETINGS[..]),
        encrypted: bool,
    ) {
        let rsa = rsa_key();
        let client = Password::clear(clear);
        let pair = Pair { greeting, encrypted, client: &client, known: Known::default(), rsa };
        match pair.run() {
            Outcome::Claimed(Password::Clear(claimed)) => {
                prop_assert!(Password::Clear(claimed).same(&client));
            }
            outcome => prop_assert!(false, "{outcome:?}"),
        }
    }

    #[test]
    fn the_hash_of_an_account_gives_the_hash_that_logs_in(
        clear in vec(any::<u8>(), 1..200),
        stranger: [u8; 20],
        encrypted: bool,
    ) {
        let rsa = rsa_key();
        let client = Password::clear(clear.as_slice());
        let hashes = [stranger, sha1(&sha1(&clear))];
        let known = Known { password: None, native_hashes: &hashes };
        let pair = Pair { greeting: "mysql_native_password", encrypted, client: &client, known, rsa };
        match pair.run() {
            Outcome::Claimed(Password::NativeHash(hash)) => {
                let learnt = Password::NativeHash(hash);
                prop_assert!(learnt.same(&client));
                // With it we log in ourselves, to a server that knows the password.
                let known = Known { password: Some(&client), native_hashes: &[] };
                let ours = Pair { client: &learnt, known, ..pair };
                prop_assert!(matches!(ours.run(), Outcome::Proved));
            }
            outcome => prop_assert!(false, "{outcome:?}"),
        }
        let known = Known { password: None, native_hashes: &hashes[..1] };
        match (Pair { known, ..pair }).run() {
            Outcome::Claimed(claimed) => prop_assert!(matches!(claimed, Password::Clear(_))),
            outcome => prop_assert!(false, "{outcome:?}"),
        }
    }

    #[test]
    fn proofs_are_those_of_the_oracle(clear in vec(any::<u8>(), 1..200), random: [u8; NONCE_LEN]) {
        let nonce = auth::nonce(random);
        let password = Password::clear(clear.as_slice());
        let first = |plugin| ClientLogin::new(&password, false, plugin, nonce).first().1;
        let native = scramble_native(&nonce, &clear).expect("a proof");
        prop_assert_eq!(first("mysql_native_password"), native);
        let sha2 = scramble_sha256(&nonce, &clear).expect("a proof");
        prop_assert_eq!(first("caching_sha2_password"), sha2);
    }

    #[test]
    fn nonces_are_text_without_nul_and_dollar(random: [u8; NONCE_LEN]) {
        let clean = |byte: &u8| byte.is_ascii() && *byte != 0 && *byte != b'$';
        prop_assert!(auth::nonce(random).iter().all(clean));
    }

    /// Whatever the other side says, neither side panics, and noise proves nothing.
    #[test]
    fn noise_proves_nothing(
        packets in vec(vec(any::<u8>(), 0..80), 1..6),
        plugin in prop::sample::select(&GREETINGS[..]),
        encrypted: bool,
    ) {
        let rsa = rsa_key();
        let password = Password::clear("secret");
        let mut client = ClientLogin::new(&password, encrypted, plugin, NONCE);
        for packet in &packets {
            let leads = packet.first().copied();
            if let Ok(ClientStep::Done) = client.handle(packet) {
                prop_assert_eq!(leads, Some(0));
            }
        }
        let hashes = [sha1(&sha1(b"secret"))];
        let known = Known { password: Some(&password), native_hashes: &hashes };
        let mut server = ServerLogin::new(known, rsa, encrypted, NEXT_NONCE);
        let mut step = server.start(NONCE, plugin.as_bytes(), &packets[0]);
        for packet in &packets {
            let proved = matches!(step, ServerStep::Proved { .. });
            prop_assert!(!proved);
            match server.handle(packet) {
                Ok(next) => step = next,
                Err(_) => break,
            }
        }
    }
}

#[test]
fn a_hash_alone_does_for_the_native_plugin_only() {
    let rsa = rsa_key();
    let (clear, hash) = (Password::clear("secret"), native_hash(b"secret"));
    let known = Known { password: Some(&clear), native_hashes: &[] };
    for greeting in GREETINGS {
        let pair = Pair { greeting, encrypted: true, client: &hash, known, rsa };
        // It answers every greeting by the one plugin it can, which the server may accept.
        assert!(matches!(pair.run(), Outcome::Proved), "{greeting}");
        match (Pair { known: Known::default(), ..pair }).run() {
            Outcome::ClientGaveUp(ClientError::Insufficient { plugin }) => {
                assert_eq!(plugin, "caching_sha2_password", "{greeting}");
            }
            outcome => panic!("{greeting}: {outcome:?}"),
        }
    }
}

#[test]
fn a_password_under_another_key_is_not_understood() {
    let (ours, theirs) = (rsa_key(), super::rig::fresh_rsa_key());
    let client = Password::clear("secret");
    let mut client_side = ClientLogin::new(&client, false, "caching_sha2_password", NONCE);
    let mut server_side = ServerLogin::new(Known::default(), ours, false, NEXT_NONCE);
    let (plugin, answer) = client_side.first();
    let ServerStep::Send(request) = server_side.start(NONCE, plugin.as_bytes(), &answer) else {
        panic!("the server asks for the password")
    };
    assert!(matches!(client_side.handle(&request), Ok(ClientStep::Send(_))), "the client asks for the key");
    let key = auth_more(theirs.public_pem().as_bytes());
    let Ok(ClientStep::Send(encrypted)) = client_side.handle(&key) else { panic!("the client uses the key") };
    // As from a client that holds an old key of ours: it does not ask.
    assert!(matches!(server_side.handle(&encrypted), Ok(ServerStep::Failed)));
}

/// What the client's side answers to a request for a plugin.
fn answer(password: &Password, encrypted: bool, plugin: &str, data: &[u8]) -> Result<Vec<u8>, ClientError> {
    let mut client = ClientLogin::new(password, encrypted, "caching_sha2_password", NONCE);
    let switch = AuthSwitch { plugin: plugin.as_bytes(), data };
    match client.handle(&switch.payload())? {
        ClientStep::Send(answer) => Ok(answer.to_vec()),
        _ => panic!("an answer is due"),
    }
}

#[test]
fn switches_are_answered_as_far_as_the_channel_allows() {
    let secret = Password::clear("secret");
    let hash = native_hash(b"secret");
    // What is known, over TLS, plugin, whether there is an answer and which
    let clear = Some(&b"secret\0"[..]);
    let cases = [
        (&secret, true, "mysql_clear_password", clear),
        (&secret, false, "mysql_clear_password", None),
        (&hash, true, "mysql_clear_password", None),
        (&secret, true, "dialog", clear),
        (&secret, false, "dialog", None),
        (&secret, true, "sha256_password", clear),
        (&secret, false, "sha256_password", Some(&[1])),
        (&hash, true, "sha256_password", None),
        (&hash, true, "client_ed25519", None),
        (&secret, true, "mysql_old_password", None),
        (&secret, true, "auth_gssapi_client", None),
        (&secret, true, "", None),
    ];
    for (password, encrypted, plugin, expected) in cases {
        let title = format!("{plugin} with {password:?}, encrypted: {encrypted}");
        match (answer(password, encrypted, plugin, &[b'n'; 32]), expected) {
            (Ok(found), Some(expected)) => assert_eq!(found, expected, "{title}"),
            (Err(ClientError::Insufficient { plugin: named }), None) => assert_eq!(named, plugin, "{title}"),
            (found, expected) => panic!("{title}: {found:?}, expected {expected:?}"),
        }
    }
}

#[test]
fn ed25519_signs_for_the_key_that_mariadb_stores() {
    // ed25519_password('secret') as MariaDB documents it.
    const STORED: [u8; 32] = [
        0x64, 0x88, 0x14, 0x44, 0x45, 0x20, 0xe4, 0xf5, 0x60, 0x43, 0xa2, 0xec, 0x92, 0x15, 0xe6, 0x3b, 0xe7,
        0x99, 0x2d, 0x2d, 0x27, 0x0b, 0xc6, 0xde, 0xe8, 0x73, 0xe3, 0x61, 0x64, 0x78, 0x60, 0x96,
    ];
    let nonce = *b"0123456789abcdef0123456789abcdef";
    let signature = answer(&Password::clear("secret"), false, "client_ed25519", &nonce).expect("a signature");
    UnparsedPublicKey::new(&ED25519, STORED).verify(&nonce, &signature).expect("a good signature");
    assert!(matches!(
        answer(&Password::clear("secret"), false, "client_ed25519", b"short"),
        Err(ClientError::Malformed(_))
    ));
}

#[test]
fn a_server_that_switches_for_ever_is_left() {
    let password = Password::clear("secret");
    let mut client = ClientLogin::new(&password, false, "caching_sha2_password", NONCE);
    let switch = AuthSwitch { plugin: Plugin::NativePassword.name().as_bytes(), data: &NONCE }.payload();
    let given_up = (0..100).any(|_| client.handle(&switch).is_err());
    assert!(given_up);
}
