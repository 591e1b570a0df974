//! TLS on the daemon's own port, and how its certificate is renewed.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::{Scene, TRADE, port_of};
use crate::support::certificates::Certificates;
use crate::support::web::Web;

fn connector(certificates: &Certificates, authority: &str) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    let file = certificates.path(&format!("{authority}.pem"));
    roots.add(CertificateDer::from_pem_file(file).expect("a certificate")).expect("an authority");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

/// Puts a server's certificate and key where the daemon is told to find them.
fn renew(certificates: &Certificates, certificate: &str, key: &str) {
    for (from, to) in [(format!("{certificate}.pem"), "served.pem"), (format!("{key}.key"), "served.key")] {
        std::fs::copy(certificates.path(&from), certificates.path(to)).expect("a file");
    }
}

#[tokio::test]
async fn a_reload_takes_a_renewed_certificate_and_no_broken_one() {
    let certificates = Certificates::new();
    renew(&certificates, "localhost", "localhost");
    let path = |file: &str| certificates.path(file).display().to_string();
    let lines = format!("certificate_file = {:?}\nkey_file = {:?}", path("served.pem"), path("served.key"));
    let mut scene = Scene::with(&format!("trade {TRADE}\n"), &lines).await;
    let client = connector(&certificates, "ca");
    // The certificate is asked for by the host that it was made for, so each name tells which one is served.
    let served = async |web: Web| {
        let mut names = Vec::new();
        for host in ["localhost", "elsewhere.example"] {
            let name = ServerName::try_from(host).expect("a name");
            if client.connect(name, web.connect().await).await.is_ok() {
                names.push(host);
            }
        }
        names
    };
    assert_eq!(served(scene.web).await, ["localhost"]);

    renew(&certificates, "elsewhere", "elsewhere");
    assert_eq!(served(scene.web).await, ["localhost"], "without a reload nothing is read");
    scene.program.signal("HUP");
    scene.program.says("HTTP address=127.0.0.1:", 2).await;
    let web = Web { port: port_of(&mut scene.program).await };
    assert_eq!(served(web).await, ["elsewhere.example"]);

    renew(&certificates, "localhost", "elsewhere");
    scene.program.signal("HUP");
    scene.program.says("the one in force stays", 1).await;
    assert!(scene.program.log().contains("http.key_file"), "{}", scene.program.log());
    assert_eq!(served(web).await, ["elsewhere.example"]);
}

#[tokio::test]
async fn with_certificates_the_port_speaks_tls_and_nothing_else() {
    let certificates = Certificates::new();
    let path = |file: &str| certificates.path(file).display().to_string();
    let lines =
        format!("certificate_file = {:?}\nkey_file = {:?}", path("localhost.pem"), path("localhost.key"));
    let scene = Scene::with(&format!("trade {TRADE}\n"), &lines).await;
    let name = || ServerName::try_from("localhost").expect("a name");
    let mut stream = connector(&certificates, "ca")
        .connect(name(), scene.web.connect().await)
        .await
        .expect("a connection");
    stream
        .write_all(
            b"GET /api/v1/prices/tape/BTC-USDT HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
        )
        .await
        .expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(r#""last":97020.2"#), "{answer}");

    assert!(connector(&certificates, "other-ca").connect(name(), scene.web.connect().await).await.is_err());
    let plain = scene.web.raw(b"GET /api/v1/info HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert!(!String::from_utf8_lossy(&plain).contains("HTTP"), "{plain:?}");
}
