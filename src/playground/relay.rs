//! The way to a server that can be cut: a port that passes everything on, or nothing.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

const BUFFER: usize = 16 * 1024;

/// Everybody but we ourselves reaches the server by its port. It closes when dropped.
pub(super) struct Relay {
    pub(super) port: u16,
    is_cut: watch::Sender<bool>,
    _task: JoinSet<()>,
}

impl Relay {
    pub(super) async fn before(server: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let (is_cut, watched) = watch::channel(false);
        let mut task = JoinSet::new();
        task.spawn(serve(listener, SocketAddr::from((Ipv4Addr::LOCALHOST, server)), watched));
        Ok(Self { port, is_cut, _task: task })
    }

    /// From now on nothing is passed on, in either direction, and nobody is told.
    pub(super) fn cut(&self) {
        self.is_cut.send_replace(true);
    }

    pub(super) fn heal(&self) {
        self.is_cut.send_replace(false);
    }
}

async fn serve(listener: TcpListener, server: SocketAddr, is_cut: watch::Receiver<bool>) {
    let mut pairs = JoinSet::new();
    loop {
        // Those that have ended are forgotten.
        while pairs.try_join_next().is_some() {}
        let Ok((client, _)) = listener.accept().await else { continue };
        pairs.spawn(pass(client, server, is_cut.clone()));
    }
}

async fn pass(client: TcpStream, server: SocketAddr, mut is_cut: watch::Receiver<bool>) {
    if healed(&mut is_cut).await.is_none() {
        return;
    }
    let Ok(server) = TcpStream::connect(server).await else { return };
    // Else small packets wait for one another.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (client_reads, client_writes) = client.into_split();
    let (server_reads, server_writes) = server.into_split();
    // One that has ended ends the other: what is left of it has nobody to go to.
    tokio::select! {
        () = copy(client_reads, server_writes, is_cut.clone()) => {}
        () = copy(server_reads, client_writes, is_cut) => {}
    }
}

async fn copy(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut is_cut: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; BUFFER];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if healed(&mut is_cut).await.is_none() || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

/// Returns when nothing is cut; `None` when the relay is gone.
async fn healed(is_cut: &mut watch::Receiver<bool>) -> Option<()> {
    is_cut.wait_for(|is_cut| !is_cut).await.ok().map(drop)
}
