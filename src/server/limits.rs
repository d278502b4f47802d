//! Limits on connections: on all of them, and on those from one network.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use crate::config::Limits;
use crate::counters;
use crate::limits::{Level, Network, Rate};
use crate::login::Throttle;
use crate::session::{Connections, Open, Slot, Slots};

/// Counts the open connections, and refuses new ones that exceed a limit.
#[derive(Debug)]
pub(super) struct ConnectionLimits {
    all: Arc<Slots<()>>,
    by_network: Arc<Slots<Network>>,
    rate: Rate,
    connections: Arc<Connections>,
    evictions: ThrottledWarning,
}

impl ConnectionLimits {
    pub(super) fn new() -> Self {
        Self {
            all: Slots::new(),
            by_network: Slots::new(),
            rate: Rate::new(BURST),
            connections: Arc::default(),
            evictions: ThrottledWarning::default(),
        }
    }

    /// Takes a place for a connection, unless there are too many in all.
    pub(super) fn reserve(&self, limits: &Limits) -> Result<Place, LimitReached> {
        self.all.take((), limits.connections.get()).map(Place).ok_or(LimitReached::All)
    }

    /// Admits a connection to its place, unless there are too many from its network, or too many new
    /// ones. Networks that the throttle trusts have many users, so only the limit on all connections
    /// applies to them.
    pub(super) fn admit(
        &self,
        place: Place,
        peer: SocketAddr,
        limits: &Limits,
        throttle: &Throttle,
    ) -> Result<Admission, LimitReached> {
        let networks = match throttle.trusts(peer.ip()) {
            true => Vec::new(),
            false => self.take_of_networks(peer.ip(), limits)?,
        };
        Ok(self.enter(place, networks, peer, limits))
    }

    /// Admits a connection of a proxy itself: only the limit on all connections applies to it.
    pub(super) fn admit_proxy(&self, place: Place, peer: SocketAddr, limits: &Limits) -> Admission {
        self.enter(place, Vec::new(), peer, limits)
    }

    /// Above three quarters of the limit, each admission evicts another connection. A refusal does
    /// not: otherwise an attacker could evict all clients by connections that are refused.
    fn enter(
        &self,
        place: Place,
        networks: Vec<Slot<Network>>,
        peer: SocketAddr,
        limits: &Limits,
    ) -> Admission {
        if u64::from(self.open()) * 4 > u64::from(limits.connections.get()) * 3 {
            self.make_room();
        }
        let connection = Arc::new(self.connections.enter(peer));
        Admission { connection, _place: place, _networks: networks }
    }

    fn take_of_networks(
        &self,
        peer: IpAddr,
        limits: &Limits,
    ) -> Result<Vec<Slot<Network>>, LimitReached> {
        let most = limits.connections_per_address.get();
        let take =
            |level: Level| self.by_network.take(level.network, most.saturating_mul(level.factor));
        let networks: Option<Vec<_>> = Network::levels(peer).map(take).collect();
        let networks = networks.ok_or(LimitReached::Address)?;
        // The rate per second is the limit on their number.
        let every = Duration::from_secs(1) / most.max(1);
        self.rate.take(Network::levels(peer), every).map_err(|_| LimitReached::Rate)?;
        Ok(networks)
    }

    fn make_room(&self) {
        let Some(network) = self.connections.evict() else { return };
        if let Some(counters) = counters::on() {
            counters.evictions.add(1);
        }
        if let Some(passed_over) = self.evictions.due() {
            warn!(
                %network,
                limit = LimitReached::All.key(),
                passed_over,
                "many connections, one that had not logged in was ended for another"
            );
        }
    }

    /// The open connections.
    pub(super) fn connections(&self) -> &Arc<Connections> {
        &self.connections
    }

    /// The number of open connections.
    pub(super) fn open(&self) -> u32 {
        self.all.held(&())
    }
}

/// The connections of this time may arrive in one burst.
const BURST: Duration = Duration::from_secs(10);

/// A place among all connections. Dropping it makes room for another one.
#[derive(Debug)]
pub(super) struct Place(#[expect(dead_code, reason = "held until it is dropped")] Slot<()>);

/// Permission to serve a connection. Dropping it makes room for another one.
#[derive(Debug)]
pub(super) struct Admission {
    pub(super) connection: Arc<Open>,
    _place: Place,
    _networks: Vec<Slot<Network>>,
}

/// The limit that a connection exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LimitReached {
    /// The limit on all connections.
    All,
    /// The limit on connections from one network.
    Address,
    /// The limit on the rate of new connections from one network.
    Rate,
}

