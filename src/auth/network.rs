//! Where connections come from: as far as it can be held responsible for them ([`Network`]), and
//! whether a user may log in from there ([`AllowedNetworks`]).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};

/// An IPv4 address, or the /64 that an IPv6 customer holds.
///
/// An IPv4 address that is written as an IPv6 one (`::ffff:192.0.2.7`) is the IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Kind {
    V4(Ipv4Addr),
    V6(u64),
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(Kind::V4(address)),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Self(Kind::V6(u64::from_be_bytes([a, b, c, d, e, f, g, h])))
            }
        }
    }
}

/// The networks that a user may log in from: `allow_nets` of Dovecot.
///
/// - Addresses and networks of IPv4 and IPv6, separated by commas or blanks. Those of IPv4 that are
///   written as IPv6 ones (`::ffff:192.0.2.7`) are what they are.
/// - `local` is for connections that have no address. None comes here, so it allows nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedNetworks(Arc<[IpNet]>);

impl AllowedNetworks {
    /// Reads a list.
    ///
    /// # Errors
    /// What is wrong with it and what to write, without showing it.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let names = text.split([',', ' ', '\t']).filter(|name| !name.is_empty());
        if names.clone().next().is_none() {
            return Err("names no network, write some or leave it out");
        }
        let networks: Option<Arc<[IpNet]>> =
            names.filter(|name| *name != "local").map(network).collect();
        let fault = "has something that is no network, write them as in 192.0.2.0/24,2001:db8::/32";
        networks.map(Self).ok_or(fault)
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

fn network(text: &str) -> Option<IpNet> {
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
    fn networks_as_dovecot_writes_them() {
        for (list, inside, outside) in [
            ("192.0.2.7", &["192.0.2.7", "::ffff:192.0.2.7"][..], &["192.0.2.8", "::1"][..]),
            ("127.0.0.0/8,192.168.0.0/16,1.2.3.4", &["127.9.9.9", "1.2.3.4"], &["1.2.3.5"]),
            ("::1,2001:abcd:abcd::0:0/80", &["::1", "2001:abcd:abcd::9:9"], &["2001:abcd::1"]),
            ("::ffff:1.2.3.4", &["1.2.3.4"], &["1.2.3.5", "::1"]),
            ("::ffff:1.2.3.0/120", &["1.2.3.4", "::ffff:1.2.3.9"], &["1.2.4.1"]),
            // Bits behind the prefix do not matter.
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
            let fault = AllowedNetworks::parse(list).unwrap_err();
            assert!(!fault.contains("example.org"), "{fault}");
        }
    }
}
