//! A certificate chain and its key: read from PEM files and checked to fit.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls_pemfile::Item;
use tokio_rustls::rustls;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;

use crate::config::KeyPair;

/// Reads a pair and checks that the key belongs to the certificate.
pub(super) fn load(pair: &KeyPair) -> Result<Arc<CertifiedKey>, PemError> {
    let chain = certificates(&pair.certificate)?;
    let key = private_key(pair)?;
    let fault = |fault| PemError { path: pair.private_key.clone(), fault };
    let key = aws_lc_rs::sign::any_supported_type(&key)
        .map_err(|error| fault(Fault::Unsupported(error)))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        // "Unknown" is a key that cannot tell its public half: nothing speaks against it.
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
            Ok(Arc::new(certified))
        }
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(fault(Fault::Mismatch(pair.certificate.clone())))
        }
        Err(error) => Err(PemError::unsupported(&pair.certificate, error)),
    }
}

/// All that keeps a pair from being used; nothing when [`load`] takes it.
pub(super) fn faults(pair: &KeyPair) -> Vec<PemError> {
    let alone = [certificates(&pair.certificate).err(), private_key(pair).err()];
    let alone: Vec<PemError> = alone.into_iter().flatten().collect();
    if alone.is_empty() { load(pair).err().into_iter().collect() } else { alone }
}

/// All certificates of a file in their order: of a chain, the server's own first.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let mut certificates = Vec::new();
    for item in read_pem(path)? {
        if let Item::X509Certificate(certificate) = item {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() {
        return Err(PemError { path: path.to_path_buf(), fault: Fault::NoCertificate });
    }
    Ok(certificates)
}

fn private_key(pair: &KeyPair) -> Result<PrivateKeyDer<'static>, PemError> {
    read_pem(&pair.private_key)?
        .into_iter()
        .find_map(|item| {
            if let Item::Pkcs8Key(key) = item {
                Some(key.into())
            } else if let Item::Pkcs1Key(key) = item {
                Some(key.into())
            } else if let Item::Sec1Key(key) = item {
                Some(key.into())
            } else {
                None
            }
        })
        .ok_or_else(|| PemError { path: pair.private_key.clone(), fault: Fault::NoKey })
}

/// The only place that knows how PEM is read.
fn read_pem(path: &Path) -> Result<Vec<Item>, PemError> {
    let fault = |fault| PemError { path: path.to_path_buf(), fault };
    let text = fs::read(path).map_err(|error| fault(Fault::Unreadable(error)))?;
    rustls_pemfile::read_all(&mut text.as_slice())
        .collect::<io::Result<_>>()
        .map_err(|error| fault(Fault::Malformed(error)))
}

/// Why certificates or a key cannot be used.
#[derive(Debug)]
pub struct PemError {
    path: PathBuf,
    fault: Fault,
}

#[derive(Debug)]
enum Fault {
    Unreadable(io::Error),
    Malformed(io::Error),
    NoCertificate,
    NoKey,
    Unsupported(rustls::Error),
    Mismatch(PathBuf),
    NotX509(x509_cert::der::Error),
}

impl PemError {
    /// The file that is at fault.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn unsupported(path: &Path, error: rustls::Error) -> Self {
        Self { path: path.to_path_buf(), fault: Fault::Unsupported(error) }
    }

    pub(super) fn not_x509(path: &Path, error: x509_cert::der::Error) -> Self {
        Self { path: path.to_path_buf(), fault: Fault::NotX509(error) }
    }
}

impl fmt::Display for PemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path.display())?;
        match &self.fault {
            Fault::Unreadable(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                f.write_str("cannot be read by the user that the server runs as")
            }
            Fault::Unreadable(error) => write!(f, "cannot be read: {error}"),
            Fault::Malformed(error) => write!(f, "is not a whole PEM file: {error}"),
            Fault::NoCertificate => {
                f.write_str("has no certificate in it; it needs a part BEGIN CERTIFICATE")
            }
            Fault::NoKey => f.write_str(
                "has no private key in it; it needs a part BEGIN PRIVATE KEY (an encrypted key \
                 has to be decrypted first)",
            ),
            Fault::Unsupported(error) => write!(f, "cannot be used: {error}"),
            Fault::Mismatch(certificate) => {
                write!(f, "is not the key of the certificate in {}", certificate.display())
            }
            Fault::NotX509(error) => {
                write!(f, "has a certificate that is not valid X.509: {error}")
            }
        }
    }
}

impl std::error::Error for PemError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::fixture;

    #[test]
    fn each_fault_is_named_with_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let good = fixture::key_pair(dir.path(), "good", &["localhost"]);
        let other = fixture::key_pair(dir.path(), "other", &["localhost"]);
        let path = |name: &str, text: &[u8]| {
            let path = dir.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let half = fs::read(&good.certificate).unwrap();
        for (certificate, private_key, expected) in [
            (dir.path().join("none.pem"), good.private_key.clone(), "cannot be read"),
            (path("empty.pem", b""), good.private_key.clone(), "no certificate in it"),
            (path("half.pem", &half[..half.len() / 2]), good.private_key.clone(), "PEM"),
            (good.private_key.clone(), good.private_key.clone(), "no certificate in it"),
            (good.certificate.clone(), good.certificate.clone(), "no private key in it"),
            (good.certificate.clone(), other.private_key, "is not the key of the certificate in"),
        ] {
            let error = load(&KeyPair { certificate, private_key }).unwrap_err().to_string();
            assert!(error.contains(expected), "{expected}: {error}");
            assert!(error.starts_with(&dir.path().display().to_string()), "{error}");
        }
        load(&good).unwrap();
    }
}
