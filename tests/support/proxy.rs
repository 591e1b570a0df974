//! A TCP proxy whose link can freeze (nothing passes, nothing closes), heal or be cut.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What happens to bytes on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// They pass.
    Open,
    /// They wait, in both directions.
    Frozen,
    /// Connections made so far are closed.
    Cut,
}

/// Forwards to a port of the loopback address.
pub struct Proxy {
    /// Where it listens.
    pub port: u16,
    link: watch::Sender<Link>,
    target: watch::Sender<u16>,
    _task: JoinSet<()>,
}

impl Proxy {
    pub async fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let (link, seen) = watch::channel(Link::Open);
        let (target, aim) = watch::channel(target);
        let mut task = JoinSet::new();
        task.spawn(accept(listener, aim, seen));
        Self { port, link, target, _task: task }
    }

    /// Forwards connections from now on to another port.
    pub fn aim(&self, target: u16) {
        self.target.send_replace(target);
    }

    pub fn set(&self, link: Link) {
        self.link.send_replace(link);
    }
}

async fn accept(listener: TcpListener, target: watch::Receiver<u16>, link: watch::Receiver<Link>) {
    let mut connections = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        let target = SocketAddr::from(([127, 0, 0, 1], *target.borrow()));
        let Ok(far) = TcpStream::connect(target).await else { continue };
        let _ = (near.set_nodelay(true), far.set_nodelay(true));
        let mut cut = link.clone();
        let link = link.clone();
        connections.spawn(async move {
            let (near_read, near_write) = near.into_split();
            let (far_read, far_write) = far.into_split();
            tokio::select! {
                () = forward(near_read, far_write, link.clone()) => {}
                () = forward(far_read, near_write, link) => {}
                _ = cut.wait_for(|link| *link == Link::Cut) => {}
            }
        });
    }
}

async fn forward(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut link: watch::Receiver<Link>,
) {
    let mut buffer = vec![0; 4096];
    loop {
        let Ok(count @ 1..) = from.read(&mut buffer).await else { return };
        if link.wait_for(|link| *link != Link::Frozen).await.is_err() {
            return;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
