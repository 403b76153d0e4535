//! Sockets with and without TLS, and the bytes read from them that nobody has used yet.

mod codec;
mod compression;
#[cfg(test)]
mod compression_tests;
mod peer;
mod stream;

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};

use self::compression::Frames;
pub use self::compression::Peer;
pub use self::peer::PeerAddress;
pub use self::stream::{Socket, Stream};
use crate::wire::{self, Compression};

/// How much is read at once. Larger for a result that keeps coming, see `Channel::fill`.
const READ_LEN: usize = 8 * 1024;
const READ_LEN_MAX: usize = 64 * 1024;

/// A stream and its unused input.
pub struct Channel {
    stream: Stream,
    input: BytesMut,
    read_len: usize,
    // Boxed, and there only once it is negotiated: most connections have none.
    frames: Option<Box<Frames>>,
}

impl Channel {
    pub fn new(stream: Stream) -> Self {
        Self { stream, input: BytesMut::new(), read_len: READ_LEN, frames: None }
    }

    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// For what is no packet.
    pub fn stream_mut(&mut self) -> &mut Stream {
        &mut self.stream
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

    /// All that follows, both ways, is in compressed frames.
    pub fn compress(&mut self, compression: Compression, peer: Peer) {
        let mut frames = Frames::new(compression, peer);
        frames.raw = std::mem::take(&mut self.input);
        self.frames = Some(Box::new(frames));
    }

    pub fn is_compressed(&self) -> bool {
        self.frames.is_some()
    }

    /// A command is about to be sent, or the one at the front of the input to be answered. Compressed frames are
    /// numbered by commands; without them this does nothing.
    pub fn begin_command(&mut self) {
        if let Some(frames) = &mut self.frames {
            frames.begin_command(self.input.len());
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
        if let Some(frames) = &mut self.frames
            && frames.is_at_rest()
        {
            frames.raw = BytesMut::new();
        }
    }

    /// Drops a buffer that has grown for a large result.
    pub fn trim_buffer(&mut self) {
        let raw = self.frames.as_ref().map_or(0, |frames| frames.raw.capacity());
        if self.input.capacity().max(raw) > 2 * READ_LEN {
            self.release_buffer();
        }
    }

    /// Whether `poll_fill` is worth a try: there may be something to read, or the peer may have closed. Needs no
    /// buffer to tell; where there is one, `poll_fill` tells as well.
    pub fn poll_news(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.stream {
            _ if self.input.capacity() > 0 => Poll::Ready(Ok(())),
            _ if self.frames.as_ref().is_some_and(|frames| !frames.is_at_rest()) => Poll::Ready(Ok(())),
            Stream::Tcp(tcp) => tcp.poll_read_ready(cx),
            Stream::Unix(unix) => unix.poll_read_ready(cx),
            // rustls may hold decrypted bytes that the socket says nothing of.
            Stream::Tls(_) => Poll::Ready(Ok(())),
        }
    }

    /// Reads more. Zero bytes: the peer has closed.
    pub async fn fill(&mut self) -> io::Result<usize> {
        if self.frames.is_some() {
            return std::future::poll_fn(|cx| self.poll_unpack(cx)).await;
        }
        self.make_room();
        let len = self.stream.read_buf(&mut self.input).await?;
        self.adapt(len);
        Ok(len)
    }

    /// As `fill`, for use beside other sources of events.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.frames.is_some() {
            return self.poll_unpack(cx);
        }
        self.make_room();
        // The future keeps nothing between polls, so a new one may stand in for it each time.
        let len = ready!(pin!(self.stream.read_buf(&mut self.input)).poll(cx))?;
        self.adapt(len);
        Poll::Ready(Ok(len))
    }

