//! A cheap POP3 client that checks all replies: a wrong one ends the run.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use memchr::memmem;
use socket2::{Domain, Socket, Type};
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{ClientConfig, version};

use crate::connection;
pub(crate) use crate::connection::Client;
use crate::maildirs::PASSWORD;
use crate::server::Endpoint;

/// How long a server may be silent.
const PATIENCE: Duration = Duration::from_secs(600);

/// The octets that are read at a time.
const BUFFER: usize = 256 << 10;

/// Connections from one source address before the next one is used, because ports are limited.
const PORTS: u32 = 1000;

/// How a client connects.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Plain,
    /// TLS 1.3 from the first octet, with a full handshake.
    Tls,
}

impl Client {
    /// Connects and reads the greeting.
    pub(crate) fn connect(server: &Endpoint, transport: Transport) -> io::Result<Self> {
        let socket = match transport {
            Transport::Plain => socket(server.plain)?,
            Transport::Tls => socket(server.tls)?,
        };
        let mut client = Self::new(socket, PATIENCE, BUFFER)?;
        if transport == Transport::Tls {
            client = client.secure(Arc::clone(&server.trust), "localhost")?;
        }
        client.ok()?;
        Ok(client)
    }

    /// Connects and logs in.
    pub(crate) fn logged_in(
        server: &Endpoint,
        transport: Transport,
        user: &str,
    ) -> io::Result<Self> {
        let mut client = Self::connect(server, transport)?;
        client.log_in(user)?;
        Ok(client)
    }

    /// USER and PASS, one after the other.
    pub(crate) fn log_in(&mut self, user: &str) -> io::Result<()> {
        self.ask(&format!("USER {user}"))?;
        self.ask(&format!("PASS {PASSWORD}"))?;
        Ok(())
    }

    /// STAT. Fails if the number of messages is another.
    pub(crate) fn stat(&mut self, messages: u32) -> io::Result<()> {
        let reply = self.ask("STAT")?;
        if number(&reply, 1) == Some(messages.into()) {
            return Ok(());
        }
        Err(wrong(format!("{messages} messages expected, STAT says {reply:?}")))
    }

    /// A command with a multi-line reply, a line for each message. Fails if their number is another.
    pub(crate) fn listing(&mut self, command: &str, messages: u32) -> io::Result<()> {
        self.ask(command)?;
        let lines = self.lines()?;
        if lines == u64::from(messages) {
            return Ok(());
        }
        Err(wrong(format!("{messages} messages expected, {command} has {lines} lines")))
    }

    /// CAPA with its lines.
    pub(crate) fn capa(&mut self) -> io::Result<()> {
        self.ask("CAPA")?;
        self.lines()?;
        Ok(())
    }

    /// Reads the reply to RETR and the message. Returns its octets, which must be those of the reply.
    ///
    /// Dovecot's reply has the octets of LIST, without dot-stuffing, too.
    pub(crate) fn message(&mut self) -> io::Result<u64> {
        let reply = self.ok()?;
        let said = number(&reply, 1);
        let octets = self.body()?;
        if said == Some(octets) {
            return Ok(octets);
        }
        Err(wrong(format!("{reply:?}, then {octets} octets")))
    }

    /// Reads the reply to TOP and its lines. Returns their octets.
    pub(crate) fn top(&mut self) -> io::Result<u64> {
        self.ok()?;
        self.body()
    }

    /// QUIT, and the end of the connection.
    pub(crate) fn quit(mut self) -> io::Result<()> {
        self.ask("QUIT")?;
        self.closed()
    }

    /// Waits until the server has closed the connection.
    pub(crate) fn closed(&mut self) -> io::Result<()> {
        if self.start < self.end {
            return Err(wrong("octets after the reply to QUIT".to_owned()));
        }
        match self.fill() {
            Ok(0) => Ok(()),
            Ok(_) => Err(wrong("octets after the reply to QUIT".to_owned())),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Sends a command. Returns the line of the reply, which must be `+OK`.
    pub(crate) fn ask(&mut self, command: &str) -> io::Result<String> {
        self.write(format!("{command}\r\n").as_bytes())?;
        self.ok().map_err(|error| wrong(format!("{command}: {error}")))
    }

    /// Reads a line, which must be `+OK`.
    pub(crate) fn ok(&mut self) -> io::Result<String> {
        let line = self.read_line()?;
        if line.starts_with("+OK") { Ok(line) } else { Err(wrong(format!("it says {line:?}"))) }
    }

    /// Frees the buffer, for idle connections.
    pub(crate) fn rest(mut self) -> Self {
        self.buffer = Vec::new();
        (self.start, self.end) = (0, 0);
        self
    }

    /// Counts the lines up to the one with the dot.
    fn lines(&mut self) -> io::Result<u64> {
        let mut lines = 0;
        loop {
            while let Some(at) = memchr::memchr(b'\n', self.unread()) {
                let is_end = self.unread().starts_with(b".\r\n");
                self.start += at + 1;
                if is_end {
                    return Ok(lines);
                }
                lines += 1;
            }
            self.more()?;
        }
    }

    /// Reads a message up to its final dot. Returns its octets without dot-stuffing.
    fn body(&mut self) -> io::Result<u64> {
        while self.end - self.start < 3 {
            self.more()?;
        }
        if self.unread().starts_with(b".\r\n") {
            self.start += 3;
            return Ok(0);
        }
        let mut octets = 0;
        if self.unread().starts_with(b".") {
            self.start += 1;
        }
        loop {
            match memmem::find(self.unread(), b"\n.") {
                Some(at) if self.unread().len() < at + 4 => self.more()?,
                Some(at) => {
                    let is_end = self.unread().get(at + 2..at + 4) == Some(b"\r\n");
                    // Up to the line end, without the first dot, which is stuffed or final.
                    octets += at as u64 + 1;
                    self.start += at + if is_end { 4 } else { 2 };
                    if is_end {
                        return Ok(octets);
                    }
                }
                None => {
                    // The last octet may be the line end before a dot.
                    let seen = (self.end - self.start).saturating_sub(1);
                    octets += seen as u64;
                    self.start += seen;
                    self.more()?;
                }
            }
        }
    }
}

/// The number in this word of a reply; the status is word 0.
fn number(reply: &str, word: usize) -> Option<u64> {
    reply.split(' ').nth(word)?.parse().ok()
}

/// An error about a wrong reply of a server.
fn wrong(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn socket(to: SocketAddr) -> io::Result<TcpStream> {
    static CONNECTIONS: AtomicU32 = AtomicU32::new(0);
    let host = CONNECTIONS.fetch_add(1, Ordering::Relaxed) / PORTS % 250 + 2;
    let from = Ipv4Addr::from(Ipv4Addr::LOCALHOST.to_bits() + host - 1);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::new(IpAddr::V4(from), 0).into())?;
    socket.connect(&to.into())?;
    socket.set_tcp_nodelay(true)?;
    Ok(socket.into())
}

/// TLS 1.3 without resumption, trusting one certificate.
pub(crate) fn trust(certificate: CertificateDer<'static>) -> io::Result<Arc<ClientConfig>> {
    let versions = &[&version::TLS13];
    let config = connection::tls(aws_lc_rs::default_provider(), versions, Some(certificate));
    let mut config = config.map_err(io::Error::other)?;
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}
