//! Accepts clients, one task each, until the house drains.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use socket2::{SockRef, Socket, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::house::House;
use super::login::{self, Hello, LoggedIn, LoginError};
use super::registry::Order;
use super::session::{End, Session};
use super::socket::BoundSocket;
use crate::flavour::Flavour;
use crate::net::{Channel, PeerAddress, Stream};
use crate::shutdown::Shutdown;
use crate::wire::{ErrPacket, code};

/// Connections the kernel completes ahead of our accepting them.
const BACKLOG: i32 = 4096;

/// A dead client is noticed after about two minutes of silence.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);

/// What the front says it is before any server could be asked.
const VERSION_UNKNOWN: &str = "8.4.0-pointsman";

/// A port that is bound and not yet served.
pub struct Bound {
    listener: TcpListener,
    local: Option<BoundSocket>,
}

/// Binds the port clients connect to.
pub fn bind(address: SocketAddr) -> io::Result<Bound> {
    let socket = Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(Bound { listener: TcpListener::from_std(socket.into())?, local: None })
}

impl Bound {
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves clients of this machine at a Unix socket too.
    pub fn with_socket(self, socket: BoundSocket) -> Self {
        Self { local: Some(socket), ..self }
    }

    /// Serves clients; returns when draining has come to its end.
    pub async fn run(self, house: Arc<House>, mut shutdown: Shutdown) {
        let admission = Arc::new(Semaphore::new(house.listen.max_clients));
        let tending = tokio::spawn(tend(Arc::clone(&house)));
        let mut draining = shutdown.clone();
        let mut drained = pin!(draining.draining());
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted.map(|(tcp, _)| tuned(tcp)),
                accepted = accept_local(self.local.as_ref()) => accepted,
                () = &mut drained => break,
            };
            match accepted {
                Ok(stream) => admit(stream, &house, &admission, shutdown.clone()),
                Err(error) => {
                    // Out of descriptors, most likely: give the clients that leave time to do so.
                    tracing::warn!(%error, "cannot accept clients");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        drop((self.listener, self.local));
        drain(&house, &admission, &mut shutdown).await;
        tending.abort();
    }
}

/// No new clients; transactions finish within the limit, the others are told at once.
async fn drain(house: &House, admission: &Semaphore, shutdown: &mut Shutdown) {
    house.registry.drain();
    let limit = house.limits.drain_timeout;
    let all = u32::try_from(house.listen.max_clients).unwrap_or(u32::MAX);
    let finished = tokio::select! {
        all_left = tokio::time::timeout(limit, admission.acquire_many(all)) => all_left.is_ok(),
        () = shutdown.closed() => false,
    };
    if !finished {
        tracing::warn!(sessions = house.registry.len(), "draining took too long; the rest is cut off");
        house.registry.order_all(Order::DrainNow);
        // They need a moment to say goodbye, and no more.
        let _ = tokio::time::timeout(Duration::from_secs(1), admission.acquire_many(all)).await;
    }
}

fn tuned(tcp: TcpStream) -> Stream {
    // A socket that cannot be tuned still works.
    let _ = tcp.set_nodelay(true);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(Duration::from_secs(15));
    let _ = SockRef::from(&tcp).set_tcp_keepalive(&keepalive);
    Stream::Tcp(tcp)
}

/// The next client at the Unix socket; never one where there is none.
async fn accept_local(socket: Option<&BoundSocket>) -> io::Result<Stream> {
    match socket {
        Some(socket) => socket.accept().await.map(Stream::Unix),
        None => std::future::pending().await,
    }
}

fn admit(stream: Stream, house: &Arc<House>, admission: &Arc<Semaphore>, mut shutdown: Shutdown) {
    house.counters.accepted.fetch_add(1, Relaxed);
    let channel = Channel::new(stream);
    let Ok(permit) = Arc::clone(admission).try_acquire_owned() else {
        house.counters.refused_full.fetch_add(1, Relaxed);
        tokio::spawn(async move {
            login::turn_away(channel, &ErrPacket::new(code::CON_COUNT, "Too many connections")).await;
        });
        return;
    };
    let house = Arc::clone(house);
    tokio::spawn(async move {
        // Logging in and serving are separate futures, so that an idle session does not carry the size of a
        // login; boxed, because the larger of the two is only needed once.
        let logged_in = tokio::select! {
            logged_in = Box::pin(log_in(channel, &house)) => logged_in,
            // Whoever has not logged in by then is new, and nobody to wait for.
            () = shutdown.draining() => None,
        };
        drop(shutdown);
        if let Some((id, logged_in)) = logged_in {
            serve(id, logged_in, &house).await;
        }
        drop(permit);
    });
}

/// The server's own, because client libraries take it for their session's where they are told none. One byte has to
/// do, for servers too.
fn greeted_collation(house: &House, flavour: Flavour) -> u8 {
    let told = house.defaults().and_then(|defaults| defaults.server_collation);
    told.map_or(if flavour == Flavour::MySql { 255 } else { 45 }, |number| number.to_le_bytes()[0])
}

async fn log_in(channel: Channel, house: &Arc<House>) -> Option<(u32, LoggedIn)> {
    let id = house.registry.new_id();
    let (version_text, flavour) = front_version(house);
    let collation = greeted_collation(house, flavour);
    let hello = Hello { thread_id: id, version: &version_text, flavour, collation };
    let peer = channel.stream().peer();
    match login::log_in(channel, &hello, &house.login).await {
        Ok(logged_in) => Some((id, logged_in)),
        Err(error) => {
            house.counters.logins_failed.fetch_add(1, Relaxed);
            match error {
                // Something is set up wrongly, and the client cannot be told.
                LoginError::Announced(_) => {
                    tracing::warn!(peer = %peer_name(peer), %error, "connection closed")
                }
                error => tracing::debug!(id, %error, "login failed"),
            }
            None
        }
    }
}

fn peer_name(peer: io::Result<PeerAddress>) -> String {
    peer.map_or_else(|_| "unknown".to_owned(), |peer| peer.to_string())
}

/// What the front says it is: what the primary is.
fn front_version(house: &House) -> (Arc<str>, Flavour) {
    let snapshot = house.topology.load();
    let primary = snapshot.primary.map(|id| snapshot.server(id));
    let known = primary.into_iter().chain(snapshot.servers.iter()).find(|server| server.version.is_some());
    match known {
        Some(server) => (
            Arc::clone(&server.version_text),
            server.version.map_or(Flavour::MySql, |version| version.flavour),
        ),
        None => (VERSION_UNKNOWN.into(), Flavour::MySql),
    }
}

/// Serves a client as one user after another, until it leaves.
async fn serve(id: u32, mut logged_in: LoggedIn, house: &Arc<House>) {
    loop {
        let mut session = Session::new(id, logged_in, Arc::clone(house));
        let end = session.run().await;
        let End::ChangeUser { payload, sequence, capabilities, collation } = end else { break };
        let peer = session.info.peer;
        let session = login::Session { channel: session.client, peer, capabilities, collation };
        match Box::pin(login::change_user(session, &payload, sequence, &house.login)).await {
            Ok(next) => logged_in = next,
            Err(error) => {
                house.counters.logins_failed.fetch_add(1, Relaxed);
                tracing::debug!(id, %error, "change of user failed");
                break;
            }
        }
    }
    house.registry.remove(id);
}

/// Once a second: sessions that rest, pools that have too much.
async fn tend(house: Arc<House>) {
    let mut every = tokio::time::interval(Duration::from_secs(1));
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let under_pressure = house.pools.iter().any(|pool| pool.gauge().waiting > 0);
        house.registry.tend(house.listen.idle_timeout, under_pressure, Instant::now());
        for pool in &house.pools {
            pool.prune();
        }
    }
}
