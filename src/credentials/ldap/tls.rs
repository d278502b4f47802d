//! The TLS client that directories are reached with.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::credentials::{OpenError, StoreError, trust};

/// A TLS client that trusts these certificates and no others.
///
/// # Errors
/// Why not, in words.
pub(super) fn client(ca: Option<&Path>) -> Result<Arc<ClientConfig>, OpenError> {
    let mut roots = RootCertStore::empty();
    // Systems carry a few certificates that are of no use; that is no reason to trust none.
    let (added, _unusable) = roots.add_parsable_certificates(trust::certificates(ca)?);
    if added == 0 {
        let what = "none of the certificates to trust can be used; name a file with ca";
        return Err(OpenError::at("ca")(StoreError(what.into())));
    }
    let config = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(|error| {
            OpenError::at("ca")(StoreError(format!("TLS cannot be set up: {error}").into()))
        })?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
