//! The certificate authorities that must have issued the certificate of a store on another machine.

use std::path::{Path, PathBuf};

use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};

use super::OpenError;

/// Why there are no certificates to trust.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0} cannot be read: {1}")]
    Unreadable(PathBuf, pem::Error),
    #[error("{0} has no certificates to trust; name a file of them with ca")]
    EmptyFile(PathBuf),
    #[error("this system has no certificates to trust; name a file of them with ca")]
    EmptySystem,
}

/// The certificates of `ca`, a PEM file, or those that this system trusts.
pub(super) fn certificates(ca: Option<&Path>) -> Result<Vec<CertificateDer<'static>>, OpenError> {
    ca.map_or_else(system, file).map_err(OpenError::at("ca"))
}

fn file(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = read.map_err(|error| Error::Unreadable(path.into(), error))?;
    if certificates.is_empty() { Err(Error::EmptyFile(path.into())) } else { Ok(certificates) }
}

fn system() -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates = rustls_native_certs::load_native_certs().certs;
    if certificates.is_empty() { Err(Error::EmptySystem) } else { Ok(certificates) }
}
