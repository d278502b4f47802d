//! The TLS client: with the authorities of this system or of a file, or without verification.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    self, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

/// A stream with TLS.
pub(in super::super) type Stream = TlsStream<TcpStream>;

/// Makes TLS connections.
#[derive(Clone)]
pub(in super::super) struct Connector(TlsConnector);

/// Why there is no TLS client.
#[derive(Debug, thiserror::Error)]
pub(in super::super) enum ConnectorError {
    /// No authorities are known.
    #[error(
        "this system trusts no certificates; install the package ca-certificates, or accept any \
         certificate with --insecure"
    )]
    NoAuthorities,
    /// The file of authorities cannot be read.
    #[error("{} cannot be read: {why}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        why: pem::Error,
    },
    /// There are none in it.
    #[error("{} has no certificates that can be used", .0.display())]
    EmptyFile(PathBuf),
    /// The library refuses its own versions.
    #[error("TLS cannot be set up: {0}")]
    Versions(#[from] rustls::Error),
}

impl Connector {
    /// A client that verifies certificates with the authorities of this system.
    pub(in super::super) fn verifying() -> Result<Self, ConnectorError> {
        let mut roots = RootCertStore::empty();
        // Some systems have a few certificates that cannot be used: the others still can.
        let certificates = rustls_native_certs::load_native_certs().certs;
        let (added, _unusable) = roots.add_parsable_certificates(certificates);
        if added == 0 {
            return Err(ConnectorError::NoAuthorities);
        }
        Self::trusting(roots)
    }

    /// A client that verifies certificates with the authorities of this PEM file.
    pub(in super::super) fn of_authorities(path: &Path) -> Result<Self, ConnectorError> {
        let unreadable = |why| ConnectorError::Unreadable { path: path.to_owned(), why };
        let certificates = CertificateDer::pem_file_iter(path).map_err(unreadable)?;
        let certificates = certificates.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
        let mut roots = RootCertStore::empty();
        match roots.add_parsable_certificates(certificates) {
            (0, _) => Err(ConnectorError::EmptyFile(path.to_owned())),
            (_, _unusable) => Self::trusting(roots),
        }
    }

    fn trusting(roots: RootCertStore) -> Result<Self, ConnectorError> {
        let config = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// A client that accepts any certificate.
    pub(in super::super) fn accepting_any() -> Result<Self, ConnectorError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AcceptAny(provider)))
            .with_no_client_auth();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    pub(super) async fn connect(
        &self,
        name: ServerName<'static>,
        stream: TcpStream,
    ) -> io::Result<Stream> {
        self.0.connect(name, stream).await
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

/// Accepts any certificate whose key the server has.
#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