impl LimitReached {
    /// The greeting on a port without implicit TLS. RFC 3206 §4: it is a temporary fault of the
    /// server, so that no client mistakes it for a wrong password.
    pub(super) fn greeting(self) -> &'static [u8] {
        match self {
            Self::All => b"-ERR [SYS/TEMP] too many connections; wait and try again\r\n",
            Self::Address | Self::Rate => {
                b"-ERR [SYS/TEMP] too many connections from your address; wait and try again\r\n"
            }
        }
    }

    /// The word for it in the metrics.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::All => "connections",
            Self::Address => "connections-per-address",
            Self::Rate => "rate",
        }
    }

    /// The key of the limit in the configuration.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::All => "limits.connections",
            Self::Address | Self::Rate => "limits.connections-per-address",
        }
    }
}

/// A warning that is logged at most once in [`PAUSE`](Self::PAUSE), so that many events do not cause
/// many log lines.
#[derive(Debug, Default)]
pub(super) struct ThrottledWarning {
    state: Mutex<Option<(Instant, u64)>>,
}

impl ThrottledWarning {
    /// Counts an event. `Some(n)`: log a line now; `n` events since the last line were not logged.
    pub(super) fn due(&self) -> Option<u64> {
        let now = Instant::now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *state {
            Some((last, passed_over)) if now.duration_since(*last) < Self::PAUSE => {
                *passed_over += 1;
                None
            }
            last => {
                let passed_over = last.map_or(0, |(_, passed_over)| passed_over);
                *last = Some((now, 0));
                Some(passed_over)
            }
        }
    }

    const PAUSE: Duration = Duration::from_secs(10);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admissions_are_bounded_and_given_back() {
        let limits = crate::server::fixture::limits(3, 2);
        let (connection_limits, throttle) = (ConnectionLimits::new(), Throttle::default());
        let (here, there) = ("192.0.2.1:1".parse().unwrap(), "192.0.2.2:1".parse().unwrap());
        let admit = |peer| {
            let place = connection_limits.reserve(&limits)?;
            connection_limits.admit(place, peer, &limits, &throttle)
        };
        let first = admit(here).unwrap();
        let _second = admit(here).unwrap();
        assert_eq!(admit(here).unwrap_err(), LimitReached::Address);
        let _third = admit(there).unwrap();
        assert_eq!(admit(there).unwrap_err(), LimitReached::All);
        drop(first);
        admit(here).unwrap();
    }

    #[test]
    fn connections_of_a_proxy_itself_count_only_in_all() {
        let limits = crate::server::fixture::limits(3, 1);
        let connection_limits = ConnectionLimits::new();
        let proxy = "192.0.2.1:1".parse().unwrap();
        let places = || connection_limits.reserve(&limits);
        let admit = |place| connection_limits.admit_proxy(place, proxy, &limits);
        let _two = [admit(places().unwrap()), admit(places().unwrap())];
        let third =
            connection_limits.admit(places().unwrap(), proxy, &limits, &Throttle::default());
        assert!(third.is_ok(), "they do not count for the address");
        assert_eq!(places().unwrap_err(), LimitReached::All);
    }

    #[test]
    fn a_customer_with_many_networks_gets_a_few_times_as_many() {
        let limits = crate::server::fixture::limits(1000, 2);
        for (prefix, most) in [("192.0.2.", 8), ("2001:db8:0:", 32)] {
            let (connection_limits, throttle) = (ConnectionLimits::new(), Throttle::default());
            let admit = |n: u16| {
                let address = match prefix.contains(':') {
                    true => format!("{prefix}{:x}::1", n << 6),
                    false => format!("{prefix}{n}"),
                };
                let peer = SocketAddr::new(address.parse().unwrap(), 1);
                let place = connection_limits.reserve(&limits).unwrap();
                connection_limits.admit(place, peer, &limits, &throttle).ok()
            };
            let admitted: Vec<_> = (0..100).flat_map(|n| [admit(n), admit(n)]).flatten().collect();
            assert_eq!(admitted.len(), most, "{prefix}");
        }
    }

    #[test]
    fn the_greeting_is_one_line() {
        for refusal in [LimitReached::All, LimitReached::Address, LimitReached::Rate] {
            let greeting = refusal.greeting();
            assert!(greeting.starts_with(b"-ERR [SYS/TEMP] "));
            assert_eq!(greeting.iter().position(|&octet| octet == b'\r'), Some(greeting.len() - 2));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_logged_once_a_pause() {
        let warning = ThrottledWarning::default();
        assert_eq!(warning.due(), Some(0));
        assert_eq!(warning.due(), None);
        assert_eq!(warning.due(), None);
        tokio::time::advance(ThrottledWarning::PAUSE).await;
        assert_eq!(warning.due(), Some(2));
        assert_eq!(warning.due(), None);
    }
}
