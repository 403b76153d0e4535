//! Sockets with and without TLS, and the bytes read from them that nobody has used yet.

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

use crate::wire;

/// How much is read at once. Larger for a result that keeps coming, see `Channel::fill`.
const READ_LEN: usize = 8 * 1024;
const READ_LEN_MAX: usize = 64 * 1024;

/// A connection, to a client or a server.
pub enum Stream {
    Tcp(TcpStream),
    // Boxed: most of the state of a session without TLS would otherwise be this.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    pub fn peer(&self) -> io::Result<SocketAddr> {
        self.socket().peer_addr()
    }

    pub fn is_tls(&self) -> bool {
        matches!(self, Stream::Tls(_))
    }

    /// The certificate chain the peer showed, if any.
    pub fn peer_certificates(&self) -> Option<&[rustls::pki_types::CertificateDer<'static>]> {
        match self {
            Stream::Tcp(_) => None,
            Stream::Tls(tls) => tls.get_ref().1.peer_certificates(),
        }
    }

    pub fn socket(&self) -> &TcpStream {
        match self {
            Stream::Tcp(tcp) => tcp,
            Stream::Tls(tls) => tls.get_ref().0,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Stream::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Stream::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(tcp) => Pin::new(tcp).poll_flush(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}

/// A stream and its unused input.
pub struct Channel {
    stream: Stream,
    input: BytesMut,
    read_len: usize,
}

impl Channel {
    pub fn new(stream: Stream) -> Self {
        Self { stream, input: BytesMut::new(), read_len: READ_LEN }
    }

    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Gives the stream back, for a TLS handshake. Fails when bytes were read ahead: a peer that speaks
    /// before the handshake it asked for is broken or hostile.
    pub fn into_stream(self) -> io::Result<Stream> {
        if self.input.is_empty() {
            Ok(self.stream)
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidData, "data before the TLS handshake"))
        }
    }

    /// What has come and was not consumed.
    pub fn input(&self) -> &[u8] {
        &self.input
    }

    /// As `input`, to mend in place before passing it on.
    pub fn input_mut(&mut self) -> &mut [u8] {
        &mut self.input
    }

    pub fn consume(&mut self, len: usize) {
        self.input.advance(len);
    }

    /// Drops the buffer while there is nothing in it, so that an idle connection costs none.
    pub fn release_buffer(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
            self.read_len = READ_LEN;
        }
    }

    /// Drops a buffer that has grown for a large result.
    pub fn trim_buffer(&mut self) {
        if self.input.capacity() > 2 * READ_LEN {
            self.release_buffer();
        }
    }

    /// Whether `poll_fill` is worth a try: there may be something to read, or the peer may have closed. Needs no
    /// buffer to tell; where there is one, `poll_fill` tells as well.
    pub fn poll_news(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.stream {
            _ if self.input.capacity() > 0 => Poll::Ready(Ok(())),
            Stream::Tcp(tcp) => tcp.poll_read_ready(cx),
            // rustls may hold decrypted bytes that the socket says nothing of.
            Stream::Tls(_) => Poll::Ready(Ok(())),
        }
    }

    /// Reads more. Zero bytes: the peer has closed.
    pub async fn fill(&mut self) -> io::Result<usize> {
        self.make_room();
        let len = self.stream.read_buf(&mut self.input).await?;
        self.adapt(len);
        Ok(len)
    }

    /// As `fill`, for use beside other sources of events.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.make_room();
        // The future keeps nothing between polls, so a new one may stand in for it each time.
        let len = ready!(pin!(self.stream.read_buf(&mut self.input)).poll(cx))?;
        self.adapt(len);
        Poll::Ready(Ok(len))
    }

    /// Whether the peer has said or closed nothing that is still unread. Never waits, and costs no system
    /// call unless there is news.
    pub fn is_quiet(&mut self) -> bool {
        if !self.input.is_empty() {
            return false;
        }
        let mut byte = [0_u8; 1];
        let mut buf = ReadBuf::new(&mut byte);
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(&mut self.stream).poll_read(&mut cx, &mut buf).is_pending()
    }

    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.flush_tls().await
    }

    /// Writes the first `len` bytes of `other`'s input and consumes them there.
    pub async fn forward(&mut self, other: &mut Channel, len: usize) -> io::Result<()> {
        self.write_all(&other.input[..len]).await?;
        other.consume(len);
        Ok(())
    }

    async fn flush_tls(&mut self) -> io::Result<()> {
        match &mut self.stream {
            Stream::Tcp(_) => Ok(()),
            Stream::Tls(tls) => tls.flush().await,
        }
    }

    /// Sends a few bytes that nobody waits for, if that can be done at once and without TLS.
    pub fn say_last(&self, bytes: &[u8]) {
        if let Stream::Tcp(tcp) = &self.stream {
            // The peer may be gone already; there is nobody to tell.
            let _ = tcp.try_write(bytes);
        }
    }

    /// Reads one message: its payload, and the sequence number that an answer to it carries.
    pub async fn read_message(&mut self, limit: usize) -> io::Result<(Vec<u8>, u8)> {
        loop {
            match wire::whole_message(&self.input, limit) {
                Ok(Some((payload, taken, next))) => {
                    self.consume(taken);
                    return Ok((payload, next));
                }
                Ok(None) => {}
                Err(malformed) => return Err(io::Error::new(io::ErrorKind::InvalidData, malformed)),
            }
            if self.fill().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// As `read_message`, for a message of one packet behind which TLS may begin: takes not a byte too many,
    /// because what follows belongs to the TLS handshake, and clients send both at once.
    pub async fn read_message_alone(&mut self, limit: usize) -> io::Result<(Vec<u8>, u8)> {
        if !self.input.is_empty() {
            return self.read_message(limit).await;
        }
        let mut header = [0; wire::HEADER_LEN];
        self.stream.read_exact(&mut header).await?;
        let Some(wire::Header { len, sequence }) = wire::Header::read(&header) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        if len > limit.min(wire::MAX_PAYLOAD - 1) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, wire::Malformed("longer than allowed")));
        }
        let mut payload = vec![0; len];
        self.stream.read_exact(&mut payload).await?;
        Ok((payload, sequence.wrapping_add(1)))
    }

    /// Sends `payload` as one message. Returns the sequence number after it.
    pub async fn write_message(&mut self, payload: &[u8], sequence: u8) -> io::Result<u8> {
        let mut out = Vec::with_capacity(payload.len() + wire::HEADER_LEN);
        let next = wire::push_packet(&mut out, payload, sequence);
        self.write_all(&out).await?;
        Ok(next)
    }

    pub async fn shutdown(&mut self) {
        // The peer may be gone already; there is nobody to tell.
        let _ = self.stream.shutdown().await;
    }

    fn make_room(&mut self) {
        if self.input.capacity() - self.input.len() < self.read_len / 4 {
            self.input.reserve(self.read_len);
        }
    }

    /// Reads that fill the buffer earn a larger one: fewer system calls for large results.
    fn adapt(&mut self, len: usize) {
        if len >= self.read_len && self.read_len < READ_LEN_MAX {
            self.read_len *= 2;
        }
    }
}
