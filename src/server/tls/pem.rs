//! Certificate and key files: PEM, and the other formats that are found in its place.

use std::borrow::Cow;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustls_pemfile::Item;
use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::key_kind::UnsuitableKey;

/// All certificates of a file, in their order.
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
    if certificates.is_empty() {
        Err(file.without(Expected::Certificate))
    } else {
        Ok(certificates)
    }
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
    file.items()?.into_iter().find_map(key).ok_or_else(|| file.without(Expected::PrivateKey))
}

struct File<'a> {
    path: &'a Path,
    octets: Vec<u8>,
}

impl<'a> File<'a> {
    fn read(path: &'a Path) -> Result<Self, PemError> {
        let octets = fs::read(path).map_err(|error| {
            let kind = error.kind();
            let remedy = if kind == io::ErrorKind::PermissionDenied {
                "; give the user that the server runs as read access"
            } else if kind == io::ErrorKind::NotFound {
                "; correct the path, or create the file"
            } else {
                ""
            };
            PemError::new(path, Fault::Unreadable(error, remedy))
        })?;
        Ok(Self { path, octets })
    }

    /// The only place that knows how PEM is read.
    fn items(&self) -> Result<Vec<Item>, PemError> {
        rustls_pemfile::read_all(&mut self.octets.as_slice())
            .collect::<io::Result<_>>()
            .map_err(|error| PemError::new(self.path, Fault::Malformed(error)))
    }

    /// The labels of the parts, as in `-----BEGIN CERTIFICATE-----`.
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

    /// Why the file does not have the expected part.
    fn without(&self, expected: Expected) -> PemError {
        let binary = matches!(self.octets.as_slice(), [0x30, 0x80..=0xff, ..]);
        let fault = if binary && memchr::memmem::find(&self.octets, PKCS_7_DATA).is_some() {
            Fault::Pkcs12
        } else if binary {
            Fault::Der(expected)
        } else {
            match self.labels().next() {
                Some(label) => Fault::OtherPart(expected, described(&label)),
                None => Fault::NoPart(expected),
            }
        };
        PemError::new(self.path, fault)
    }
}

/// 1.2.840.113549.1.7.1: a PKCS #12 file begins with this; certificates and keys do not have it.
const PKCS_7_DATA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01";

/// The words for a part of a PEM file that is not the expected one.
fn described(label: &str) -> Cow<'static, str> {
    match label {
        "CERTIFICATE" | "X509 CERTIFICATE" => "a certificate".into(),
        "TRUSTED CERTIFICATE" => {
            "a certificate in OpenSSL's own format (convert it with openssl x509 -in FILE -out NEW)"
                .into()
        }
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => {
            "a certificate request (send it to a certificate authority, which returns a certificate)"
                .into()
        }
        "PUBLIC KEY" | "RSA PUBLIC KEY" => "a public key".into(),
        "OPENSSH PRIVATE KEY" => "an OpenSSH key, which TLS cannot use".into(),
        _ if label.starts_with("DSA ") => "a DSA key, which TLS cannot use".into(),
        _ if label.ends_with("PRIVATE KEY") => "a private key".into(),
        _ => format!("a part BEGIN {}", label.escape_debug()).into(),
    }
}

/// Why certificates or a key cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {fault}", path.display())]
pub struct PemError {
    path: PathBuf,
    fault: Fault,
}

/// What is wrong with a file, and what to do.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("cannot be read: {0}{1}")]
    Unreadable(io::Error, &'static str),
    #[error("is not a complete PEM file: {0}")]
    Malformed(io::Error),
    #[error(
        "the private key is encrypted, and the server cannot ask for its password; decrypt it with \
         openssl pkey -in FILE -out NEW"
    )]
    Encrypted,
    #[error("has no {0} in it; it needs a part {part}", part = .0.part())]
    NoPart(Expected),
    #[error("has no {0} in it, but {1}; it needs a part {part}", part = .0.part())]
    OtherPart(Expected, Cow<'static, str>),
    #[error(
        "has no {0} in PEM; if it is one in DER, convert it with {command} -inform DER -in FILE -out \
         NEW",
        command = .0.command()
    )]
    Der(Expected),
    #[error(
        "is a PKCS #12 file, not PEM; convert it, with certificates and key, with openssl pkcs12 -in \
         FILE -nodes -out NEW"
    )]
    Pkcs12,
    #[error(
        "is {0}, which TLS cannot use here; make a key on the curve P-256, which all clients support, \
         with openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256, and a certificate for it"
    )]
    Key(#[from] UnsuitableKey),
    #[error("cannot be used: {0}")]
    Unsupported(rustls::Error),
    #[error("is not the key of the certificate in {}", .0.display())]
    Mismatch(PathBuf),
    #[error("has a certificate that is not valid X.509: {0}")]
    NotX509(x509_cert::der::Error),
    #[error(
        "has a certificate of X.509 version 1, which has no host names and is not for TLS; make it \
         again with a subjectAltName (openssl x509 -req does so with -extfile)"
    )]
    Version1,
}

impl PemError {
    pub(super) fn new(path: &Path, fault: Fault) -> Self {
        Self { path: path.to_path_buf(), fault }
    }

    /// The file with the fault.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The expected part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Expected {
    #[error("certificate")]
    Certificate,
    #[error("private key")]
    PrivateKey,
}

impl Expected {
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
