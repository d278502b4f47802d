//! Certificates and keys as they are in files: PEM, and what stands there in its place.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustls_pemfile::Item;
use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// All certificates of a file in their order.
///
/// # Errors
/// [`PemError`] when there is none.
#[expect(clippy::wildcard_enum_match_arm, reason = "the other parts are no certificates")]
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let file = File::read(path)?;
    let certificate = |item| match item {
        Item::X509Certificate(certificate) => Some(certificate),
        _ => None,
    };
    let certificates: Vec<_> = file.items()?.into_iter().filter_map(certificate).collect();
    if certificates.is_empty() { Err(file.without(Wanted::Certificate)) } else { Ok(certificates) }
}

/// The first private key of a file.
///
/// # Errors
/// [`PemError`] when there is none that can be read.
#[expect(clippy::wildcard_enum_match_arm, reason = "the other parts are no private keys")]
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, PemError> {
    let file = File::read(path)?;
    if file.is_encrypted() {
        return Err(PemError::new(path, Fault::Encrypted));
    }
    let key = |item| match item {
        Item::Pkcs8Key(key) => Some(key.into()),
        Item::Pkcs1Key(key) => Some(key.into()),
        Item::Sec1Key(key) => Some(key.into()),
        _ => None,
    };
    file.items()?.into_iter().find_map(key).ok_or_else(|| file.without(Wanted::PrivateKey))
}

/// What a file is to have in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Certificate,
    PrivateKey,
}

struct File<'a> {
    path: &'a Path,
    octets: Vec<u8>,
}

impl<'a> File<'a> {
    fn read(path: &'a Path) -> Result<Self, PemError> {
        let octets = fs::read(path);
        let octets = octets.map_err(|error| PemError::new(path, Fault::Unreadable(error)))?;
        Ok(Self { path, octets })
    }

    /// The only place that knows how PEM is read.
    fn items(&self) -> Result<Vec<Item>, PemError> {
        rustls_pemfile::read_all(&mut self.octets.as_slice())
            .collect::<io::Result<_>>()
            .map_err(|error| PemError::new(self.path, Fault::Malformed(error)))
    }

    /// What the parts of the file are called, as in `-----BEGIN CERTIFICATE-----`.
    fn labels(&self) -> impl Iterator<Item = String> {
        self.octets.split(|&octet| octet == b'\n').filter_map(|line| {
            let label = line.strip_prefix(b"-----BEGIN ")?.trim_ascii_end();
            Some(String::from_utf8_lossy(label.strip_suffix(b"-----")?).into_owned())
        })
    }

    fn is_encrypted(&self) -> bool {
        let in_header = |line: &[u8]| line.starts_with(b"Proc-Type: 4,ENCRYPTED");
        self.labels().any(|label| label == "ENCRYPTED PRIVATE KEY")
            || self.octets.split(|&octet| octet == b'\n').any(in_header)
    }

    /// Why there is nothing in it of what is wanted.
    fn without(&self, wanted: Wanted) -> PemError {
        let binary = matches!(self.octets.as_slice(), [0x30, 0x80..=0xff, ..]);
        let fault = if binary && memchr::memmem::find(&self.octets, PKCS_7_DATA).is_some() {
            Fault::Pkcs12(wanted)
        } else if binary {
            Fault::Der(wanted)
        } else {
            Fault::Without(wanted, self.labels().next().map(|label| Label::of(&label)))
        };
        PemError::new(self.path, fault)
    }
}

/// 1.2.840.113549.1.7.1: what a PKCS #12 file begins with, and no certificate or key has.
const PKCS_7_DATA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01";

/// A part of a PEM file that is not what was wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Label {
    Certificate,
    TrustedCertificate,
    Request,
    PublicKey,
    PrivateKey,
    OpenSshKey,
    Other(String),
}

