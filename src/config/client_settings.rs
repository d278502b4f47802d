//! `[client-settings]`: what mail clients have to be told about the site.

use std::num::NonZeroU16;

use super::partial::PartialListen;
use super::section::Section;
use super::{Auth, TlsMode, value};

/// `[client-settings]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSettings {
    /// The domains whose users are told the settings, in lower case. Empty: every domain.
    pub domains: Vec<String>,
    /// The name of the site, for people.
    pub display_name: Option<String>,
    /// The URL of a page, or of an e-mail address, where users find help.
    pub help: Option<String>,
    /// The name to log in with.
    pub user_name: UserNameForm,
    /// The host that serves the settings. `None`: `hostname`.
    pub web_host: Option<String>,
    /// The host to retrieve mail from. `None`: that of the domain, or `hostname`.
    pub pop3_host: Option<String>,
    /// The ports to retrieve mail from, the best first; at least one.
    pub pop3: Vec<ClientPort>,
    /// The server that sends mail.
    pub smtp: MailServer,
    /// The IMAP server, if there is one.
    pub imap: Option<MailServer>,
}

/// A mail server that is not this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailServer {
    /// Its name.
    pub host: String,
    /// Its port.
    pub port: ClientPort,
}

/// A port, and how clients use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientPort {
    /// The port.
    pub number: NonZeroU16,
    /// The TLS mode.
    pub tls: TlsMode,
}

/// The form of the name that a user logs in with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum UserNameForm {
    /// The e-mail address.
    #[default]
    Address,
    /// What precedes the `@`.
    LocalPart,
}

/// Reads `[client-settings]`. `listen` are the ports of this server.
pub(super) fn client_settings(
    section: &Section<'_>,
    listen: &[PartialListen],
    auth: &Auth,
) -> Option<ClientSettings> {
    if !section.is_present() {
        return None;
    }
    let domains = section.entry("domains").and_then(|entry| {
        let domains = entry.texts(DOMAIN)?;
        if domains.is_empty() {
            entry.refuse(format!("is empty; write at least one domain: [{DOMAIN}]"));
        }
        Some(domains)
    });
    let domains = domains.into_iter().flatten();
    let domains = domains.filter_map(|(entry, text)| entry.checked(value::mail_domain(text)));
    let domains = domains.collect();
    let display_name = section.entry("display-name").and_then(|entry| {
        let name = entry.text(NAME)?;
        entry.checked(value::display_name(name))
    });
    let help =
        section.entry("help").and_then(|entry| entry.checked(value::help(entry.text(HELP)?)));
    let user_name = section.choice("user-name", UserNameForm::default());
    let web_host = host(section, "web-host");
    let own = section.section("pop3");
    let pop3_host = host(&own, "host");
    let pop3 = told_port(&own).map_or_else(|| ports(listen, auth), |port| vec![port]);
    let smtp = section.section("smtp");
    let imap = section.section("imap");
    let has_faults = listen.iter().any(|it| it.address.is_none() || it.tls.is_none());
    if pop3.is_empty() && !has_faults {
        section.lacks(
            "pop3",
            "is missing, and no [[listen]] has an address that clients can reach; write a section \
             [client-settings.pop3] with port = 995",
        );
    }
    if !smtp.is_present() && section.entry("smtp").is_none() {
        section.lacks(
            "smtp",
            "is missing, and clients refuse settings without a server that sends mail; write a \
             section [client-settings.smtp] with host = \"smtp.example.org\"",
        );
    }
    let smtp = mail_server(&smtp, SMTP);
    let imap = mail_server(&imap, IMAP);
    let smtp = smtp?;
    Some(ClientSettings {
        domains,
        display_name,
        help,
        user_name,
        web_host,
        pop3_host,
        pop3,
        smtp,
        imap,
    })
}

/// A server that clients have to be told of, if it has a section.
fn mail_server(section: &Section<'_>, ports: Ports) -> Option<MailServer> {
    if !section.is_present() {
        return None;
    }
    let tls = section.choice("tls", TlsMode::Implicit);
    let number = port_number(section).unwrap_or_else(|| ports.of(tls));
    let entry = section.required("host", ports.host)?;
    let host = entry.checked(value::host_name(entry.text(ports.host)?))?;
    Some(MailServer { host: host.to_ascii_lowercase(), port: ClientPort { number, tls } })
}

/// The port of `[client-settings.pop3]`, if it has one.
fn told_port(section: &Section<'_>) -> Option<ClientPort> {
    let number = port_number(section);
    let tls = section.entry("tls").and_then(|entry| entry.choice("\"implicit\""));
    if number.is_none() && tls.is_none() {
        return None;
    }
    let tls = tls.unwrap_or(TlsMode::Implicit);
    Some(ClientPort { number: number.unwrap_or_else(|| POP3.of(tls)), tls })
}

fn port_number(section: &Section<'_>) -> Option<NonZeroU16> {
    let number = section.entry("port")?.number(u16::MAX.into())?;
    NonZeroU16::try_from(number).ok()
}

fn host(section: &Section<'_>, key: &'static str) -> Option<String> {
    let entry = section.entry(key)?;
    let host = entry.checked(value::host_name(entry.text(POP3.host)?))?;
    Some(host.to_ascii_lowercase())
}

/// The ports of these listeners that clients on other machines can reach: implicit TLS before STLS
/// (RFC 8314), and ports without TLS only if there is no other.
fn ports(listen: &[PartialListen], auth: &Auth) -> Vec<ClientPort> {
    let mut ports = Vec::new();
    for PartialListen { address, tls, .. } in listen {
        let (Some(address), Some(tls)) = (*address, *tls) else { continue };
        let Ok(number) = NonZeroU16::try_from(address.port()) else { continue };
        let port = ClientPort { number, tls };
        if !address.ip().is_loopback() && !ports.contains(&port) {
            ports.push(port);
        }
    }
    let has_tls = ports.iter().any(|port| port.tls != TlsMode::Off);
    ports.retain(|port| port.tls != TlsMode::Off || !has_tls && auth.allow_cleartext);
    ports.sort_by_key(|port| match port.tls {
        TlsMode::Implicit => 0,
        TlsMode::Starttls => 1,
        TlsMode::Off => 2,
    });
    ports
}

/// The default ports of a protocol.
#[derive(Clone, Copy)]
struct Ports {
    implicit: u16,
    other: u16,
    /// A host name, for the messages.
    host: &'static str,
}

impl Ports {
    fn of(self, tls: TlsMode) -> NonZeroU16 {
        let number = match tls {
            TlsMode::Implicit => self.implicit,
            TlsMode::Starttls | TlsMode::Off => self.other,
        };
        NonZeroU16::new(number).unwrap_or(NonZeroU16::MIN)
    }
}

const POP3: Ports = Ports { implicit: 995, other: 110, host: "\"pop.example.org\"" };
const SMTP: Ports = Ports { implicit: 465, other: 587, host: "\"smtp.example.org\"" };
const IMAP: Ports = Ports { implicit: 993, other: 143, host: "\"imap.example.org\"" };

// Valid values for the messages.
const DOMAIN: &str = "\"example.org\"";
const NAME: &str = "\"Example Mail\"";
const HELP: &str = "\"https://example.org/help\" or \"mailto:help@example.org\"";
