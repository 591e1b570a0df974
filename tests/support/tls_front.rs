//! TLS in front of a server that speaks none, as a proxy of a user would be.

use std::path::Path;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Forwards what comes in TLS to a port of the loopback address.
pub struct TlsFront {
    /// Where it listens.
    pub port: u16,
    _task: JoinSet<()>,
}

impl TlsFront {
    /// Shows this certificate (PEM, with its key beside it).
    pub async fn start(target: u16, certificate: &Path) -> TlsFront {
        let chain = CertificateDer::pem_file_iter(certificate).expect("a file of certificates");
        let chain = chain.collect::<Result<Vec<_>, _>>().expect("certificates");
        let key = PrivateKeyDer::from_pem_file(certificate.with_extension("key")).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a certificate with its key");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                connections.spawn(async move {
                    // Whoever does not believe us hangs up; that is what tests look at from the other side.
                    let Ok(mut outside) = acceptor.accept(socket).await else { return };
                    let Ok(mut inside) = TcpStream::connect(("127.0.0.1", target)).await else { return };
                    let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
                });
            }
        });
        TlsFront { port, _task: task }
    }
}
