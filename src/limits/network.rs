//! Networks: those that limits count by ([`Network`]), and those that a user may log in from
//! ([`AllowedNetworks`]).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// A network that providers assign to one customer: an IPv4 address, or a /64 of IPv6, the smallest
/// one that they assign; or a larger one around it ([`Network::levels`]).
///
/// An IPv4 address that is written as an IPv6 one (`::ffff:192.0.2.7`) is the IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network(Kind);

/// Only the bits of the prefix are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Kind {
    V4 { prefix: u32, length: u8 },
    V6 { prefix: u64, length: u8 },
}

/// A network that an address is in, and how much higher its limit is than that of the smallest one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// The network.
    pub network: Network,
    /// The limit of this network, as a multiple of that of the smallest one.
    pub factor: u32,
}

impl Network {
    /// The networks that an address is in and that one customer may hold, the smallest first.
    ///
    /// - IPv6: /64, /56 and /48, the sizes that providers assign (RFC 6177).
    /// - IPv4: the address and the /24 around it, the smallest network that is routed separately.
    pub fn levels(address: IpAddr) -> impl Iterator<Item = Level> + Clone {
        let address = address.to_canonical();
        let lengths = match address {
            IpAddr::V4(_) => V4_LENGTHS,
            IpAddr::V6(_) => V6_LENGTHS,
        };
        lengths.iter().map(move |&(length, factor)| {
            let network = match address {
                IpAddr::V4(address) => Self::v4(address, length),
                IpAddr::V6(address) => Self::v6(address, length),
            };
            Level { network, factor }
        })
    }

    /// How much higher the limit of this network is than that of the smallest one.
    pub fn factor(self) -> u32 {
        let (lengths, own) = match self.0 {
            Kind::V4 { length, .. } => (V4_LENGTHS, length),
            Kind::V6 { length, .. } => (V6_LENGTHS.as_slice(), length),
        };
        lengths.iter().find(|(length, _)| *length == own).map_or(1, |(_, factor)| *factor)
    }

    /// The largest network around an address that one customer may hold.
    pub fn widest(address: IpAddr) -> Self {
        Self::levels(address).last().map_or_else(|| address.into(), |level| level.network)
    }

    fn v4(address: Ipv4Addr, length: u8) -> Self {
        let mask = u32::MAX.unbounded_shl(u32::BITS.saturating_sub(length.into()));
        Self(Kind::V4 { prefix: address.to_bits() & mask, length })
    }

    fn v6(address: Ipv6Addr, length: u8) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = address.octets();
        let mask = u64::MAX.unbounded_shl(u64::BITS.saturating_sub(length.into()));
        let prefix = u64::from_be_bytes([a, b, c, d, e, f, g, h]) & mask;
        Self(Kind::V6 { prefix, length })
    }
}

impl From<IpAddr> for Network {
    /// The smallest one.
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::v4(address, 32),
            IpAddr::V6(address) => Self::v6(address, 64),
        }
    }
}

impl From<Network> for IpNet {
    fn from(network: Network) -> Self {
        // The lengths are those below, which are valid.
        match network.0 {
            Kind::V4 { prefix, length } => {
                Ipv4Net::new_assert(Ipv4Addr::from_bits(prefix), length).into()
            }
            Kind::V6 { prefix, length } => {
                Ipv6Net::new_assert(Ipv6Addr::from_bits(u128::from(prefix) << 64), length).into()
            }
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Kind::V4 { prefix, length } => write!(f, "{}/{length}", Ipv4Addr::from_bits(prefix)),
            Kind::V6 { prefix, length } => {
                write!(f, "{}/{length}", Ipv6Addr::from_bits(u128::from(prefix) << 64))
            }
        }
    }
}

const V4_LENGTHS: &[(u8, u32)] = &[(32, 1), (24, 4)];
const V6_LENGTHS: &[(u8, u32); LEVELS] = &[(64, 1), (56, 4), (48, 16)];

/// The most networks that [`Network::levels`] yields.
pub(crate) const LEVELS: usize = 3;

/// The networks that a user may log in from: `allow_nets` of Dovecot.
///
/// - Addresses and networks of IPv4 and IPv6, separated by commas or blanks. IPv4 ones may be
///   written as IPv6 (`::ffff:192.0.2.7`).
/// - `local` stands for connections without an address. This server has none, so it allows none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedNetworks(Arc<[IpNet]>);

/// Why text is not a list of networks. Does not show the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworksError {
    /// The list is empty.
    #[error("names no network, write some or leave it out")]
    Empty,
    /// An item is not a network.
    #[error("has something that is no network, write them as in 192.0.2.0/24,2001:db8::/32")]
    NotANetwork,
}

impl AllowedNetworks {
    /// Reads a list.
    ///
    /// # Errors
    /// [`NetworksError`] if the list is empty or has an item that is not a network.
    pub(crate) fn parse(text: &str) -> Result<Self, NetworksError> {
        let names = text.split([',', ' ', '\t']).filter(|name| !name.is_empty());
        if names.clone().next().is_none() {
            return Err(NetworksError::Empty);
        }
        let networks: Option<Arc<[IpNet]>> =
            names.filter(|name| *name != "local").map(network).collect();
        networks.map(Self).ok_or(NetworksError::NotANetwork)
    }

