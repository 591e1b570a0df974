//! The thread, its listener, and one task for each connection.
//!
//! A connection beyond the limit is told so and closed. A head that does not come, a body that does not end and a peer
//! that takes nothing lose their connection, so that none is held for nothing.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::access::Access;
use super::metrics::Requests;
use super::patient::Patient;
use super::problem::Problem;
use super::webhook::Guesses;
use super::{HttpContext, Limits, Shared, routes, stopped};

/// The largest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// The most fields of a head.
const HEAD_FIELDS_MAX: usize = 64;
/// Threads that ask the query store, and so may wait for the disk.
const QUESTION_THREADS: usize = 2;
/// Files and sockets that are left to the rest of the process.
const FILES_RESERVED: usize = 128;
/// How long the listener rests when the system has no more connections to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a stop waits for answers that are on their way.
const LAST_ANSWERS: Duration = Duration::from_millis(300);

/// The running interface.
pub struct HttpServer {
    /// Where it listens.
    pub address: SocketAddr,
    stop: watch::Sender<bool>,
    ended: oneshot::Receiver<()>,
    handle: JoinHandle<()>,
}

impl HttpServer {
    /// Starts the thread.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn start(listener: StdListener, mut context: HttpContext) -> std::io::Result<HttpServer> {
        let address = listener.local_addr()?;
        context.limits = within_files(context.limits);
        let (stop, stopped) = watch::channel(false);
        let (end, ended) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(QUESTION_THREADS)
            .build()?;
        let handle = std::thread::Builder::new().name("http".into()).spawn(move || {
            runtime.block_on(run(listener, address, context, stopped));
            // A question that still waits for the disk is not waited for.
            runtime.shutdown_background();
            drop(end);
        })?;
        tracing::info!(%address, "HTTP");
        Ok(HttpServer { address, stop, ended, handle })
    }

    /// Stops accepting, lets answers on their way leave, and ends, but waits no longer than `patience`.
    pub async fn stop(self, patience: Duration) {
        let _ = self.stop.send(true);
        if tokio::time::timeout(patience, self.ended).await.is_err() {
            tracing::warn!("HTTP does not end in time");
        } else if self.handle.join().is_err() {
            tracing::error!("the thread of HTTP failed");
        }
    }
}

/// Keeps connections and streams below what the process may open.
fn within_files(mut limits: Limits) -> Limits {
    let text = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("Max open files"));
    let files = line.and_then(|line| line.split_whitespace().nth(3)?.parse::<usize>().ok());
    let Some(room) = files.map(|files| files.saturating_sub(FILES_RESERVED).max(2)) else { return limits };
    if limits.connections + limits.streams > room {
        limits.connections = limits.connections.min(room / 2);
        limits.streams = limits.streams.min(room - limits.connections);
        let (connections, streams) = (limits.connections, limits.streams);
        tracing::warn!(
            connections,
            streams,
            "fewer clients: the limit of open files is low (LimitNOFILE, ulimit -n)"
        );
    }
    limits
}

async fn run(listener: StdListener, address: SocketAddr, context: HttpContext, stop: watch::Receiver<bool>) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "HTTP cannot listen"),
    };
    let limits = context.limits;
    let (changes_sender, changes) = watch::channel(0);
    let shared = Arc::new(Shared {
        access: Access::new(&context.config, address),
        requests: Requests::default(),
        guesses: Guesses::default(),
        questions: Arc::new(Semaphore::new(limits.questions)),
        streams: Arc::new(Semaphore::new(limits.streams)),
        changes,
        stop: stop.clone(),
        context,
    });
    // The engine loop wakes one task; that one wakes all streams, on this thread.
    let board = Arc::clone(&shared.context.board);
    tokio::spawn(async move {
        loop {
            board.changed().await;
            changes_sender.send_replace(board.number());
        }
    });
    let app = routes::router(Arc::clone(&shared));
    accept(&listener, &app, &shared, stop).await;
}

async fn accept(listener: &TcpListener, app: &Router, shared: &Arc<Shared>, mut stop: watch::Receiver<bool>) {
    let limits = shared.context.limits;
    let tls = shared.context.config.tls.as_ref().map(|tls| TlsAcceptor::from(Arc::clone(&tls.server)));
    let room = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stopped(&mut stop) => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => match Arc::clone(&room).try_acquire_owned() {
                Ok(permit) => {
                    let (app, stop, tls) = (app.clone(), stop.clone(), tls.clone());
                    connections.spawn(open(stream, peer, tls, app, limits, stop, permit));
                }
                Err(_) => refuse(&stream, tls.is_some(), limits.connections, shared),
            },
            // The peer was gone before it was taken.
            Err(error)
                if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => {}
            Err(error) => {
                tracing::warn!(%error, "HTTP takes no connection for a moment");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    let drained = async {
        while connections.join_next().await.is_some() {}
        // Streams have left their connections and hold a permit each.
        let all = u32::try_from(limits.streams).unwrap_or(u32::MAX);
        let _ = shared.streams.acquire_many(all).await;
    };
    // What is not answered by now is dropped with its connection.
    let _ = tokio::time::timeout(LAST_ANSWERS, drained).await;
}

/// Opens one connection and serves it to its end.
async fn open(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    app: Router,
    limits: Limits,
    stop: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
) {
    // Without it small answers wait for acknowledgements; a socket that refuses is served all the same.
    let _ = stream.set_nodelay(true);
    let stream = Patient::new(stream, limits.write);
    let Some(tls) = tls else { return serve(stream, peer, app, limits, stop).await };
    match tokio::time::timeout(limits.head, tls.accept(stream)).await {
        Ok(Ok(stream)) => serve(stream, peer, app, limits, stop).await,
        Ok(Err(error)) => tracing::debug!(%error, "a connection ended before it was secure"),
        Err(_) => tracing::debug!("a connection was not secure in time"),
    }
}

/// Serves one connection until its end, or until the stop and the answer that is on its way.
async fn serve(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    peer: SocketAddr,
    app: Router,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
) {
    let app = TowerToHyperService::new(app);
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let mut request: Request = request.map(axum::body::Body::new);
        request.extensions_mut().insert(peer);
        app.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEAD_FIELDS_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Says why, as far as the socket takes it at once.
fn refuse(stream: &TcpStream, secure: bool, connections: usize, shared: &Shared) {
    shared.requests.refused();
    if secure {
        // A handshake for a refusal would cost more than an answer.
        return;
    }
    let body = Problem::unavailable(format!("{connections} connections are open, which is the limit")).body();
    let text = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nretry-after: 1\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let _ = stream.try_write(text.as_bytes());
}
