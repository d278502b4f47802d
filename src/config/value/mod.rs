//! Single values: host names, socket addresses, users, path templates.
//!
//! Each function parses the text of a value, or returns what is wrong with it and what to write.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;

use super::RunAs;
use crate::protocol::{Piece, Placeholder, Template, TemplateError, is_invisible};

/// What is wrong with a value, and what to write.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ValueError {
    #[error("{0:?} is not a host name; write one such as \"pop.example.org\"")]
    HostName(String),
    #[error("{0:?} is not a host name; write one such as \"pop.example.org\" or \"*.example.org\"")]
    CertificateName(String),
    #[error("{0:?} is not a domain; write one such as \"example.org\"")]
    Domain(String),
    #[error(
        "{0:?} is not a domain in ASCII; write one such as \"example.org\", or \
         \"xn--bcher-kva.example\" for b\u{fc}cher.example"
    )]
    MailDomain(String),
    #[error("is not a name of 1 to 60 characters; write one such as \"Example Mail\"")]
    DisplayName,
    #[error(
        "{0:?} is neither a web page nor an e-mail address; write one such as \
         \"https://example.org/help\" or \"mailto:help@example.org\""
    )]
    Help(String),
    #[error("{0:?} begins with \"@\"; write {1:?}")]
    DomainWithAt(String, String),
    #[error("{0:?} has no port; write an address such as \"{1}\"")]
    NoPort(String, SocketAddr),
    #[error("{0:?} has no address; write \"{1}\" for every address")]
    NoAddress(String, SocketAddr),
    #[error("{0:?} has no brackets; write \"{1}\"")]
    NoBrackets(String, SocketAddr),
    #[error("\"*\" is not an address; write \"{0}\" for every address")]
    Star(SocketAddr),
    #[error(
        "{0:?} has a host name, but only IP addresses are allowed; write one such as \
         \"192.0.2.1:995\", or \"[::]:995\" for every address"
    )]
    AddressByName(String),
    #[error(
        "{0:?} is not an IP address and a port up to 65535; write one such as \"[::]:995\" or \
         \"192.0.2.1:995\""
    )]
    Address(String),
    #[error("{0:?} is not a network; write one such as \"192.0.2.0/24\" or \"2001:db8::/32\"")]
    Network(String),
    #[error("{0:?} is not the absolute path of a directory; write one such as \"/srv/mail\"")]
    Directory(String),
    #[error("{0:?} is not an IMAP keyword; write one such as \"$POP3Deleted\"")]
    Keyword(String),
    #[error("{0:?} is neither a user nor a user and a group; write \"vmail\" or \"vmail:vmail\"")]
    RunAs(String),
    #[error("is empty; write a path such as {0}")]
    EmptyPath(&'static str),
    #[error("\"~\" is not a placeholder; write the absolute path: {0}")]
    Tilde(&'static str),
    #[error(
        "has {{home}} after its start, but {{home}} is an absolute path; begin with it, as in \
         \"{{home}}/Maildir\""
    )]
    HomeWithin,
    #[error("{0}, as in {1}")]
    SameForAll(TemplateError, &'static str),
    #[error(transparent)]
    Template(TemplateError),
}

/// A host name that is safe in the greeting (RFC 1939 §4: `<` and `>` there would announce APOP).
pub(super) fn host_name(text: &str) -> Result<String, ValueError> {
    if is_host_name(text) {
        Ok(text.to_owned())
    } else {
        Err(ValueError::HostName(text.to_owned()))
    }
}

/// A name in a certificate, in lower case: a host name, or `*.` and a host name.
pub(super) fn certificate_name(text: &str) -> Result<String, ValueError> {
    if is_host_name(text.strip_prefix("*.").unwrap_or(text)) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(ValueError::CertificateName(text.to_owned()))
    }
}

/// The domain of a user name, in lower case (ASCII).
pub(super) fn domain(text: &str) -> Result<Arc<str>, ValueError> {
    if let Some(bare) = text.strip_prefix('@') {
        return Err(ValueError::DomainWithAt(text.to_owned(), bare.to_owned()));
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
        Err(ValueError::Domain(text.to_owned()))
    }
}

/// The domain of e-mail addresses, in lower case, as it is in the DNS.
pub(super) fn mail_domain(text: &str) -> Result<String, ValueError> {
    match text.strip_prefix('@') {
        Some(bare) => Err(ValueError::DomainWithAt(text.to_owned(), bare.to_owned())),
        None if is_host_name(text) => Ok(text.to_ascii_lowercase()),
        None => Err(ValueError::MailDomain(text.to_owned())),
    }
}

