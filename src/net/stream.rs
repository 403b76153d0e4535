//! Sockets of either sort, with and without TLS.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsStream;

use super::PeerAddress;

/// A connection, to a client or a server.
pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    // Boxed: most of the state of a session without TLS would otherwise be this.
    Tls(Box<TlsStream<Socket>>),
}

/// What TLS runs over.
pub enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Passes a call on to whatever stream it is.
macro_rules! each {
    ($of:ident::{$($kind:ident),+}, $stream:expr, $inner:ident => $call:expr) => {
        match $stream {
            $($of::$kind($inner) => $call,)+
        }
    };
}

impl Stream {
    pub fn peer(&self) -> io::Result<PeerAddress> {
        match self {
            Stream::Tcp(tcp) => tcp.peer_addr().map(PeerAddress::Ip),
            Stream::Unix(_) => Ok(PeerAddress::Local),
            Stream::Tls(tls) => tls.get_ref().0.peer(),
        }
    }

    pub fn is_tls(&self) -> bool {
        matches!(self, Stream::Tls(_))
    }

    /// Whether nobody can listen in: what is never on a network needs no TLS for that.
    pub fn is_secure(&self) -> bool {
        matches!(self, Stream::Tls(_) | Stream::Unix(_))
    }

    /// The certificate chain the peer showed, if any.
    pub fn peer_certificates(&self) -> Option<&[rustls::pki_types::CertificateDer<'static>]> {
        match self {
            Stream::Tcp(_) | Stream::Unix(_) => None,
            Stream::Tls(tls) => tls.get_ref().1.peer_certificates(),
        }
    }

    /// The socket, for a TLS handshake; `None` where TLS is already.
    pub fn into_socket(self) -> Option<Socket> {
        match self {
            Stream::Tcp(tcp) => Some(Socket::Tcp(tcp)),
            Stream::Unix(unix) => Some(Socket::Unix(unix)),
            Stream::Tls(_) => None,
        }
    }

    /// From now on to be dropped is to be reset: the peer's next word fails at once, and is not sent in vain.
    pub(super) fn reset_when_dropped(&self) {
        let tcp = match self {
            Stream::Tcp(tcp) => Some(tcp),
            Stream::Unix(_) => None,
            Stream::Tls(tls) => match tls.get_ref().0 {
                Socket::Tcp(tcp) => Some(tcp),
                Socket::Unix(_) => None,
            },
        };
        // Where it cannot be set, the peer finds the end one word later.
        let _ = tcp.map(TcpStream::set_zero_linger);
    }

    /// Says a few bytes if that can be done at once and without TLS.
    pub(super) fn try_say(&self, bytes: &[u8]) {
        let _ = match self {
            Stream::Tcp(tcp) => tcp.try_write(bytes),
            Stream::Unix(unix) => unix.try_write(bytes),
            Stream::Tls(_) => Ok(0),
        };
    }
}

impl Socket {
    pub fn peer(&self) -> io::Result<PeerAddress> {
        match self {
            Socket::Tcp(tcp) => tcp.peer_addr().map(PeerAddress::Ip),
            Socket::Unix(_) => Ok(PeerAddress::Local),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Tcp(tcp) => tcp.as_fd(),
            Stream::Unix(unix) => unix.as_fd(),
            Stream::Tls(tls) => match tls.get_ref().0 {
                Socket::Tcp(tcp) => tcp.as_fd(),
                Socket::Unix(unix) => unix.as_fd(),
            },
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(Stream::{Tcp, Unix, Tls}, self.get_mut(), inner => Pin::new(inner).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(Stream::{Tcp, Unix, Tls}, self.get_mut(), inner => Pin::new(inner).poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(Stream::{Tcp, Unix, Tls}, self.get_mut(), inner => Pin::new(inner).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(Stream::{Tcp, Unix, Tls}, self.get_mut(), inner => Pin::new(inner).poll_shutdown(cx))
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(Socket::{Tcp, Unix}, self.get_mut(), inner => Pin::new(inner).poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(Socket::{Tcp, Unix}, self.get_mut(), inner => Pin::new(inner).poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(Socket::{Tcp, Unix}, self.get_mut(), inner => Pin::new(inner).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(Socket::{Tcp, Unix}, self.get_mut(), inner => Pin::new(inner).poll_shutdown(cx))
    }
}
