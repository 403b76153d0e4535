//! The packets of the login against mysql_common, against what real programs sent, and against noise.

use mysql_common::constants::{CapabilityFlags, StatusFlags};
use mysql_common::io::ParseBuf;
use mysql_common::packets::{
    AuthPlugin, AuthSwitchRequest, ComChangeUser, ComChangeUserMoreData, HandshakePacket,
    HandshakeResponse as OracleResponse, SslRequest,
};
use mysql_common::proto::{MyDeserialize, MySerialize};
use proptest::collection::vec;
use proptest::prelude::*;

use pointsman::wire::auth::{AuthSwitch, NONCE_LEN};
use pointsman::wire::{ChangeUser, Greeting, HandshakeResponse, capability, handshake};

const OURS: u32 = capability::offered_to_clients(true, true);

fn oracle<'a, T: MyDeserialize<'a, Ctx = ()>>(payload: &'a [u8]) -> T {
    T::deserialize((), &mut ParseBuf(payload)).expect("the oracle reads our packet")
}

fn serialized(message: &impl MySerialize) -> Vec<u8> {
    let mut out = Vec::new();
    message.serialize(&mut out);
    out
}

/// Text without NUL.
fn name() -> impl Strategy<Value = Vec<u8>> {
    vec(1_u8..=255, 1..40)
}

fn nonce() -> impl Strategy<Value = [u8; NONCE_LEN]> {
    any::<[u8; NONCE_LEN]>().prop_map(pointsman::wire::auth::nonce)
}

fn greeting() -> impl Strategy<Value = Greeting> {
    let numbers = (any::<u32>(), any::<u8>(), any::<u16>());
    ("[0-9a-zA-Z.-]{1,60}", numbers, nonce(), any::<u32>(), "[a-z0-9_]{1,40}").prop_map(
        |(version, (thread_id, collation, status), nonce, capabilities, plugin)| Greeting {
            version,
            thread_id,
            nonce,
            // Without the first flag there are MariaDB's own, which the oracle does not know.
            capabilities: capability::split(CapabilityFlags::from_bits_truncate(capabilities).bits()).0
                | capability::SECURE_CONNECTION
                | capability::PLUGIN_AUTH
                | capability::LONG_PASSWORD,
            collation,
            // The oracle reads no flags that it does not know.
            status: StatusFlags::from_bits_truncate(status).bits(),
            plugin,
        },
    )
}

