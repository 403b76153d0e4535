//! Accepts people, one task each, until everything is closed.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use socket2::Socket;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::session::Session;
use super::{Desk, variables};
use crate::flavour::Flavour;
use crate::net::{Channel, Stream};
use crate::serve::login::{self, Hello};
use crate::shutdown::Shutdown;
use crate::wire::{ErrPacket, code};

/// People connected at once, logged in or not.
const CONNECTIONS_MAX: usize = 64;

const BACKLOG: i32 = 64;

/// utf8mb4_0900_ai_ci, which clients of both flavours pass over if they do not know it.
const COLLATION: u8 = 255;

/// A port that is bound and not yet served.
pub struct Bound {
    listener: TcpListener,
}

/// Binds the port.
pub fn bind(address: SocketAddr) -> io::Result<Bound> {
    let socket = Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(Bound { listener: TcpListener::from_std(socket.into())? })
}

impl Bound {
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves people until everything is closed; also while the front drains, for that is worth a look. Whoever is
    /// connected when it returns or is dropped is cut off.
    pub async fn run(self, desk: Arc<Desk>, mut shutdown: Shutdown) {
        let admission = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let next_id = AtomicU32::new(1);
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
                () = shutdown.closed() => return,
            };
            let tcp = match accepted {
                Ok((tcp, _)) => tcp,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections to the admin port");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            // A socket that cannot be tuned still works.
            let _ = tcp.set_nodelay(true);
            let Ok(permit) = Arc::clone(&admission).try_acquire_owned() else {
                connections.spawn(turn_away(tcp));
                continue;
            };
            let (desk, id) = (Arc::clone(&desk), next_id.fetch_add(1, Relaxed));
            connections.spawn(async move {
                serve(tcp, id, desk).await;
                drop(permit);
            });
        }
    }
}

async fn turn_away(tcp: TcpStream) {
    let words = ErrPacket::new(code::CON_COUNT, "Too many connections");
    login::turn_away(Channel::new(Stream::Tcp(tcp)), &words).await;
}

async fn serve(tcp: TcpStream, id: u32, desk: Arc<Desk>) {
    let hello =
        Hello { thread_id: id, version: variables::VERSION, flavour: Flavour::MySql, collation: COLLATION };
    let channel = Channel::new(Stream::Tcp(tcp));
    match Box::pin(login::log_in(channel, &hello, &desk.login)).await {
        Ok(logged_in) => Session::new(id, logged_in, desk).run().await,
        Err(error) => tracing::debug!(id, %error, "login to the admin port failed"),
    }
}
