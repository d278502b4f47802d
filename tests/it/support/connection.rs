//! The connection of a POP3 client, for tests and for `benches/compare`, which both extend it.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use memchr::memmem;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned,
    SupportedProtocolVersion,
};

/// A client that is connected to a server.
pub(crate) struct Client {
    pub(crate) stream: Stream,
    /// The octets that have been read and not consumed are from `start` to `end`.
    pub(crate) buffer: Vec<u8>,
    pub(crate) start: usize,
    pub(crate) end: usize,
    chunk: usize,
}

pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Client {
    /// Does not read yet. Later reads take at most `chunk` octets at a time.
    pub(crate) fn new(stream: TcpStream, patience: Duration, chunk: usize) -> io::Result<Self> {
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        Ok(Self { stream: Stream::Plain(stream), buffer: Vec::new(), start: 0, end: 0, chunk })
    }

    /// Begins TLS on a connection that has none.
    pub(crate) fn secure(self, config: Arc<ClientConfig>, name: &str) -> io::Result<Self> {
        let Stream::Plain(stream) = self.stream else {
            return Err(io::Error::other("it has TLS already"));
        };
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self { stream: Stream::Tls(Box::new(stream)), ..self })
    }

    /// Sends octets.
    pub(crate) fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Plain(stream) => stream.write_all(octets),
            Stream::Tls(stream) => stream.write_all(octets).and_then(|()| stream.flush()),
        }
    }

    /// The next line, without its CRLF.
    pub(crate) fn read_line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = memmem::find(self.unread(), b"\r\n") {
                let line = self.unread().get(..end).unwrap_or_default().to_vec();
                self.start += end + 2;
                return String::from_utf8(line).map_err(io::Error::other);
            }
            self.more()?;
        }
    }

    /// The octets that have been read and not consumed.
    pub(crate) fn unread(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Reads some octets. The end of the connection is an error.
    pub(crate) fn more(&mut self) -> io::Result<()> {
        match self.fill()? {
            0 => Err(io::Error::other("the server has closed the connection")),
            _ => Ok(()),
        }
    }

    /// Reads some octets, or none at the end.
    pub(crate) fn fill(&mut self) -> io::Result<usize> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.buffer.is_empty() {
            // Untouched memory is not allocated, which matters in benchmarks.
            self.buffer = vec![0; self.chunk];
        } else if self.end == self.buffer.len() {
            self.buffer.resize(self.end + self.chunk, 0);
        }
        let room = self.buffer.get_mut(self.end..).unwrap_or_default();
        let octets = match &mut self.stream {
            Stream::Plain(stream) => stream.read(room)?,
            Stream::Tls(stream) => stream.read(room)?,
        };
        self.end += octets;
        Ok(octets)
    }
}

/// The TLS of a client, which accepts this certificate only, or any.
pub(crate) fn tls(
    provider: CryptoProvider,
    versions: &[&'static SupportedProtocolVersion],
    only: Option<CertificateDer<'static>>,
) -> Result<ClientConfig, Error> {
    let provider = Arc::new(provider);
    let verifier = Verifier { only, provider: Arc::clone(&provider) };
    let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions)?;
    let config = config.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    Ok(config.with_no_client_auth())
}

/// A certificate needs no authority, but the server must have its key.
#[derive(Debug)]
struct Verifier {
    only: Option<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.only {
            Some(only) if only != end_entity => {
                Err(Error::General("another certificate than the one made for it".to_owned()))
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
