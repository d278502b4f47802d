//! The TLS client for connections to directories.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use crate::credentials::{OpenError, trust};

/// A TLS client that trusts the certificates of `ca`, or those of this system.
pub(super) fn client(ca: Option<&Path>) -> Result<Arc<ClientConfig>, OpenError> {
    let mut roots = RootCertStore::empty();
    // Some systems have a few certificates that cannot be used: the others still can.
    let (added, _unusable) = roots.add_parsable_certificates(trust::certificates(ca)?);
    if added == 0 {
        return Err(OpenError::at("ca")(Error::NoneUsable));
    }
    let config = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(|error| OpenError::at("ca")(Error::Versions(error)))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("none of the certificates to trust can be used; name a file with ca")]
    NoneUsable,
    #[error("TLS cannot be set up: {0}")]
    Versions(rustls::Error),
}
