//! The CA certificates for client certificates.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::{self, RootCertStore};

use super::pem::{Fault, PemError, certificates};

/// The certificates of `client-ca`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clients(Vec<CertificateDer<'static>>);

impl Clients {
    /// Reads the file of `client-ca`. Without one, clients are not asked for a certificate.
    ///
    /// # Errors
    /// [`PemError`] when it has no certificate, or one that cannot be used.
    pub fn load(client_ca: Option<&Path>) -> Result<Self, PemError> {
        let Some(path) = client_ca else { return Ok(Self(Vec::new())) };
        let clients = Self(certificates(path)?);
        clients.roots().map_err(|error| PemError::new(path, Fault::Unsupported(error)))?;
        Ok(clients)
    }

    /// The number of certificates.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Asks clients for a certificate, if there are CA certificates. Clients need not have one.
    pub(super) fn verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, rustls::Error> {
        if self.0.is_empty() {
            return Ok(WebPkiClientVerifier::no_client_auth());
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        WebPkiClientVerifier::builder_with_provider(self.roots()?.into(), provider)
            .allow_unauthenticated()
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))
    }

    fn roots(&self) -> Result<RootCertStore, rustls::Error> {
        let mut roots = RootCertStore::empty();
        for certificate in &self.0 {
            roots.add(certificate.clone())?;
        }
        Ok(roots)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::server::fixture;

    #[test]
    fn each_fault_is_named_with_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let pair = fixture::key_pair(dir.path(), "clients", &["localhost"]);
        let good = fs::read(&pair.certificate).unwrap();
        let path = dir.path().join("clients.pem");
        let load = || Clients::load(Some(&path));
        assert!(load().unwrap_err().to_string().contains("cannot be read"));
        for (text, hint) in [
            (Vec::new(), "has no certificate in it"),
            (fs::read(&pair.private_key).unwrap(), "has no certificate in it"),
            (good[..good.len() / 2].to_vec(), "is not a complete PEM file"),
            ([&good, NO_X509].concat(), "cannot be used"),
        ] {
            fs::write(&path, text).unwrap();
            let why = load().unwrap_err().to_string();
            assert!(why.starts_with(&path.display().to_string()), "{why}");
            assert!(why.contains(hint), "{hint}: {why}");
        }
        fs::write(&path, good.repeat(2)).unwrap();
        assert_eq!(load().unwrap().count(), 2);
    }

    const NO_X509: &[u8] = b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
}