proptest! {
    #[test]
    fn greetings_are_read_as_written(greeting in greeting()) {
        let payload = greeting.payload();
        prop_assert_eq!(&Greeting::parse(&payload).expect("our own packet"), &greeting);
        let seen: HandshakePacket<'_> = oracle(&payload);
        prop_assert_eq!(seen.server_version_ref(), greeting.version.as_bytes());
        prop_assert_eq!(seen.connection_id(), greeting.thread_id);
        prop_assert_eq!(&seen.nonce()[..NONCE_LEN], greeting.nonce);
        prop_assert_eq!(seen.capabilities(), CapabilityFlags::from_bits_truncate(greeting.capabilities));
        prop_assert_eq!(seen.default_collation(), greeting.collation);
        prop_assert_eq!(seen.auth_plugin_name_ref(), Some(greeting.plugin.as_bytes()));
    }

    #[test]
    fn greetings_of_the_oracle_are_read(nonce in nonce(), thread_id: u32, version in "[0-9.]{1,20}") {
        let (head, tail) = nonce.split_at(8);
        let packet = HandshakePacket::new(
            10,
            version.as_bytes(),
            thread_id,
            head.try_into().expect("eight bytes"),
            Some([tail, &[0]].concat()),
            CapabilityFlags::from_bits_truncate(OURS),
            255,
            StatusFlags::SERVER_STATUS_AUTOCOMMIT,
            Some(&b"caching_sha2_password"[..]),
        );
        let seen = Greeting::parse(&serialized(&packet)).expect("the oracle's packet");
        prop_assert_eq!(seen.version, version);
        prop_assert_eq!(seen.thread_id, thread_id);
        prop_assert_eq!(seen.nonce, nonce);
        prop_assert_eq!(seen.collation, 255);
        prop_assert_eq!(seen.plugin, "caching_sha2_password");
    }

    #[test]
    fn responses_are_read_as_written(
        user in name(),
        auth in vec(any::<u8>(), 0..250),
        schema in proptest::option::of(name()),
        collation: u8,
        lenenc: bool,
    ) {
        let attributes = b"\x04_pid\x0242\x03_os\x05Linux";
        let capabilities = if lenenc { OURS } else { OURS & !capability::PLUGIN_AUTH_LENENC_DATA };
        let response = HandshakeResponse {
            capabilities: if schema.is_some() { capabilities } else { capabilities & !capability::CONNECT_WITH_DB },
            collation,
            user: &user,
            auth: &auth,
            schema: schema.as_deref(),
            plugin: Some(b"mysql_native_password"),
            attributes,
            zstd_level: 0,
        };
        let payload = response.payload();
        prop_assert_eq!(&HandshakeResponse::parse(&payload).expect("our own packet"), &response);
        let seen: OracleResponse<'_> = oracle(&payload);
        prop_assert_eq!(seen.user(), &user);
        prop_assert_eq!(seen.scramble_buf(), &auth);
        prop_assert_eq!(seen.db_name(), schema.as_deref());
        prop_assert_eq!(seen.collation(), collation);
        prop_assert_eq!(seen.auth_plugin(), Some(&AuthPlugin::MysqlNativePassword));
        let seen = seen.connect_attributes().expect("attributes");
        prop_assert_eq!(seen.get("_pid").map(String::as_str), Some("42"));
        prop_assert_eq!(seen.get("_os").map(String::as_str), Some("Linux"));
    }

    #[test]
    fn responses_of_the_oracle_are_read(
        user in name(),
        auth in vec(any::<u8>(), 0..64),
        schema in proptest::option::of(name()),
    ) {
        let packet = OracleResponse::new(
            Some(auth.clone()),
            (9, 7, 4),
            Some(user.clone()),
            schema.clone(),
            Some(AuthPlugin::CachingSha2Password),
            CapabilityFlags::from_bits_truncate(OURS),
            Some([("program".to_owned(), "test".to_owned())].into()),
            1 << 24,
        );
        let payload = serialized(&packet);
        let seen = HandshakeResponse::parse(&payload).expect("the oracle's packet");
        prop_assert_eq!(seen.user, &user);
        prop_assert_eq!(seen.auth, &auth);
        prop_assert_eq!(seen.schema, schema.as_deref());
        prop_assert_eq!(seen.plugin, Some(&b"caching_sha2_password"[..]));
        prop_assert_eq!(seen.attributes, b"\x07program\x04test");
    }

    #[test]
    fn changes_of_user_are_read_as_written(
        user in name(),
        auth in vec(any::<u8>(), 0..250),
        schema in proptest::option::of(name()),
        collation: u16,
    ) {
        let message = ChangeUser {
            user: &user,
            auth: &auth,
            schema: schema.as_deref(),
            collation: Some(collation),
            plugin: Some(b"caching_sha2_password"),
            attributes: b"\x01a\x01b",
        };
        let payload = message.payload(OURS);
        prop_assert_eq!(&ChangeUser::parse(&payload, OURS).expect("our own packet"), &message);
        let more = ComChangeUserMoreData::new(collation)
            .with_auth_plugin(Some(AuthPlugin::CachingSha2Password))
            .with_connect_attributes(Some([("a".to_owned(), "b".to_owned())].into()));
        let oracle = ComChangeUser::new()
            .with_user(Some(user.clone()))
            .with_auth_plugin_data(Some(auth.clone()))
            .with_database(schema.clone())
            .with_more_data(Some(more));
        prop_assert_eq!(payload, serialized(&oracle));
    }

    #[test]
    fn switches_are_read_as_written(data in nonce()) {
        let switch = AuthSwitch { plugin: b"mysql_native_password", data: &data };
        let payload = switch.payload();
        prop_assert_eq!(&AuthSwitch::parse(&payload).expect("our own packet"), &switch);
        let seen: AuthSwitchRequest<'_> = oracle(&payload);
        prop_assert_eq!(seen.auth_plugin(), AuthPlugin::MysqlNativePassword);
        prop_assert_eq!(seen.plugin_data(), data);
    }

    #[test]
    fn requests_for_tls_are_read(capabilities: u32, collation: u8) {
        let payload = handshake::ssl_request(capabilities, collation);
        prop_assert_eq!(payload.len(), handshake::SSL_REQUEST_LEN);
        let seen: SslRequest = oracle(&payload);
        let (sent, _) = capability::split(capabilities);
        let expected = CapabilityFlags::from_bits_truncate(sent | capability::SSL);
        prop_assert_eq!(seen.capabilities(), expected);
        prop_assert_eq!(seen.character_set(), collation);
    }

    /// No bytes make a parser panic: noise, and our own packets cut short or with a byte changed.
    #[test]
    fn noise_is_malformed_at_worst(noise in vec(any::<u8>(), 0..300), capabilities: u32, greeting in greeting()) {
        parse_all(&noise, capabilities);
        let response = HandshakeResponse {
            capabilities: capabilities | capability::PROTOCOL_41,
            user: b"user",
            auth: &noise,
            schema: Some(b"schema"),
            plugin: Some(b"plugin"),
            attributes: &noise,
            ..HandshakeResponse::default()
        };
        let change = ChangeUser { user: b"user", auth: &noise, collation: Some(8), ..ChangeUser::default() };
        for mut payload in [greeting.payload(), response.payload(), change.payload(capabilities)] {
            let at = usize::from(noise.first().copied().unwrap_or(0)) % payload.len();
            parse_all(&payload[..at], capabilities);
            payload[at] = noise.last().copied().unwrap_or(0xFF);
            parse_all(&payload, capabilities);
        }
    }
}

