//! Whom a store that is elsewhere has to prove to be: the certificates that its own has to come
//! from.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::OpenError;

/// The certificates of `ca`, a PEM file, or those that this system trusts.
///
/// # Errors
/// Why there are none, in words that name the file.
pub(super) fn certificates(ca: Option<&Path>) -> Result<Vec<CertificateDer<'static>>, OpenError> {
    let (certificates, whose) = match ca {
        Some(path) => {
            let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
            let shown = path.display();
            let read = read.map_err(|error| bad(format!("{shown} cannot be read: {error}")))?;
            (read, shown.to_string())
        }
        None => (rustls_native_certs::load_native_certs().certs, "this system".to_owned()),
    };
    if certificates.is_empty() {
        let what = format!("{whose} has no certificates to trust; name a file of them with ca");
        return Err(bad(what));
    }
    Ok(certificates)
}

/// A TLS client that trusts these certificates and no others.
///
/// # Errors
/// Why not, in words.
pub(super) fn client(ca: Option<&Path>) -> Result<Arc<ClientConfig>, OpenError> {
    let mut roots = RootCertStore::empty();
    // Systems carry a few certificates that are of no use; that is no reason to trust none.
    let (added, _unusable) = roots.add_parsable_certificates(certificates(ca)?);
    if added == 0 {
        let what = "none of the certificates to trust can be used; name a file with ca";
        return Err(bad(what.into()));
    }
    let config = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(format!("TLS cannot be set up: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn bad(what: String) -> OpenError {
    OpenError { key: "ca", what }
}