    /// Unpacks what has come, and reads on until there is something.
    fn poll_unpack(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(frames) = &mut self.frames else { return Poll::Ready(Ok(0)) };
        loop {
            match frames.unpack(&mut self.input) {
                Ok(0) => {}
                Ok(len) => return Poll::Ready(Ok(len)),
                Err(malformed) => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, malformed)));
                }
            }
            reserve(&mut frames.raw, self.read_len);
            let len = ready!(pin!(self.stream.read_buf(&mut frames.raw)).poll(cx))?;
            if len == 0 {
                return Poll::Ready(Ok(0));
            }
            self.read_len = adapted(self.read_len, len);
        }
    }

    /// Whether the peer has said or closed nothing that is still unread. Never waits, and costs no system
    /// call unless there is news.
    pub fn is_quiet(&mut self) -> bool {
        if !self.input.is_empty() || self.frames.as_ref().is_some_and(|frames| !frames.is_at_rest()) {
            return false;
        }
        let mut byte = [0_u8; 1];
        let mut buf = ReadBuf::new(&mut byte);
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(&mut self.stream).poll_read(&mut cx, &mut buf).is_pending()
    }

    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.frames {
            None => self.stream.write_all(bytes).await?,
            Some(frames) => {
                frames.count_packets(bytes);
                let packed = frames.pack(bytes);
                if packed.is_empty() {
                    return Ok(());
                }
                self.stream.write_all(&packed).await?;
            }
        }
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
            Stream::Tcp(_) | Stream::Unix(_) => Ok(()),
            Stream::Tls(tls) => tls.flush().await,
        }
    }

    /// Sends a few bytes that nobody waits for, if that can be done at once and without TLS.
    pub fn say_last(&self, bytes: &[u8]) {
        let framed = self.frames.is_some().then(|| compression::lone_frame(bytes));
        // The peer may be gone already; there is nobody to tell.
        self.stream.try_say(framed.as_deref().unwrap_or(bytes));
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
        let header = self.read_head().await?;
        self.read_message_behind(header, limit).await
    }

    /// The first bytes of a packet, or of what comes in its place. Nothing may have been read ahead.
    pub async fn read_head(&mut self) -> io::Result<[u8; wire::HEADER_LEN]> {
        let mut head = [0; wire::HEADER_LEN];
        self.read_exact(&mut head).await?;
        Ok(head)
    }

    /// Takes so many bytes and not one too many.
    pub async fn read_exact(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.stream.read_exact(bytes).await.map(drop)
    }

    /// As `read_message_alone`, for a packet whose header was taken already.
    pub async fn read_message_behind(
        &mut self,
        header: [u8; wire::HEADER_LEN],
        limit: usize,
    ) -> io::Result<(Vec<u8>, u8)> {
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
        if sequence == 0 {
            self.begin_command();
        }
        self.write_packet(payload, sequence).await
    }

    /// As `write_message`, for what belongs to a command begun, whatever its number.
    pub async fn write_packet(&mut self, payload: &[u8], sequence: u8) -> io::Result<u8> {
        let mut out = Vec::with_capacity(payload.len() + wire::HEADER_LEN);
        let next = wire::push_packet(&mut out, payload, sequence);
        self.write_all(&out).await?;
        Ok(next)
    }

    /// To be dropped next, with a reset in the place of a close.
    pub fn reset_when_dropped(&self) {
        self.stream.reset_when_dropped();
    }

    pub async fn shutdown(&mut self) {
        // The peer may be gone already; there is nobody to tell.
        let _ = self.stream.shutdown().await;
    }

    fn make_room(&mut self) {
        reserve(&mut self.input, self.read_len);
    }

    fn adapt(&mut self, len: usize) {
        self.read_len = adapted(self.read_len, len);
    }
}

fn reserve(buffer: &mut BytesMut, read_len: usize) {
    if buffer.capacity() - buffer.len() < read_len / 4 {
        buffer.reserve(read_len);
    }
}

/// Reads that fill the buffer earn a larger one: fewer system calls for large results.
fn adapted(read_len: usize, came: usize) -> usize {
    if came >= read_len && read_len < READ_LEN_MAX { read_len * 2 } else { read_len }
}
