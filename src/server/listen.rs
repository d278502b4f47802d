//! Listening sockets: bound here, or inherited from the service manager.
//!
//! All of this happens before privileges are given up and before any thread runs.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use listenfd::ListenFd;
use rustix::io::Errno;
use socket2::{Domain, Protocol, SockRef, TcpKeepalive, Type};

use super::PortOwner;
use crate::config::{HttpListen, HttpService, Listen};

/// A bound socket with its entry in the configuration.
#[derive(Debug)]
pub struct Socket {
    pub(super) listener: TcpListener,
    pub(super) entry: Listen,
    address: SocketAddr,
}

impl Socket {
    /// The address with its actual port, even if port 0 was configured.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// A bound socket for HTTP.
#[derive(Debug)]
#[cfg_attr(not(feature = "http"), expect(dead_code, reason = "none is bound without the feature"))]
pub struct HttpSocket {
    pub(super) listener: TcpListener,
    pub(super) entry: HttpListen,
    pub(super) address: SocketAddr,
}

/// The listening sockets of a server.
#[derive(Debug)]
pub struct Sockets {
    pub(super) pop3: Vec<Socket>,
    #[cfg_attr(not(feature = "http"), expect(dead_code, reason = "empty without the feature"))]
    pub(super) http: Vec<HttpSocket>,
}

impl Sockets {
    /// One for each `[[listen]]`, in that order.
    pub fn pop3(&self) -> &[Socket] {
        &self.pop3
    }
}

/// Returns a socket for each `[[listen]]` and for each service over HTTP.
///
/// - A socket inherited through `LISTEN_FDS` is for the entry with the same address, otherwise for the
///   only one with the same port.
/// - The other entries are bound here.
///
/// # Errors
/// [`BindError`], also for an inherited socket without an entry: its clients would not be served, or
/// not with the TLS mode that the operator expects.
pub fn bind(listen: &[Listen], http: &[HttpListen]) -> Result<Sockets, BindError> {
    let entries: Vec<_> =
        listen.iter().map(Entry::of).chain(http.iter().map(Entry::of_http)).collect();
    let addresses: Vec<_> = entries.iter().map(|entry| entry.address).collect();
    let inherited = inherit(ListenFd::from_env(), &addresses)?;
    let sockets = entries.into_iter().zip(inherited).map(|(entry, inherited)| {
        entry.must_be_built()?;
        let system = |error| entry.failed(error);
        let listener = match inherited {
            Some(listener) => listener,
            None => entry.bind(&addresses).and_then(|it| listening(it).map_err(system))?,
        };
        set_options(&listener).map_err(system)?;
        let address = listener.local_addr().map_err(system)?;
        Ok((listener, address))
    });
    let mut sockets = sockets.collect::<Result<Vec<_>, _>>()?.into_iter();
    let pop3 = listen.iter().zip(&mut sockets).map(|(entry, (listener, address))| Socket {
        listener,
        entry: entry.clone(),
        address,
    });
    let pop3 = pop3.collect();
    let http = http.iter().zip(sockets);
    let http = http.map(|(&entry, (listener, address))| HttpSocket { listener, entry, address });
    Ok(Sockets { pop3, http: http.collect() })
}

/// Binds each of these addresses, as [`bind`] would, and releases it at once.
///
/// - The sockets do not listen, so no client can connect.
pub fn try_bind(listen: &[SocketAddr], http: &[HttpListen]) -> Vec<Result<(), BindError>> {
    let listen = listen.iter().map(|&address| Entry { address, service: None });
    let entries: Vec<_> = listen.chain(http.iter().map(Entry::of_http)).collect();
    let addresses: Vec<_> = entries.iter().map(|entry| entry.address).collect();
    let attempt = |entry: &Entry| {
        entry.must_be_built()?;
        entry.bind(&addresses).map(drop)
    };
    entries.iter().map(attempt).collect()
}

/// An address to listen on.
#[derive(Clone, Copy, Debug)]
struct Entry {
    address: SocketAddr,
    /// `None`: POP3.
    service: Option<HttpService>,
}

impl Entry {
    fn of(listen: &Listen) -> Self {
        Self { address: listen.address, service: None }
    }

