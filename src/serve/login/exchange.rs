//! The packets of a login, one after the other, over a channel that may turn to TLS in between.

use std::io;
use std::net::SocketAddr;

use zeroize::Zeroizing;

use super::LoginError;
use crate::net::{Channel, Stream};
use crate::serve::tls::FrontTlsSetup;
use crate::wire::{HEADER_LEN, Malformed, ProxyHeader, begins_proxy_header, push_packet};

/// Largest packet a client may send before it is logged in.
pub const LOGIN_PACKET_MAX: usize = 64 * 1024;

pub(super) struct Exchange {
    /// `None` only during the TLS handshake, and for good if that fails.
    channel: Option<Channel>,
    /// Number of the next packet.
    sequence: u8,
}

impl Exchange {
    pub(super) fn new(channel: Channel, sequence: u8) -> Self {
        Self { channel: Some(channel), sequence }
    }

    pub(super) fn is_tls(&self) -> bool {
        self.channel.as_ref().is_some_and(|channel| channel.stream().is_tls())
    }

    pub(super) fn is_secure(&self) -> bool {
        self.channel.as_ref().is_some_and(|channel| channel.stream().is_secure())
    }

    pub(super) async fn send(&mut self, payload: &[u8]) -> Result<(), LoginError> {
        let mut out = Vec::with_capacity(payload.len() + HEADER_LEN);
        self.sequence = push_packet(&mut out, payload, self.sequence);
        self.channel()?.write_all(&out).await.map_err(LoginError::Client)
    }

    /// Reads one packet. Wiped when dropped, because it may hold the password.
    pub(super) async fn receive(&mut self) -> Result<Zeroizing<Vec<u8>>, LoginError> {
        let read = self.channel()?.read_message(LOGIN_PACKET_MAX).await;
        self.received(read)
    }

    /// The client's first packet, behind which TLS may begin, and before which a load balancer may name the client.
    pub(super) async fn receive_first(
        &mut self,
        announced: Announced,
    ) -> Result<(Zeroizing<Vec<u8>>, Option<SocketAddr>), LoginError> {
        let channel = self.channel()?;
        let mut head = channel.read_head().await.map_err(read_error)?;
        let mut client = None;
        match (begins_proxy_header(head), announced) {
            (true, Announced::Never) => return Err(LoginError::Announced("an address that is not trusted")),
            (true, _) => {
                client = read_announcement(channel, head).await?;
                head = channel.read_head().await.map_err(read_error)?;
            }
            (false, Announced::Always) => return Err(LoginError::Announced("a proxy that names no client")),
            (false, _) => {}
        }
        let read = channel.read_message_behind(head, LOGIN_PACKET_MAX).await;
        Ok((self.received(read)?, client))
    }

    fn received(&mut self, read: io::Result<(Vec<u8>, u8)>) -> Result<Zeroizing<Vec<u8>>, LoginError> {
        let (payload, next) = read.map_err(read_error)?;
        if next != self.sequence.wrapping_add(1) {
            return Err(Malformed("packet out of order").into());
        }
        self.sequence = next;
        Ok(Zeroizing::new(payload))
    }

    /// Performs the TLS handshake that the client has asked for.
    pub(super) async fn encrypt(&mut self, tls: &FrontTlsSetup) -> Result<(), LoginError> {
        let channel = self.channel.take().ok_or_else(gone)?;
        let stream = channel.into_stream().map_err(LoginError::Tls)?;
        let socket = stream.into_socket().ok_or(Malformed("TLS within TLS"))?;
        let stream = tls.accept(socket).await.map_err(LoginError::Tls)?;
        self.channel = Some(Channel::new(Stream::Tls(Box::new(stream))));
        Ok(())
    }

    pub(super) fn into_channel(self) -> Result<Channel, LoginError> {
        self.channel.ok_or_else(gone)
    }

    /// Sends the last packet of a login that failed and closes.
    pub(super) async fn refuse(mut self, payload: &[u8]) {
        // A client that is gone has nothing to be told.
        let _ = self.send(payload).await;
        if let Some(mut channel) = self.channel {
            channel.shutdown().await;
        }
    }

    fn channel(&mut self) -> Result<&mut Channel, LoginError> {
        self.channel.as_mut().ok_or_else(gone)
    }
}

/// Whether a connection begins with a header of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Announced {
    Never,
    Maybe,
    Always,
}

/// Reads a header of the PROXY protocol that begins with `head`.
async fn read_announcement(
    channel: &mut Channel,
    head: [u8; HEADER_LEN],
) -> Result<Option<SocketAddr>, LoginError> {
    let mut header = head.to_vec();
    loop {
        let len = header.len();
        match ProxyHeader::read(&header).map_err(|Malformed(what)| LoginError::Announced(what))? {
            ProxyHeader::Longer(longer) => {
                header.resize(longer, 0);
                channel.read_exact(&mut header[len..]).await.map_err(read_error)?;
            }
            ProxyHeader::From(client) => return Ok(Some(client)),
            ProxyHeader::Unnamed => return Ok(None),
        }
    }
}

fn gone() -> LoginError {
    LoginError::Client(io::ErrorKind::NotConnected.into())
}

fn read_error(error: io::Error) -> LoginError {
    match error.get_ref().map(|inner| (inner.downcast_ref::<Malformed>(), inner.is::<rustls::Error>())) {
        Some((Some(malformed), _)) => LoginError::Malformed(*malformed),
        Some((None, true)) => LoginError::Tls(error),
        _ => LoginError::Client(error),
    }
}
