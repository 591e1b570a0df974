//! A plain axum server that answers every body with itself: what `scripts/http-load` holds the webhook against.
//! Prints its address and runs until it is ended.

use axum::Router;
use axum::routing::post;

fn main() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        let app = Router::new().route("/echo", post(|body: String| async { body }));
        let mut served = tokio::task::JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let app = hyper_util::service::TowerToHyperService::new(app.clone());
            let io = hyper_util::rt::TokioIo::new(stream);
            served.spawn(hyper::server::conn::http1::Builder::new().serve_connection(io, app));
            while served.try_join_next().is_some() {}
        }
    })
}
