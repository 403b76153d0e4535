//! A client that says any bytes a test wants said, and reads whole replies.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use pointsman::backend::{BackendTlsSetup, Conn, Credential, Login, Target};
use pointsman::config::{BackendTls, BackendTlsMode};
use pointsman::playground::Account;
use pointsman::wire::auth::Password;
use pointsman::wire::read::Cursor;
use pointsman::wire::{
    Command, Compression, ErrPacket, Expect, HEADER_LEN, Header, OkPacket, ResponseTracker, capability,
    push_packet,
};

pub(crate) struct Raw {
    pub(crate) conn: Conn,
}

impl Raw {
    pub(crate) async fn connect(port: u16, account: Account, schema: Option<&str>) -> Result<Self> {
        let profile = capability::DEPRECATE_EOF
            | capability::MULTI_STATEMENTS
            | capability::MULTI_RESULTS
            | capability::PS_MULTI_RESULTS;
        Self::speaking(port, account, schema, profile).await
    }

    /// With capability flags of the test's choice.
    pub(crate) async fn speaking(
        port: u16,
        account: Account,
        schema: Option<&str>,
        profile: u32,
    ) -> Result<Self> {
        Self::with(port, account, schema, profile, None).await
    }

    /// In compressed frames, if the peer offers that.
    pub(crate) async fn compressed(
        port: u16,
        account: Account,
        schema: Option<&str>,
        compression: Option<Compression>,
    ) -> Result<Self> {
        let profile = capability::DEPRECATE_EOF
            | capability::MULTI_STATEMENTS
            | capability::MULTI_RESULTS
            | capability::PS_MULTI_RESULTS;
        Self::with(port, account, schema, profile, compression).await
    }

    pub(crate) async fn with(
        port: u16,
        account: Account,
        schema: Option<&str>,
        profile: u32,
        compression: Option<Compression>,
    ) -> Result<Self> {
        let tls = BackendTls { mode: BackendTlsMode::Disabled, ca: None, certificate: None, key: None };
        let target = Target {
            address: format!("127.0.0.1:{port}").into(),
            tls: Arc::new(BackendTlsSetup::load(&tls)?),
            connect_timeout: Duration::from_secs(20),
            compression,
            proxy_protocol: false,
        };
        let credential =
            Credential { user: account.user.to_owned(), password: Password::clear(account.password) };
        let login = Login { client_capabilities: profile, collation: 45, schema: schema.map(str::to_owned) };
        Ok(Self { conn: Conn::connect(&target, &credential, &login).await? })
    }

    pub(crate) async fn send(&mut self, payload: &[u8]) -> Result<()> {
        self.conn.channel.write_message(payload, 0).await?;
        Ok(())
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.conn.channel.write_all(bytes).await?)
    }

    /// The payloads of one reply.
    pub(crate) async fn reply(&mut self, expect: Expect) -> Result<Vec<Vec<u8>>> {
        let mut tracker = ResponseTracker::new(expect, self.conn.capabilities);
        let mut bytes = Vec::new();
        loop {
            let input = self.conn.channel.input();
            let progress = tracker.advance(input)?;
            let packet = match progress.event {
                pointsman::wire::Event::Packet { len, .. } => len,
                _ => 0,
            };
            let taken = progress.forward + packet;
            bytes.extend_from_slice(&input[..taken]);
            self.conn.channel.consume(taken);
            if tracker.is_done() {
                return split(&bytes);
            }
            if progress.event == pointsman::wire::Event::More {
                ensure!(self.conn.channel.fill().await? > 0, "closed after {} bytes of a reply", bytes.len());
            }
        }
    }

    pub(crate) async fn ask(&mut self, payload: &[u8], expect: Expect) -> Result<Vec<Vec<u8>>> {
        self.send(payload).await?;
        self.reply(expect).await
    }

    pub(crate) async fn query(&mut self, statement: &str) -> Result<Vec<Vec<u8>>> {
        self.ask(&query(statement), Expect::Results).await
    }

    /// The first column of each row of a query's only result.
    pub(crate) async fn column(&mut self, statement: &str) -> Result<Vec<String>> {
        let packets = self.query(statement).await?;
        first_column(&packets).with_context(|| statement.to_owned())
    }

    /// Whether the peer has closed, after whatever it still said.
    pub(crate) async fn is_closed(&mut self) -> bool {
        loop {
            match self.conn.channel.fill().await {
                Ok(0) | Err(_) => return true,
                Ok(_) => {}
            }
        }
    }

    pub(crate) fn ok<'a>(&self, payload: &'a [u8]) -> Result<OkPacket<'a>> {
        Ok(OkPacket::parse(payload, self.conn.capabilities)?)
    }
}

pub(crate) fn query(statement: &str) -> Vec<u8> {
    let mut payload = vec![Command::QUERY];
    payload.extend_from_slice(statement.as_bytes());
    payload
}

/// Commands as they stand on the wire, one behind the other.
pub(crate) fn wired(commands: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for command in commands {
        push_packet(&mut bytes, command, 0);
    }
    bytes
}

pub(crate) fn error(packets: &[Vec<u8>]) -> Result<ErrPacket> {
    let last = packets.last().context("no packet")?;
    ErrPacket::parse(last).with_context(|| format!("{last:?}"))
}

/// Of a result that ends without EOF after its definitions.
pub(crate) fn first_column(packets: &[Vec<u8>]) -> Result<Vec<String>> {
    let columns = usize::from(*packets.first().and_then(|first| first.first()).context("no packet")?);
    ensure!((1..0xFB).contains(&columns), "{:?}", error(packets));
    let rows = &packets[1 + columns..packets.len() - 1];
    rows.iter()
        .map(|row| {
            let value = Cursor::new(row).nullable_lenenc_bytes()?;
            Ok(value.map_or("NULL".to_owned(), |value| String::from_utf8_lossy(value).into_owned()))
        })
        .collect()
}

fn split(bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
    let (mut packets, mut rest) = (Vec::new(), bytes);
    let mut expected = None;
    while !rest.is_empty() {
        let header = Header::read(rest).context("header")?;
        ensure!(expected.is_none_or(|number| number == header.sequence), "numbered out of order");
        expected = Some(header.sequence.wrapping_add(1));
        packets.push(rest[HEADER_LEN..HEADER_LEN + header.len].to_vec());
        rest = &rest[HEADER_LEN + header.len..];
    }
    Ok(packets)
}
