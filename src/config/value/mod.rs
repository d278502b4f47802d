//! Single values: host names, socket addresses, users, path templates.
//!
//! Each function takes the text of a value and gives what it stands for, or says what is wrong
//! with it and what to write.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;

use super::RunAs;
use crate::protocol::{Piece, Placeholder, Template, TemplateError};

/// A host name that can stand in the greeting (RFC 1939 §4 has no room for `<` and `>` there, which
/// would announce APOP).
pub(super) fn host_name(text: &str) -> Result<String, String> {
    if is_host_name(text) {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is not a host name, write one such as \"pop.example.org\""))
    }
}

/// A name of a certificate: a host name, or `*.` and one. Given back in lower case.
pub(super) fn certificate_name(text: &str) -> Result<String, String> {
    if is_host_name(text.strip_prefix("*.").unwrap_or(text)) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(format!(
            "{text:?} is not a host name, write one such as \"pop.example.org\" or \
             \"*.example.org\""
        ))
    }
}

/// A domain as names of users have it. Given back in lower case (ASCII).
pub(super) fn domain(text: &str) -> Result<Arc<str>, String> {
    if let Some(bare) = text.strip_prefix('@') {
        return Err(format!("{text:?} begins with @, write {bare:?}"));
    }
    let is_label = |label: &str| {
        !label.is_empty()
            && label.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() <= 200 && text.split('.').all(is_label) {
        Ok(text.to_ascii_lowercase().into())
    } else {
        Err(format!("{text:?} is not a domain, write one such as \"example.org\""))
    }
}

/// Labels of letters, digits, `-` and `_`, up to 63 octets each and 253 in all.
fn is_host_name(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

/// An IP address and a port.
pub(super) fn socket_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse::<IpAddr>() {
        let example = SocketAddr::new(address, 995);
        return Err(format!("{text:?} has no port, write one such as \"{example}\""));
    }
    let port_of = |text: &str| text.parse::<u16>().ok();
    if let Some(port) = port_of(text.strip_prefix(':').unwrap_or(text)) {
        let example = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
        return Err(format!("{text:?} has no address, write \"{example}\" for every address"));
    }
    if let Some((host, port)) = text.rsplit_once(':') {
        if let (Ok(address), Some(port)) = (host.parse::<Ipv6Addr>(), port_of(port)) {
            let example = SocketAddr::new(address.into(), port);
            return Err(format!("{text:?} lacks the brackets, write \"{example}\""));
        }
        if let ("*", Some(port)) = (host, port_of(port)) {
            let example = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
            return Err(format!("\"*\" is not an address, write \"{example}\" for every address"));
        }
        if is_host_name(host) && !host.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            return Err(format!(
                "{text:?} names a host, and names are not looked up: write its IP address, such \
                 as \"192.0.2.1:995\", or \"[::]:995\" for every address"
            ));
        }
    }
    Err(format!(
        "{text:?} is not an IP address and a port up to 65535, write one such as \"[::]:995\" or \
         \"192.0.2.1:995\""
    ))
}

/// A network: an address and the length of its prefix, or an address alone.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    address.or_else(|_| text.parse()).map_err(|_| {
        format!(
            "{text:?} is not a network, write one such as \"192.0.2.0/24\" or \"2001:db8::/32\""
        )
    })
}

/// A directory, by its whole path.
pub(super) fn directory(text: &str) -> Result<PathBuf, String> {
    if text.starts_with('/') && !text.contains(['{', '}', '\0']) {
        Ok(PathBuf::from(text))
    } else {
        Err(format!("{text:?} is not the whole path of a directory, write \"/srv/mail\""))
    }
}

/// `user:group` or `user`.
pub(super) fn run_as(text: &str) -> Result<RunAs, String> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let plausible =
        |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic() && b != b':');
    if plausible(user) && group.is_none_or(plausible) {
        Ok(RunAs { user: user.to_owned(), group: group.map(str::to_owned) })
    } else {
        Err(format!("{text:?} is not a user and a group, write \"vmail:vmail\" or \"vmail\""))
    }
}

/// Checks the template of a Maildir path.
///
/// - `{home}` stands at the start, for it is a whole path.
pub(super) fn maildir_template(text: &str) -> Result<(), String> {
    const EXAMPLE: &str = "\"/var/vmail/{domain}/{local}/Maildir\"";
    if text.is_empty() {
        return Err(format!("is empty, write a path such as {EXAMPLE}"));
    }
    if text.starts_with('~') {
        return Err(format!(
            "\"~\" does not stand for anything here, write the whole path: {EXAMPLE}"
        ));
    }
    let template = Template::parse(text, &Placeholder::ALL).map_err(|error| {
        let of_all = error == TemplateError::SameForAll;
        if of_all { format!("{error}, as in {EXAMPLE}") } else { error.to_string() }
    })?;
    match template.pieces().iter().skip(1).any(|it| *it == Piece::Placeholder(Placeholder::Home)) {
        true => Err("has {home} within it, and that is a whole path: begin with it, as in \
                     \"{home}/Maildir\""
            .into()),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests;
