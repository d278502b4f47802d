//! A POP3 client that sends exactly what a test says.

use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use memchr::memmem;
use socket2::{Domain, SockRef, Socket, Type};
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{
    ClientConfig, HandshakeKind, ProtocolVersion, StreamOwned, SupportedProtocolVersion, version,
};

pub(crate) use super::connection::Client;
use super::connection::{self, Stream};
use super::{PATIENCE, Server};

/// The greeting of each server of a `Place`.
pub(crate) const GREETING: &str = "+OK pop.example.org POP3 server ready";

/// A client of the first socket of a server, in the clear, that has read the greeting.
pub(crate) fn greeted(server: &Server) -> Client {
    greeted_at(server.address(0))
}

/// The same at an address.
pub(crate) fn greeted_at(address: SocketAddr) -> Client {
    let mut client = Client::plain(address);
    assert_eq!(client.line(), GREETING);
    client
}

/// A client that has read the greeting and has logged in.
pub(crate) fn logged_in(server: &Server) -> Client {
    let mut client = greeted(server);
    let reply = client.log_in();
    assert!(reply.starts_with("+OK "), "{reply}");
    client
}

/// Asserts that no further reply has been sent.
pub(crate) fn expect_in_sync(client: &mut Client) {
    assert_eq!(client.ask("CAPA"), "+OK capabilities follow");
    client.body();
}

