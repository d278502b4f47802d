//! `[[listen]]`: the sockets, and the proxies in front of them.

use std::net::SocketAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::build::NETWORK;
use super::entry::Entry;
use super::partial::PartialListen;
use super::section::Section;
use super::{TlsMode, value};

pub(super) fn listen(root: &Section<'_>, allow_cleartext: bool) -> Vec<PartialListen> {
    let sections = root.sections("listen");
    // If it is in the wrong section, that is reported instead.
    let allow_cleartext = allow_cleartext || root.is_misplaced("allow-cleartext");
    if root.entry("listen").is_none() {
        root.lacks(
            "listen",
            "is missing; write a section [[listen]] with address = \"[::]:995\" and \
             tls = \"implicit\"",
        );
    }
    let mut listen: Vec<PartialListen> = Vec::new();
    for section in &sections {
        let address = section.required("address", ADDRESS).and_then(|entry| {
            let address = entry.checked(value::socket_address(entry.text(ADDRESS)?))?;
            free_address(&entry, address, &listen)
        });
        let (is_proxied, proxies) = proxies(section);
        let tls = section
            .required("tls", "\"implicit\" (as on port 995), \"starttls\" (port 110) or \"off\"")
            .and_then(|entry| {
                let tls = entry.choice("\"implicit\"")?;
                if tls == TlsMode::Off && !allow_cleartext && !is_proxied {
                    entry.refuse(
                        "no client could log in, since no password is accepted without TLS; write \
                         \"starttls\", or allow-cleartext = true in [auth]",
                    );
                }
                Some(tls)
            });
        let default_domain = default_domain(section);
        listen.push(PartialListen { address, tls, default_domain, proxies });
    }
    listen
}

/// The address, unless one of these listeners has it.
pub(super) fn free_address(
    entry: &Entry<'_>,
    address: SocketAddr,
    listen: &[PartialListen],
) -> Option<SocketAddr> {
    let other = |it: &PartialListen| it.address.is_some_and(|it| overlap(it, address));
    let Some(first) = listen.iter().position(other) else { return Some(address) };
    let is = match listen.iter().any(|it| it.address == Some(address)) {
        true => "is already the address of",
        false => "overlaps with",
    };
    entry.refuse(format!("{address} {is} listen[{first}]; remove one of them"));
    None
}

/// Whether two sockets cannot listen on these at the same time. IPv6 sockets do not conflict with
/// IPv4 ones, and port 0 is a different port each time.
pub(super) fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() == other.port()
        && one.port() != 0
        && one.is_ipv4() == other.is_ipv4()
        && (one == other || one.ip().is_unspecified() || other.ip().is_unspecified())
}

/// Whether clients come through a proxy that speaks the PROXY protocol, and the networks of the
/// proxies.
fn proxies(section: &Section<'_>) -> (bool, Option<Arc<[IpNet]>>) {
    let is_proxied = section.sound_flag("proxy-protocol", false);
    match is_proxied {
        Some(true) => (true, networks(section)),
        Some(false) => {
            let why = "has no effect without proxy-protocol = true; write both, or remove this";
            section.refuse(&["proxies"], why);
            (section.entry("proxies").is_some(), None)
        }
        // An invalid value is reported. It counts as true, so that nothing else is reported.
        None => (true, None),
    }
}

fn networks(section: &Section<'_>) -> Option<Arc<[IpNet]>> {
    let entry =
        section.required("proxies", &format!("[{NETWORK}], the networks of the proxies"))?;
    let texts = entry.texts(NETWORK)?;
    if texts.is_empty() {
        entry.refuse(format!(
            "is empty; write the addresses or networks of the proxies: [{NETWORK}]"
        ));
    }
    Some(texts.iter().filter_map(|(entry, text)| entry.checked(value::network(text))).collect())
}

/// The domain for user names without one.
pub(super) fn default_domain(section: &Section<'_>) -> Option<Arc<str>> {
    let entry = section.entry("default-domain")?;
    entry.checked(value::domain(entry.text(DOMAIN)?))
}

// Valid values for the messages.
const ADDRESS: &str = "\"[::]:995\"";
const DOMAIN: &str = "\"example.org\"";
