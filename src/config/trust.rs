//! Whom TLS believes: the one way in which this process makes the client side of a connection with TLS.
//!
//! Invariant: the other side's certificate is always verified, for the host of its address. rustls with ring, TLS 1.2
//! and 1.3. Who verifies against which authorities is decided by whoever asks: `mqtt.ca_file`, `venue.*.ca_file`, or
//! the system's.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, Error, RootCertStore};

/// A certificate with the chain above it, and its key.
pub type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Authorities of a file, in place of the system's.
#[derive(Clone, Debug)]
pub struct Authorities {
    /// The file, for people.
    pub file: PathBuf,
    /// What it holds, at least one.
    pub roots: Arc<RootCertStore>,
}

/// Settings for a client that believes these authorities, and shows who it is if it has something to show.
///
/// # Errors
/// When key and certificate do not belong together, or are of no use. Never without them.
pub fn client(roots: Arc<RootCertStore>, identity: Option<Identity>) -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    match identity {
        None => Ok(builder.with_no_client_auth()),
        Some((chain, key)) => builder.with_client_auth_cert(chain, key),
    }
}

/// The authorities that the system trusts.
///
/// # Errors
/// A sentence when there is none that can be used.
pub fn system_roots() -> Result<RootCertStore, String> {
    let loaded = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(loaded.certs);
    if usable == 0 {
        let why = loaded.errors.first().map_or("there are none".to_owned(), ToString::to_string);
        return Err(format!("no certificates of the system can be used: {why}; install ca-certificates"));
    }
    Ok(roots)
}