impl Label {
    fn of(label: &str) -> Self {
        match label {
            "CERTIFICATE" | "X509 CERTIFICATE" => Self::Certificate,
            "TRUSTED CERTIFICATE" => Self::TrustedCertificate,
            "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => Self::Request,
            "PUBLIC KEY" | "RSA PUBLIC KEY" => Self::PublicKey,
            "OPENSSH PRIVATE KEY" => Self::OpenSshKey,
            _ if label.starts_with("DSA ") => Self::Other("a DSA key".into()),
            _ if label.ends_with("PRIVATE KEY") => Self::PrivateKey,
            _ => Self::Other(format!("a part BEGIN {}", label.escape_debug())),
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "a certificate",
            Self::TrustedCertificate => {
                "a certificate in OpenSSL's own form, which openssl x509 -in FILE -out NEW changes"
            }
            Self::Request => {
                "a certificate request, which is sent to the authority that makes the certificate"
            }
            Self::PublicKey => "a public key",
            Self::PrivateKey => "a private key",
            Self::OpenSshKey => "a key of OpenSSH, which is not for TLS",
            Self::Other(what) => what,
        })
    }
}

/// Why certificates or a key cannot be used.
#[derive(Debug)]
pub struct PemError {
    path: PathBuf,
    fault: Fault,
}

#[derive(Debug)]
pub(super) enum Fault {
    Unreadable(io::Error),
    Malformed(io::Error),
    Encrypted,
    Without(Wanted, Option<Label>),
    Der(Wanted),
    Pkcs12(Wanted),
    /// A kind of key that there is no TLS with here, and what to do.
    Kind(String),
    Unsupported(rustls::Error),
    Mismatch(PathBuf),
    NotX509(x509_cert::der::Error),
    Version1,
}

impl PemError {
    pub(super) fn new(path: &Path, fault: Fault) -> Self {
        Self { path: path.to_path_buf(), fault }
    }

    /// The file that is at fault.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Display for PemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        write!(f, "{path}: ")?;
        match &self.fault {
            Fault::Unreadable(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                f.write_str("cannot be read by the user that the server runs as")
            }
            Fault::Unreadable(error) => write!(f, "cannot be read: {error}"),
            Fault::Malformed(error) => write!(f, "is not a whole PEM file: {error}"),
            Fault::Encrypted => write!(
                f,
                "the private key is encrypted, and nobody is there to be asked for its password: \
                 openssl pkey -in {path} -out NEW decrypts it"
            ),
            Fault::Without(wanted, found) => {
                write!(f, "has no {wanted} in it")?;
                if let Some(found) = found {
                    write!(f, ", but {found}")?;
                }
                write!(f, "; it needs a part {}", wanted.part())
            }
            Fault::Der(wanted) => write!(
                f,
                "has no {wanted} in it in the form of PEM; if it is one in DER, {} -inform DER -in \
                 {path} -out NEW makes PEM of it",
                wanted.command()
            ),
            Fault::Pkcs12(wanted) => write!(
                f,
                "has no {wanted} in it in the form of PEM, for it is a PKCS #12 file: openssl \
                 pkcs12 -in {path} -nodes -out NEW makes PEM of it, with certificates and key",
            ),
            Fault::Kind(what) => f.write_str(what),
            Fault::Unsupported(error) => write!(f, "cannot be used: {error}"),
            Fault::Mismatch(certificate) => {
                write!(f, "is not the key of the certificate in {}", certificate.display())
            }
            Fault::NotX509(error) => {
                write!(f, "has a certificate that is not valid X.509: {error}")
            }
            Fault::Version1 => f.write_str(
                "has a certificate of X.509 version 1, which names no host and is not for TLS; make \
                 it again with a subjectAltName (openssl x509 -req does it with -extfile)",
            ),
        }
    }
}

impl std::error::Error for PemError {}

impl Wanted {
    fn part(self) -> &'static str {
        match self {
            Self::Certificate => "BEGIN CERTIFICATE",
            Self::PrivateKey => "BEGIN PRIVATE KEY",
        }
    }

    fn command(self) -> &'static str {
        match self {
            Self::Certificate => "openssl x509",
            Self::PrivateKey => "openssl pkey",
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "certificate",
            Self::PrivateKey => "private key",
        })
    }
}