fn parse_all(payload: &[u8], capabilities: u32) {
    // Whether it can be read does not matter here, only that it returns.
    let _ = Greeting::parse(payload);
    let _ = handshake::client_capabilities(payload);
    let _ = HandshakeResponse::parse(payload);
    let _ = ChangeUser::parse(payload, capabilities);
    let _ = AuthSwitch::parse(payload);
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hex");
    digits.chunks(2).map(pair).collect()
}

#[test]
fn the_greeting_of_mysql_9_7_is_read_and_written() {
    let payload = bytes(
        "0a392e372e342d3200ab00000012213f066c50014b00ffffff0200ffdf1500000000000000000000286c6103057009566456
         03540063616368696e675f736861325f70617373776f726400",
    );
    let greeting = Greeting::parse(&payload).expect("a greeting");
    assert_eq!(greeting.version, "9.7.4-2");
    assert_eq!((greeting.thread_id, greeting.collation, greeting.status), (171, 255, 2));
    assert_eq!(greeting.plugin, "caching_sha2_password");
    assert_eq!(capability::split(greeting.capabilities).1, 0);
    // The server shows two options that its clients keep for themselves; these bits are not sent on.
    let mut written = payload.clone();
    let at = written.windows(2).position(|bytes| bytes == [0xFF, 0xDF]).expect("the upper flags") + 1;
    written[at] &= 0x3F;
    assert_eq!(greeting.payload(), written);
}

#[test]
fn the_greeting_of_mariadb_10_11_is_read() {
    let payload = bytes(
        "0a352e352e352d31302e31312e31392d4d6172696144422d302b646562313275310008000000404726272e512f3700feff08
         0200ff81150000000000001d0000006473375527603274746b3d2a006d7973716c5f6e61746976655f70617373776f726400",
    );
    let greeting = Greeting::parse(&payload).expect("a greeting");
    assert_eq!(greeting.version, "5.5.5-10.11.19-MariaDB-0+deb12u1");
    assert_eq!(greeting.plugin, "mysql_native_password");
    assert_eq!(greeting.capabilities & capability::LONG_PASSWORD, 0);
    // Of 0x1d, those that we speak.
    assert_eq!(capability::split(greeting.capabilities).1, 0x0c);
}

#[test]
fn the_response_of_the_mariadb_client_is_read() {
    let payload = bytes(
        "85a2bf0000000001210000000000000000000000000000000000000000000000617070002012b55786d5fe3eaa60cb4630df
         0eaebc69b4efbd81795b7b5b5b53badb7eba5963616368696e675f736861325f70617373776f7264000a035f6f73054c696e
         7578",
    );
    let response = HandshakeResponse::parse(&payload).expect("a response");
    assert_eq!((response.user, response.schema, response.collation), (&b"app"[..], None, 33));
    assert_eq!(response.auth.len(), 32);
    assert_eq!(response.plugin, Some(&b"caching_sha2_password"[..]));
    assert_eq!(response.attributes, b"\x03_os\x05Linux");
}

#[test]
fn what_servers_do_not_speak_is_malformed() {
    let old_client = bytes("0500000000 61707000 00");
    assert!(handshake::client_capabilities(&old_client).is_err(), "the protocol before 4.1");
    let old_server = bytes("0a352e3000 01000000 4142434445464748 00 0000");
    assert!(Greeting::parse(&old_server).is_err(), "a greeting that ends at its lower flags");
    assert!(Greeting::parse(b"\x09irrelevant").is_err(), "another protocol version");
    let old_switch = AuthSwitch::parse(&[0xFE]).expect("a switch");
    assert_eq!(old_switch.plugin, b"mysql_old_password");
}