/// A name that people read.
pub(super) fn display_name(text: &str) -> Result<String, ValueError> {
    let is_visible = |c: char| !c.is_control() && !is_invisible(c);
    let length = text.chars().count();
    if (1..=60).contains(&length) && text.trim() == text && text.chars().all(is_visible) {
        Ok(text.to_owned())
    } else {
        Err(ValueError::DisplayName)
    }
}

/// The URL of a page on the web, or of an e-mail address.
pub(super) fn help(text: &str) -> Result<String, ValueError> {
    let schemes = ["https://", "http://", "mailto:"];
    let rest = schemes.iter().find_map(|scheme| text.strip_prefix(scheme));
    let is_url = |b: u8| b.is_ascii_graphic() && !br#""<>\^`{|}"#.contains(&b);
    match rest {
        Some(rest) if !rest.is_empty() && rest.bytes().all(is_url) => Ok(text.to_owned()),
        _ => Err(ValueError::Help(text.to_owned())),
    }
}

/// Labels of letters, digits, `-` and `_`, up to 63 octets each and 253 in all.
pub fn is_host_name(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

/// An IP address and a port.
pub(super) fn socket_address(text: &str) -> Result<SocketAddr, ValueError> {
    text.parse().map_err(|_| not_an_address(text))
}

fn not_an_address(text: &str) -> ValueError {
    let owned = text.to_owned();
    let every = |port| SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
    let port_of = |text: &str| text.parse::<u16>().ok();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return ValueError::NoPort(owned, SocketAddr::new(address, 995));
    }
    if let Some(port) = port_of(text.strip_prefix(':').unwrap_or(text)) {
        return ValueError::NoAddress(owned, every(port));
    }
    let Some((host, port)) = text.rsplit_once(':') else { return ValueError::Address(owned) };
    match (host.parse::<Ipv6Addr>(), port_of(port)) {
        (Ok(address), Some(port)) => {
            ValueError::NoBrackets(owned, SocketAddr::new(address.into(), port))
        }
        (Err(_), Some(port)) if host == "*" => ValueError::Star(every(port)),
        _ if is_host_name(host) && !host.bytes().all(|b| b.is_ascii_digit() || b == b'.') => {
            ValueError::AddressByName(owned)
        }
        _ => ValueError::Address(owned),
    }
}

/// A network: an address and the length of its prefix, or an address alone.
pub(super) fn network(text: &str) -> Result<IpNet, ValueError> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    address.or_else(|_| text.parse()).map_err(|_| ValueError::Network(text.to_owned()))
}

/// The absolute path of a directory.
pub(super) fn directory(text: &str) -> Result<PathBuf, ValueError> {
    if text.starts_with('/') && !text.contains(['{', '}', '\0']) {
        Ok(PathBuf::from(text))
    } else {
        Err(ValueError::Directory(text.to_owned()))
    }
}

/// A keyword of IMAP, which is an atom.
pub(super) fn keyword(text: &str) -> Result<String, ValueError> {
    let is_atom = |b: u8| b.is_ascii_graphic() && !br#"(){%*"\]"#.contains(&b);
    if !text.is_empty() && text.bytes().all(is_atom) {
        Ok(text.to_owned())
    } else {
        Err(ValueError::Keyword(text.to_owned()))
    }
}

/// `user:group` or `user`.
pub(super) fn run_as(text: &str) -> Result<RunAs, ValueError> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let plausible =
        |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic() && b != b':');
    if plausible(user) && group.is_none_or(plausible) {
        Ok(RunAs { user: user.to_owned(), group: group.map(str::to_owned) })
    } else {
        Err(ValueError::RunAs(text.to_owned()))
    }
}

/// Checks the template of a path, such as `example`.
///
/// - `{home}` is an absolute path, so it is allowed only at the start.
pub(super) fn path_template(text: &str, example: &'static str) -> Result<(), ValueError> {
    if text.is_empty() {
        return Err(ValueError::EmptyPath(example));
    }
    if text.starts_with('~') {
        return Err(ValueError::Tilde(example));
    }
    let template = Template::parse(text, &Placeholder::ALL).map_err(|error| match error {
        TemplateError::SameForAll => ValueError::SameForAll(error, example),
        TemplateError::Nul
        | TemplateError::Foreign { .. }
        | TemplateError::Unpaired { .. }
        | TemplateError::Unknown { .. } => ValueError::Template(error),
    })?;
    let home = Piece::Placeholder(Placeholder::Home);
    match template.pieces().iter().skip(1).any(|piece| *piece == home) {
        true => Err(ValueError::HomeWithin),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests;
