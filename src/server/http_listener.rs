//! Accepts HTTP connections, with limits of their own: whatever happens here takes no place of POP3.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, error, info, warn};

use super::accept::{AcceptError, PAUSE, Shortage};
use super::limits::ThrottledWarning;
use super::tls::Certificates;
use super::{HttpSocket, canonical};
use crate::http::{self, Site};
use crate::limits::Network;
use crate::session::{Slot, Slots};

/// A listening socket for HTTP that is registered with the runtime.
pub(super) struct HttpListener<S> {
    socket: TcpListener,
    /// The key of its address in the configuration.
    key: &'static str,
    /// `None`: without TLS.
    certificates: Option<Arc<Certificates>>,
    site: Arc<S>,
    all: Arc<Slots<()>>,
    by_network: Arc<Slots<Network>>,
    refusals: ThrottledWarning,
}

impl<S: Site + 'static> HttpListener<S> {
    /// Registers a socket with the running runtime.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn new(
        socket: HttpSocket,
        certificates: Option<&Arc<Certificates>>,
        site: S,
    ) -> io::Result<Self> {
        let HttpSocket { listener, entry, address } = socket;
        let (key, tls) = (entry.service.key(), entry.tls);
        let socket = TcpListener::from_std(listener)?;
        info!(%address, tls, "listening for HTTP: {key}");
        Ok(Self {
            socket,
            key,
            certificates: certificates.filter(|_| tls).cloned(),
            site: Arc::new(site),
            all: Slots::new(),
            by_network: Slots::new(),
            refusals: ThrottledWarning::default(),
        })
    }

    /// Serves clients. The future ends only if the socket breaks; dropping it closes all connections.
    pub(super) async fn run(self) {
        let mut connections = JoinSet::new();
        let mut shortage = Shortage::default();
        let error = loop {
            tokio::select! {
                accepted = self.socket.accept() => match accepted {
                    Ok((stream, peer)) => {
                        shortage.end();
                        let peer = canonical(peer);
                        match self.admit(peer) {
                            Some(admission) => drop(connections.spawn(self.serve(stream, peer, admission))),
                            None => self.refuse(peer),
                        }
                    }
                    Err(error) => match AcceptError::of(&error) {
                        AcceptError::Peer => debug!("a client left before it was accepted: {error}"),
                        AcceptError::Shortage => {
                            shortage.meet(&error);
                            sleep(PAUSE).await;
                        }
                        AcceptError::Socket => break error,
                    },
                },
                Some(ended) = connections.join_next() => {
                    if let Err(error) = ended {
                        error!("a fault in the server ended an HTTP connection, please report it: {error}");
                    }
                }
            }
        };
        error!("{}: the listening socket is broken: {error}", self.key);
    }

    fn admit(&self, peer: SocketAddr) -> Option<Admission> {
        let all = self.all.take((), CONNECTIONS)?;
        let network = self.by_network.take(peer.ip().into(), PER_NETWORK)?;
        Some(Admission { _all: all, _network: network })
    }

    fn refuse(&self, peer: SocketAddr) {
        if let Some(passed_over) = self.refusals.due() {
            warn!(%peer, passed_over, "too many HTTP connections to {}, one was refused", self.key);
        }
    }

    fn serve(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        admission: Admission,
    ) -> impl Future<Output = ()> + Send + use<S> {
        let (site, certificates) = (Arc::clone(&self.site), self.certificates.clone());
        async move {
            let _admission = admission;
            let Some(certificates) = certificates else {
                return http::serve(stream, peer, &*site).await;
            };
            let acceptor = certificates.config().https_acceptor();
            match timeout(HANDSHAKE, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => http::serve(stream, peer, &*site).await,
                Ok(Err(error)) => debug!(%peer, "TLS for HTTP was not agreed on: {error}"),
                Err(_) => debug!(%peer, "TLS for HTTP was not agreed on in {HANDSHAKE:?}"),
            }
        }
    }
}

/// Permission to serve a connection. Dropping it makes room for another one.
struct Admission {
    _all: Slot<()>,
    _network: Slot<Network>,
}

/// The most connections to a socket, and the most of them from one IPv4 address or one IPv6 /64. A
/// proxy may forward the requests of many clients.
pub(super) const CONNECTIONS: u32 = 64;
const PER_NETWORK: u32 = 32;

/// How long the TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
