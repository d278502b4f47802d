//! The certificate authorities that the certificate of a store on another machine has to come from.

use std::path::Path;

use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

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

/// What is wrong with the certificates, or with what is made of them.
pub(super) fn bad(what: String) -> OpenError {
    OpenError { key: "ca", what }
}