impl Client {
    /// Connects without TLS, and does not read yet.
    pub(crate) fn plain(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect_timeout(&address, PATIENCE).unwrap())
    }

    /// The same, with a tiny receive buffer.
    pub(crate) fn with_little_room(address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.connect_timeout(&address.into(), PATIENCE).unwrap();
        Self::over(socket.into())
    }

    /// The same from one of the addresses of the loopback.
    pub(crate) fn plain_from(source: [u8; 4], address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
        socket.connect_timeout(&address.into(), PATIENCE).unwrap();
        Self::over(socket.into())
    }

    fn over(stream: TcpStream) -> Self {
        Self::new(stream, PATIENCE, 16 << 10).unwrap()
    }

    /// Connects with TLS from the first octet.
    pub(crate) fn tls(address: SocketAddr, tls: &Tls) -> Self {
        Self::plain(address).handshake(tls).unwrap()
    }

    /// Sends STLS and shakes hands; the greeting must have been read.
    pub(crate) fn upgrade(mut self, tls: &Tls) -> Self {
        assert_eq!(self.ask("STLS"), "+OK begin TLS now");
        self.handshake(tls).unwrap()
    }

    /// Begins TLS on a plain connection.
    pub(crate) fn handshake(self, tls: &Tls) -> io::Result<Self> {
        self.secure(tls.config(), &tls.name)
    }

    /// Sends octets.
    pub(crate) fn send(&mut self, octets: impl AsRef<[u8]>) {
        self.try_send(octets).unwrap();
    }

    /// Sends octets to a server that may be gone.
    pub(crate) fn try_send(&mut self, octets: impl AsRef<[u8]>) -> io::Result<()> {
        self.write(octets.as_ref())
    }

    /// Sends a command. Returns the first line of the reply.
    pub(crate) fn ask(&mut self, command: &str) -> String {
        self.send(format!("{command}\r\n"));
        self.line()
    }

    /// Logs in as the user of a `Place`.
    pub(crate) fn log_in(&mut self) -> String {
        assert_eq!(self.ask("USER mrose"), "+OK send PASS");
        self.ask("PASS tanstaaf")
    }

    /// The next line, without its CRLF.
    pub(crate) fn line(&mut self) -> String {
        let line = self.read_line();
        line.unwrap_or_else(|error| panic!("{error} after {:?}", self.unread().escape_ascii()))
    }

    /// A multi-line body up to its final dot, with dots unstuffed.
    pub(crate) fn body(&mut self) -> Vec<u8> {
        let mut at_start = true;
        let mut plain = self.stuffed_body();
        plain.truncate(plain.len() - 3);
        plain.retain(|&octet| {
            let stuffing = at_start && octet == b'.';
            at_start = octet == b'\n';
            !stuffing
        });
        plain
    }

    /// A multi-line body as it was sent, including its final dot.
    pub(crate) fn stuffed_body(&mut self) -> Vec<u8> {
        let mut end = None;
        let mut searched = 0;
        while end.is_none() {
            if self.unread().starts_with(b".\r\n") {
                end = Some(0);
            } else if let Some(at) = memmem::find(&self.unread()[searched..], b"\r\n.\r\n") {
                end = Some(searched + at + 2);
            } else {
                searched = self.unread().len().saturating_sub(4);
                self.more().expect("the rest of a body");
            }
        }
        self.taken(end.unwrap() + 3)
    }

    /// All octets until the server closes the connection.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.fill().is_ok_and(|octets| octets > 0) {}
        self.taken(self.unread().len())
    }

    /// Whether the server sends `close_notify` before it closes the connection.
    pub(crate) fn is_closed_in_order(&mut self) -> bool {
        loop {
            match self.fill() {
                Ok(0) => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    }

    /// Reads this number of octets or more into the buffer.
    pub(crate) fn read_some(&mut self, octets: usize) {
        let enough = self.unread().len() + octets;
        while self.unread().len() < enough {
            self.more().unwrap();
        }
    }

    /// Reads at most this number of octets from the network. With TLS they may yield no text yet.
    pub(crate) fn sip(&mut self, octets: usize) {
        let mut chunk = vec![0; octets];
        let taken = match &mut self.stream {
            Stream::Plain(stream) => {
                let taken = stream.read(&mut chunk).unwrap();
                chunk.truncate(taken);
                taken
            }
            Stream::Tls(stream) => {
                let StreamOwned { conn, sock } = &mut **stream;
                let taken = conn.read_tls(&mut sock.take(octets as u64)).unwrap();
                let waiting = conn.process_new_packets().unwrap().plaintext_bytes_to_read();
                chunk.resize(waiting, 0);
                conn.reader().read_exact(&mut chunk).unwrap();
                taken
            }
        };
        self.buffer.truncate(self.end);
        self.buffer.extend_from_slice(&chunk);
        self.end = self.buffer.len();
        assert!(taken > 0, "the end comes too early");
    }

    /// Closes the sending side. Octets of the server can still be read.
    pub(crate) fn half_close(&mut self) {
        self.socket().shutdown(Shutdown::Write).unwrap();
    }

    /// Resets the connection.
    pub(crate) fn reset(self) {
        SockRef::from(self.socket()).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// The result of the TLS handshake; panics without TLS.
    pub(crate) fn agreed(&self) -> Agreed {
        let Stream::Tls(stream) = &self.stream else { panic!("there is no TLS") };
        let connection = &stream.conn;
        Agreed {
            version: connection.protocol_version().unwrap(),
            alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
            kind: connection.handshake_kind().unwrap(),
            certificate: connection.peer_certificates().unwrap()[0].to_vec(),
        }
    }

    /// The channel binding `tls-exporter` (RFC 9266); panics without TLS.
    pub(crate) fn exporter(&self) -> [u8; 32] {
        let Stream::Tls(stream) = &self.stream else { panic!("there is no TLS") };
        let label = b"EXPORTER-Channel-Binding";
        stream.conn.export_keying_material([0; 32], label, Some(b"")).unwrap()
    }

    fn socket(&self) -> &TcpStream {
        match &self.stream {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => &stream.sock,
        }
    }

    fn taken(&mut self, octets: usize) -> Vec<u8> {
        let taken = self.unread()[..octets].to_vec();
        self.start += octets;
        taken
    }
}

/// What client and server agreed on.
pub(crate) struct Agreed {
    pub(crate) version: ProtocolVersion,
    pub(crate) alpn: Option<Vec<u8>>,
    pub(crate) kind: HandshakeKind,
    pub(crate) certificate: Vec<u8>,
}

/// The TLS of a client. It accepts any certificate; tests compare the one that they got.
#[derive(Clone)]
pub(crate) struct Tls {
    config: Arc<ClientConfig>,
    name: String,
}

impl Tls {
    /// TLS 1.3 or 1.2, no ALPN, for the host `localhost`.
    pub(crate) fn new() -> Self {
        Self::with_versions(&[&version::TLS13, &version::TLS12])
    }

    /// Only these versions.
    pub(crate) fn with_versions(versions: &[&'static SupportedProtocolVersion]) -> Self {
        Self::with_provider(aws_lc_rs::default_provider(), versions)
    }

    /// Only these versions, with another crypto provider.
    pub(crate) fn with_provider(
        provider: CryptoProvider,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        let config = connection::tls(provider, versions, None).unwrap();
        Self { config: Arc::new(config), name: "localhost".into() }
    }

    /// The same for the TLS library.
    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    /// Sends another server name.
    pub(crate) fn name(&self, name: &str) -> Self {
        Self { config: Arc::clone(&self.config), name: name.into() }
    }

    /// Offers a protocol.
    pub(crate) fn alpn(&self, protocol: &str) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = vec![protocol.into()];
        Self { config: Arc::new(config), name: self.name.clone() }
    }

    /// Presents a certificate if the server asks for one.
    pub(crate) fn certificate(
        &self,
        certificate: &CertificateDer<'static>,
        key: &PrivateKeyDer<'static>,
    ) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        let key = aws_lc_rs::sign::any_supported_type(key).unwrap();
        let own = CertifiedKey::new(vec![certificate.clone()], key);
        config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(own));
        Self { config: Arc::new(config), name: self.name.clone() }
    }
}
