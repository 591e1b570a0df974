//! TLS of everything that this process opens itself: rustls with ring, and the certificates that the system trusts.

use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Settings for a client that checks the other side against the system's certificates.
///
/// # Errors
/// A sentence when the system has no usable certificate.
pub fn client() -> Result<ClientConfig, String> {
    let loaded = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(loaded.certs);
    if usable == 0 {
        let why = loaded.errors.first().map_or("there are none".to_owned(), ToString::to_string);
        return Err(format!("no certificates of the system can be used: {why}; install ca-certificates"));
    }
    with_roots(roots)
}

/// Settings for a client that only goes to addresses without TLS, and trusts nobody.
///
/// # Errors
/// Never, in a build that works.
pub fn plain() -> Result<ClientConfig, String> {
    with_roots(RootCertStore::empty())
}

fn with_roots(roots: RootCertStore) -> Result<ClientConfig, String> {
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