    fn of_http(listen: &HttpListen) -> Self {
        Self { address: listen.address, service: Some(listen.service) }
    }

    fn must_be_built(self) -> Result<(), BindError> {
        match self.service.map(|service| (service.key(), service.feature())) {
            Some((key, (feature, false))) => Err(BindError::NotBuilt { key, feature }),
            Some((_, (_, true))) | None => Ok(()),
        }
    }

    /// Binds the address. `all` are those of all entries.
    fn bind(self, all: &[SocketAddr]) -> Result<socket2::Socket, BindError> {
        let Self { address, .. } = self;
        bound(address, has_ipv4_twin(address, all)).map_err(|error| self.failed(error))
    }

    fn failed(self, error: io::Error) -> BindError {
        BindError::System { address: self.address, service: self.service, error }
    }
}

/// Why there is no socket for an entry, or no entry for a socket.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The system refused.
    #[error("cannot listen on {address}: {}", reason(*address, error))]
    System {
        /// The address of the entry.
        address: SocketAddr,
        /// The service over HTTP that the entry is for. `None`: POP3.
        service: Option<HttpService>,
        /// The error of the system.
        error: io::Error,
    },
    /// The program was built without the service.
    #[error(
        "this program was built without the feature {feature}; build it with --features {feature}, or \
         remove {key}"
    )]
    NotBuilt {
        /// The key of the entry.
        key: &'static str,
        /// The cargo feature that the service needs.
        feature: &'static str,
    },
    /// A socket that was passed in belongs to no entry.
    #[error(
        "the service manager passed a socket on {address} that no [[listen]] names, nor [metrics] or \
         [web]; add a [[listen]] with this address, or remove it from the socket unit"
    )]
    Unmatched {
        /// The address that it listens on.
        address: SocketAddr,
    },
    /// A socket that was passed in cannot be used.
    #[error(
        "socket {number} passed by the service manager cannot be used: {why}; the socket unit needs \
         ListenStream= with a port, and Accept=no"
    )]
    Unusable {
        /// Its index among the passed ones.
        number: usize,
        /// What is wrong with it.
        why: UnusableSocket,
    },
}

/// What is wrong with a socket that was passed in.
#[derive(Debug, thiserror::Error)]
pub enum UnusableSocket {
    /// The system refused, or it is not a TCP socket.
    #[error(transparent)]
    System(#[from] io::Error),
    /// It has been taken already.
    #[error("it is already in use")]
    InUse,
    /// It does not listen.
    #[error("it does not listen")]
    NotListening,
}

impl BindError {
    /// The address whose port another program uses.
    pub fn in_use(&self) -> Option<SocketAddr> {
        match self {
            Self::System { address, error, .. } if error.kind() == io::ErrorKind::AddrInUse => {
                Some(*address)
            }
            Self::System { .. }
            | Self::NotBuilt { .. }
            | Self::Unmatched { .. }
            | Self::Unusable { .. } => None,
        }
    }

    /// The key that names the address.
    pub fn key(&self) -> &'static str {
        match self {
            Self::System { service: Some(service), .. } => service.key(),
            Self::NotBuilt { key, .. } => key,
            Self::System { service: None, .. } | Self::Unmatched { .. } | Self::Unusable { .. } => {
                "[[listen]]"
            }
        }
    }

    /// The program that uses the port, if it is in use.
    pub fn owner(&self) -> Option<PortOwner> {
        self.in_use().map(PortOwner::of)
    }

    /// Whether the port needs a privilege that the current user does not have.
    pub fn needs_privilege(&self) -> bool {
        matches!(self, Self::System { address, error, .. } if is_privileged(*address, error))
    }
}

