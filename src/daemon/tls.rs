//! TLS towards venues. How a client is made stands in `config::trust`, as for the broker.

use std::sync::Arc;

use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::config::{Authorities, trust};

/// Settings for a client that checks the other side against these authorities, or else the system's.
///
/// # Errors
/// A sentence when the system has no usable certificate.
pub fn client(authorities: Option<&Authorities>) -> Result<ClientConfig, String> {
    let roots = match authorities {
        Some(authorities) => Arc::clone(&authorities.roots),
        None => Arc::new(trust::system_roots()?),
    };
    trust::client(roots, None).map_err(|error| error.to_string())
}

/// Settings for a client that only goes to addresses without TLS, and trusts nobody.
///
/// # Errors
/// Never, in a build that works.
pub fn plain() -> Result<ClientConfig, String> {
    trust::client(Arc::new(RootCertStore::empty()), None).map_err(|error| error.to_string())
}