    /// Whether an address is in one of them.
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

impl fmt::Display for AllowedNetworks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (nth, network) in self.0.iter().enumerate() {
            let separator = if nth == 0 { "" } else { ", " };
            write!(f, "{separator}{network}")?;
        }
        Ok(())
    }
}

/// Reads an address or a network. IPv4 ones may be written as IPv6 (`::ffff:192.0.2.7`).
pub fn network(text: &str) -> Option<IpNet> {
    let network = match text.parse::<IpAddr>() {
        Ok(address) => address.into(),
        Err(_) => text.parse::<IpNet>().ok()?,
    };
    let mapped = match network.addr() {
        IpAddr::V6(address) => address.to_ipv4_mapped(),
        IpAddr::V4(_) => None,
    };
    match (mapped, network.prefix_len().checked_sub(96)) {
        (Some(address), Some(length)) => Ipv4Net::new(address, length).map(IpNet::V4).ok(),
        (Some(_), None) | (None, _) => Some(network),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn network(address: &str) -> Network {
        address.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn ipv6_counts_by_64_and_mapped_ipv4_as_ipv4() {
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::9"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_eq!(network("::ffff:192.0.2.7"), network("192.0.2.7"));
        assert_ne!(network("::ffff:192.0.2.7"), network("::ffff:192.0.2.8"));
    }

    #[test]
    fn an_address_is_in_each_network_that_one_customer_may_hold() {
        for (address, expected) in [
            ("192.0.2.7", "192.0.2.7/32 x1, 192.0.2.0/24 x4"),
            ("::ffff:192.0.2.7", "192.0.2.7/32 x1, 192.0.2.0/24 x4"),
            (
                "2001:db8:1:2fe::9",
                "2001:db8:1:2fe::/64 x1, 2001:db8:1:200::/56 x4, 2001:db8:1::/48 x16",
            ),
        ] {
            let address: IpAddr = address.parse().unwrap();
            let levels: Vec<_> = Network::levels(address)
                .map(|Level { network, factor }| format!("{network} x{factor}"))
                .collect();
            assert_eq!(levels.join(", "), expected);
            assert_eq!(Network::levels(address).next().unwrap().network, Network::from(address));
            for level in Network::levels(address) {
                assert_eq!(level.network.factor(), level.factor);
                let net = IpNet::from(level.network);
                assert_eq!(net.to_string(), level.network.to_string());
                assert!(net.contains(&address.to_canonical()));
            }
        }
        // A network and a smaller one within it are two.
        let ends_in_zero = Network::levels("192.0.2.0".parse().unwrap());
        assert_eq!(ends_in_zero.map(|level| level.network).collect::<BTreeSet<_>>().len(), 2);
    }

    #[test]
    fn networks_as_dovecot_writes_them() {
        for (list, inside, outside) in [
            ("192.0.2.7", &["192.0.2.7", "::ffff:192.0.2.7"][..], &["192.0.2.8", "::1"][..]),
            ("127.0.0.0/8,192.168.0.0/16,1.2.3.4", &["127.9.9.9", "1.2.3.4"], &["1.2.3.5"]),
            ("::1,2001:abcd:abcd::0:0/80", &["::1", "2001:abcd:abcd::9:9"], &["2001:abcd::1"]),
            ("::ffff:1.2.3.4", &["1.2.3.4"], &["1.2.3.5", "::1"]),
            ("::ffff:1.2.3.0/120", &["1.2.3.4", "::ffff:1.2.3.9"], &["1.2.4.1"]),
            // Bits after the prefix do not matter.
            ("192.0.2.7/24", &["192.0.2.9"], &["192.0.3.9"]),
            (" 192.0.2.7,\t192.0.2.8, ", &["192.0.2.7", "192.0.2.8"], &["192.0.2.9"]),
            ("0.0.0.0/0", &["192.0.2.7"], &["::1"]),
            ("::/0", &["::1"], &["192.0.2.7"]),
            ("local,192.0.2.7", &["192.0.2.7"], &["127.0.0.1", "::1"]),
            ("local", &[], &["127.0.0.1", "::1", "192.0.2.7"]),
        ] {
            let networks = AllowedNetworks::parse(list).unwrap();
            for (addresses, is_inside) in [(inside, true), (outside, false)] {
                for address in addresses {
                    assert_eq!(
                        networks.contain(address.parse().unwrap()),
                        is_inside,
                        "{list} {address}"
                    );
                }
            }
        }
        let shown = AllowedNetworks::parse("local ::ffff:1.2.3.0/120,::1").unwrap().to_string();
        assert_eq!(shown, "1.2.3.0/24, ::1/128");
        assert_eq!(AllowedNetworks::parse("local").unwrap().to_string(), "none");
    }

    #[test]
    fn a_list_that_cannot_be_read_is_refused_as_a_whole() {
        for list in ["", " ", ",", "192.0.2.0/33", "192.0.2", "example.org", "LOCAL", "1.2.3.4;::1"]
        {
            let error = AllowedNetworks::parse(list).unwrap_err().to_string();
            assert!(!error.contains("example.org"), "{error}");
        }
    }
}