fn reason(address: SocketAddr, error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::AddrInUse {
        format!("{} has this port", PortOwner::of(address))
    } else if is_privileged(address, error) {
        "ports below 1024 need the capability CAP_NET_BIND_SERVICE, or root with run-as".into()
    } else if error.kind() == io::ErrorKind::AddrNotAvailable {
        format!("this machine does not have the address {}", address.ip())
    } else if Errno::from_io_error(error) == Some(Errno::AFNOSUPPORT) && address.is_ipv6() {
        format!("IPv6 is disabled on this machine; write \"0.0.0.0:{}\"", address.port())
    } else {
        error.to_string()
    }
}

fn is_privileged(address: SocketAddr, error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied && address.port() < 1024
}

/// Sets options that connections inherit from the listening socket (Linux copies all of these).
fn set_options(listener: &TcpListener) -> io::Result<()> {
    let socket = SockRef::from(listener);
    // Replies are written as a whole, so Nagle's algorithm would only delay them.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(Duration::from_secs(60))
            .with_interval(Duration::from_secs(15))
            .with_retries(4),
    )?;
    // Limits how much unsent data the kernel holds for a slow reader.
    socket.set_tcp_notsent_lowat(NOT_SENT)
}

const NOT_SENT: u32 = 128 << 10;

/// For each of these addresses, the socket that was passed in for it.
fn inherit(
    mut passed: ListenFd,
    addresses: &[SocketAddr],
) -> Result<Vec<Option<TcpListener>>, BindError> {
    let mut taken: Vec<_> = addresses.iter().map(|_| None).collect();
    for number in 0..passed.len() {
        let (listener, address) =
            take(&mut passed, number).map_err(|why| BindError::Unusable { number, why })?;
        let all = taken.iter_mut().zip(addresses);
        let free =
            all.filter(|(taken, _)| taken.is_none()).map(|(taken, &address)| (address, taken));
        *place_for(address, free).ok_or(BindError::Unmatched { address })? = Some(listener);
    }
    Ok(taken)
}

fn take(passed: &mut ListenFd, number: usize) -> Result<(TcpListener, SocketAddr), UnusableSocket> {
    let listener = passed.take_tcp_listener(number)?.ok_or(UnusableSocket::InUse)?;
    if !SockRef::from(&listener).is_listener().unwrap_or(false) {
        return Err(UnusableSocket::NotListening);
    }
    let address = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    Ok((listener, address))
}

/// The place with the same address, otherwise the only one with the same port.
fn place_for<T>(address: SocketAddr, places: impl Iterator<Item = (SocketAddr, T)>) -> Option<T> {
    let mut same_port: Vec<_> = places.filter(|(at, _)| at.port() == address.port()).collect();
    match same_port.iter().position(|(at, _)| *at == address) {
        Some(same) => Some(same_port.swap_remove(same).1),
        None if same_port.len() == 1 => same_port.pop().map(|(_, place)| place),
        None => None,
    }
}

/// Whether an IPv6 socket must be IPv6 only, since another entry has IPv4 on its port.
fn has_ipv4_twin(address: SocketAddr, addresses: &[SocketAddr]) -> bool {
    address.is_ipv6()
        && address.port() != 0
        && addresses.iter().any(|other| other.is_ipv4() && other.port() == address.port())
}

