//! Clients that send a server name that is not a host name (RFC 6066 §3).
//!
//! The TLS library does not send such names. So a client here sends a placeholder of the same length,
//! which is replaced in its output, and in all that it hashes.

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use memchr::memmem;
use tokio_rustls::rustls::crypto::hash::{Context, Hash, HashAlgorithm, Output};
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{
    CipherSuiteCommon, ClientConfig, ClientConnection, HandshakeKind, StreamOwned,
    SupportedCipherSuite, SupportedProtocolVersion, Tls12CipherSuite, Tls13CipherSuite, version,
};

use crate::support::client::Tls;
use crate::support::{IMPLICIT, PATIENCE, Place, Server};

const NAMES: [&[u8]; 6] = [
    b"[::1]",
    b"localhost:995",
    b"p\xc3\xb6p.example.org",
    b"-pop.example.org",
    b"pop..example.org",
    b"a.label.that.is.longer.than.sixty-three.octets.is.no.label-------------------------------------------------",
];

#[test]
fn a_name_that_is_none_gets_the_default_certificate() {
    let place = Place::new();
    let default = place.pair("default", &["localhost"]);
    place.pair("other", &["pop.example.org"]);
    place.configure(
        &[IMPLICIT],
        "[log]\nlevel = \"debug\"\n[[tls.host]]\nnames = [\"pop.example.org\"]\n\
         certificate = \"other.crt\"\nprivate-key = \"other.key\"\n",
    );
    let server = place.serve();
    for version in [&version::TLS12, &version::TLS13] {
        for name in NAMES {
            let client = Misnaming::new(name, version);
            let (kind, certificate) = client.session(&server).unwrap();
            assert_eq!(kind, HandshakeKind::Full, "{}", name.escape_ascii());
            assert!(certificate == default, "{}", name.escape_ascii());
            // The binder of a ticket covers the hello, too.
            let (kind, _) = client.session(&server).unwrap();
            assert_eq!(kind, HandshakeKind::Resumed, "{}", name.escape_ascii());
            let shown = name.escape_ascii().to_string();
            server.logged(&[
                "DEBUG",
                "an invalid server name; it gets the default certificate",
                &shown,
            ]);
        }
    }
}

/// The extension with a good name, changed in transit as the server changes those with bad names.
#[test]
fn a_name_cannot_be_taken_out_on_the_way() {
    let place = Place::new();
    place.configure(&[IMPLICIT], "");
    let server = place.serve();
    for version in [&version::TLS12, &version::TLS13] {
        let sent = b"\x00\x00\x00\x0e\x00\x0c\x00\x00\x09localhost";
        let arrived = b"\xff\x4e\x00\x0e\x00\x0c\x00\x00\x09localhost";
        let config = Tls::with_versions(&[version]).config();
        let client = Misnaming {
            config,
            name: "localhost".to_owned(),
            swap: Swap { from: sent.to_vec(), to: arrived.to_vec() },
        };
        assert!(client.session(&server).is_err());
    }
}

/// A client that uses a placeholder, and whose hello has the name.
struct Misnaming {
    config: Arc<ClientConfig>,
    name: String,
    swap: Swap,
}

/// The placeholder, and its replacement.
#[derive(Clone)]
struct Swap {
    from: Vec<u8>,
    to: Vec<u8>,
}

impl Misnaming {
    fn new(name: &[u8], version: &'static SupportedProtocolVersion) -> Self {
        let placeholder: String =
            (1..=name.len()).map(|at| if at % 50 == 49 { '.' } else { 'q' }).collect();
        let swap = Swap { from: placeholder.clone().into_bytes(), to: name.to_vec() };
        let config = Tls::with_provider(swapping(&swap), &[version]).config();
        Self { config, name: placeholder, swap }
    }

    /// Connects and quits. Returns the kind of the handshake, and the certificate.
    fn session(&self, server: &Server) -> io::Result<(HandshakeKind, Vec<u8>)> {
        let socket = TcpStream::connect(server.address(0))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let name = ServerName::try_from(self.name.clone()).unwrap();
        let connection = ClientConnection::new(Arc::clone(&self.config), name).unwrap();
        let socket = Swapping { socket, swap: self.swap.clone() };
        let mut lines = BufReader::new(StreamOwned::new(connection, socket));
        let mut line = String::new();
        lines.read_line(&mut line)?;
        assert!(line.starts_with("+OK "), "{line}");
        lines.get_mut().write_all(b"QUIT\r\n")?;
        lines.read_line(&mut line)?;
        let connection = &lines.get_ref().conn;
        let certificate = connection.peer_certificates().unwrap()[0].to_vec();
        Ok((connection.handshake_kind().unwrap(), certificate))
    }
}

struct Swapping {
    socket: TcpStream,
    swap: Swap,
}

impl Read for Swapping {
    fn read(&mut self, octets: &mut [u8]) -> io::Result<usize> {
        self.socket.read(octets)
    }
}

impl Write for Swapping {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.socket.write_all(&self.swap.applied(octets))?;
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

impl Swap {
    fn applied(&self, octets: &[u8]) -> Vec<u8> {
        let mut octets = octets.to_vec();
        if let Some(at) = memmem::find(&octets, &self.from) {
            octets[at..at + self.to.len()].copy_from_slice(&self.to);
        }
        octets
    }
}

/// A crypto provider that hashes the sent name in place of the placeholder.
fn swapping(swap: &Swap) -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    let common = |common: &CipherSuiteCommon| CipherSuiteCommon {
        suite: common.suite,
        hash_provider: Box::leak(Box::new(SwappingHash(common.hash_provider, swap.clone()))),
        confidentiality_limit: common.confidentiality_limit,
    };
    for suite in &mut provider.cipher_suites {
        *suite = match suite {
            SupportedCipherSuite::Tls12(suite) => {
                SupportedCipherSuite::Tls12(Box::leak(Box::new(Tls12CipherSuite {
                    common: common(&suite.common),
                    ..**suite
                })))
            }
            SupportedCipherSuite::Tls13(suite) => {
                SupportedCipherSuite::Tls13(Box::leak(Box::new(Tls13CipherSuite {
                    common: common(&suite.common),
                    ..**suite
                })))
            }
        };
    }
    provider
}

struct SwappingHash(&'static dyn Hash, Swap);

impl Hash for SwappingHash {
    fn start(&self) -> Box<dyn Context> {
        Box::new(SwappingContext(self.0.start(), self.1.clone()))
    }

    fn hash(&self, data: &[u8]) -> Output {
        self.0.hash(data)
    }

    fn output_len(&self) -> usize {
        self.0.output_len()
    }

    fn algorithm(&self) -> HashAlgorithm {
        self.0.algorithm()
    }
}

struct SwappingContext(Box<dyn Context>, Swap);

impl Context for SwappingContext {
    fn fork_finish(&self) -> Output {
        self.0.fork_finish()
    }

    fn fork(&self) -> Box<dyn Context> {
        Box::new(Self(self.0.fork(), self.1.clone()))
    }

    fn finish(self: Box<Self>) -> Output {
        self.0.finish()
    }

    fn update(&mut self, data: &[u8]) {
        self.0.update(&self.1.applied(data));
    }
}