fn bound(address: SocketAddr, only_v6: bool) -> io::Result<socket2::Socket> {
    let socket =
        socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for earlier connections in TIME_WAIT.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

fn listening(socket: socket2::Socket) -> io::Result<TcpListener> {
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// How many connections the kernel queues until they are accepted, at most `somaxconn`.
const BACKLOG: i32 = 4096;

#[cfg(test)]
mod tests {
    use crate::config::TlsMode;

    use super::*;

    fn entry(address: &str) -> Listen {
        Listen {
            address: address.parse().unwrap(),
            tls: TlsMode::Off,
            default_domain: None,
            proxies: None,
        }
    }

    #[test]
    fn port_0_yields_a_real_port() {
        let sockets = bind(&[entry("127.0.0.1:0"), entry("127.0.0.1:0")], &[]).unwrap().pop3;
        let ports: Vec<u16> = sockets.iter().map(|socket| socket.address().port()).collect();
        assert!(!ports.contains(&0), "{ports:?}");
        assert_ne!(ports[0], ports[1]);
    }

    #[test]
    fn connections_inherit_the_options() {
        let sockets = bind(&[entry("127.0.0.1:0")], &[]).unwrap().pop3;
        let client = std::net::TcpStream::connect(sockets[0].address()).unwrap();
        let (stream, _) = sockets[0].listener.accept().unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(60));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(15));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 4);
        assert_eq!(socket.tcp_notsent_lowat().unwrap(), NOT_SENT);
        drop(client);
    }

    #[test]
    fn a_port_in_use_is_named() {
        let first = bind(&[entry("127.0.0.1:0")], &[]).unwrap().pop3;
        let address = first[0].address();
        let error = bind(&[Listen { address, ..entry("127.0.0.1:0") }], &[]).unwrap_err();
        assert_eq!(error.in_use(), Some(address));
        let text = error.to_string();
        // The test program itself uses it.
        assert!(text.starts_with(&format!("cannot listen on {address}: restante-")), "{text}");
        assert!(text.ends_with(&format!(" (pid {}) has this port", std::process::id())), "{text}");
    }

    #[test]
    fn an_attempt_has_the_result_of_binding_and_releases_the_port() {
        let first = bind(&[entry("127.0.0.1:0")], &[]).unwrap().pop3;
        let taken = first[0].address();
        let [refused, _] = &try_bind(&[taken, "127.0.0.1:0".parse().unwrap()], &[])[..] else {
            panic!("an outcome for each");
        };
        assert_eq!(refused.as_ref().unwrap_err().in_use(), Some(taken));
        drop(first);
        for _ in 0..2 {
            assert!(try_bind(&[taken], &[])[0].is_ok());
        }
    }

    #[test]
    fn an_address_of_another_machine_is_named() {
        let error = bind(&[entry("192.0.2.1:0")], &[]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot listen on 192.0.2.1:0: this machine does not have the address 192.0.2.1"
        );
    }

    #[test]
    fn errors_of_the_system_are_explained() {
        let errno = |errno: Errno| io::Error::from(errno);
        for (address, error, expected) in [
            (
                "0.0.0.0:995",
                errno(Errno::ACCESS),
                "cannot listen on 0.0.0.0:995: ports below 1024 need the capability \
                 CAP_NET_BIND_SERVICE, or root with run-as",
            ),
            (
                "[::]:995",
                errno(Errno::AFNOSUPPORT),
                "cannot listen on [::]:995: IPv6 is disabled on this machine; \
                 write \"0.0.0.0:995\"",
            ),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(BindError::System { address, service: None, error }.to_string(), expected);
        }
    }

    #[test]
    fn ipv6_leaves_ipv4_alone_only_if_another_entry_has_the_port() {
        let listen = ["[::]:995", "0.0.0.0:995", "[::]:110"].map(|text| text.parse().unwrap());
        assert!(has_ipv4_twin(listen[0], &listen));
        assert!(!has_ipv4_twin(listen[1], &listen));
        assert!(!has_ipv4_twin(listen[2], &listen));
    }

    #[test]
    fn an_inherited_socket_is_matched_by_address_then_by_port() {
        let listen = ["127.0.0.1:110", "[::1]:110", "0.0.0.0:995"].map(|it| it.parse().unwrap());
        let places = || listen.into_iter().zip(0..);
        let find = |address: &str| place_for(address.parse().unwrap(), places());
        assert_eq!(find("[::1]:110"), Some(1));
        assert_eq!(find("[::]:995"), Some(2));
        assert_eq!(find("0.0.0.0:110"), None, "two entries have the port");
        assert_eq!(find("0.0.0.0:1110"), None);
    }
}
