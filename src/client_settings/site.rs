//! The settings of a site, as its configuration says them.

use super::{Address, Domain};
use crate::config::{ClientPort, ClientSettings, Config, MailServer, Tls, TlsMode, UserNameForm};

/// The settings of a site.
#[derive(Clone, Debug)]
pub struct Site {
    hostname: String,
    /// Hosts of domains that have a certificate of their own.
    hosts: Vec<(String, String)>,
    settings: ClientSettings,
}

/// A server that clients connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server<'a> {
    /// Its protocol.
    pub protocol: Protocol,
    /// Its name.
    pub host: &'a str,
    /// Its port.
    pub port: ClientPort,
}

/// What a server is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Retrieves mail.
    Pop3,
    /// Reads mail on the server.
    Imap,
    /// Sends mail.
    Smtp,
}

impl Site {
    /// The settings in a configuration. `None`: it has no `[client-settings]`.
    pub fn of(config: &Config) -> Option<Self> {
        let settings = config.client_settings.clone()?;
        Some(Self {
            hostname: config.hostname.to_ascii_lowercase(),
            hosts: config.tls.as_ref().map(hosts).unwrap_or_default(),
            settings,
        })
    }

    /// The domains that the site is for. Empty: every domain.
    pub fn domains(&self) -> &[String] {
        &self.settings.domains
    }

    /// Whether users of the domain are told the settings.
    pub fn has(&self, domain: &Domain) -> bool {
        let domains = self.domains();
        domains.is_empty() || domains.iter().any(|own| own == domain.as_str())
    }

    /// The name of the site, for people, if it has one.
    pub fn display_name(&self) -> Option<&str> {
        self.settings.display_name.as_deref()
    }

    /// The name of the site as mail clients show it: by default, the domain.
    pub fn name_for<'a>(&'a self, domain: &'a Domain) -> &'a str {
        self.display_name().unwrap_or(domain.as_str())
    }

    /// Where users find help: a URL.
    pub fn help(&self) -> Option<&str> {
        self.settings.help.as_deref()
    }

    /// The host that serves the settings.
    pub fn web_host(&self) -> &str {
        self.settings.web_host.as_deref().unwrap_or(&self.hostname)
    }

    /// The form of the name that users log in with.
    pub fn user_name_form(&self) -> UserNameForm {
        self.settings.user_name
    }

    /// The name that a user logs in with.
    pub fn user_name(&self, address: &Address) -> String {
        match self.settings.user_name {
            UserNameForm::Address => address.to_string(),
            UserNameForm::LocalPart => address.local().to_owned(),
        }
    }

    /// The servers for the users of a domain: those that retrieve mail before the one that sends it,
    /// POP3 before IMAP, and the best port of each protocol first.
    pub fn servers<'a>(&'a self, domain: &Domain) -> Vec<Server<'a>> {
        let host = self.pop3_host(domain);
        let ports = self.settings.pop3.iter();
        let pop3 = ports.map(|&port| Server { protocol: Protocol::Pop3, host, port });
        let imap = self.settings.imap.iter().map(|imap| Server::of(Protocol::Imap, imap));
        pop3.chain(imap).chain([self.smtp()]).collect()
    }

    /// The server that retrieves mail, with its best port.
    pub fn pop3<'a>(&'a self, domain: &Domain) -> Option<Server<'a>> {
        self.servers(domain).into_iter().find(|server| server.protocol == Protocol::Pop3)
    }

    /// The server that sends mail.
    pub fn smtp(&self) -> Server<'_> {
        Server::of(Protocol::Smtp, &self.settings.smtp)
    }

    /// The told host, or the one of the domain's own certificate, so that a certificate has the name
    /// that clients compare it with.
    fn pop3_host(&self, domain: &Domain) -> &str {
        let own = self.hosts.iter().find(|(own, _)| own == domain.as_str()).map(|(_, host)| host);
        self.settings.pop3_host.as_ref().or(own).unwrap_or(&self.hostname)
    }
}

impl<'a> Server<'a> {
    fn of(protocol: Protocol, server: &'a MailServer) -> Self {
        Self { protocol, host: &server.host, port: server.port }
    }
}

impl Protocol {
    /// Its name, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pop3 => "POP3",
            Self::Imap => "IMAP",
            Self::Smtp => "SMTP",
        }
    }
}

/// The default domain of each `[[tls.host]]`, with its first name.
fn hosts(tls: &Tls) -> Vec<(String, String)> {
    let hosts = tls.hosts.iter().filter_map(|host| {
        let name = host.names.iter().find(|name| !name.starts_with('*'))?;
        Some((host.default_domain.as_deref()?.to_owned(), name.clone()))
    });
    hosts.collect()
}

impl ClientPort {
    /// Whether TLS protects the connection.
    pub(super) fn is_encrypted(self) -> bool {
        self.tls != TlsMode::Off
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;

    use super::*;

    /// The site of a small company, with these further lines in its configuration.
    pub(in crate::client_settings) fn site(more: &str) -> Site {
        let text = format!(
            r#"
            hostname = "POP.example.org"
            listen = [
                {{ address = "[::]:110", tls = "starttls" }},
                {{ address = "[::]:995", tls = "implicit" }},
                {{ address = "127.0.0.1:1100", tls = "off" }},
            ]
            maildir = {{ path = "{{user}}" }}
            credentials = [{{ kind = "file", path = "users" }}]
            auth = {{ allow-cleartext = true }}
            [tls]
            certificate = "a"
            private-key = "b"
            [[tls.host]]
            names = ["*.example.net", "mail.example.net"]
            certificate = "a"
            private-key = "b"
            default-domain = "example.net"
            [client-settings]
            {more}
            [client-settings.smtp]
            host = "smtp.example.org"
            [client-settings.imap]
            host = "imap.example.org"
            tls = "starttls"
            "#
        );
        Site::of(&Config::parse(&text, Path::new("")).unwrap()).unwrap()
    }

    pub(in crate::client_settings) fn domain(text: &str) -> Domain {
        Domain::parse(text).unwrap()
    }

    pub(in crate::client_settings) fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    fn shown(site: &Site, at: &str) -> Vec<String> {
        let domain = domain(at);
        let servers = site.servers(&domain).into_iter();
        let line = |Server { protocol, host, port }| {
            format!("{} {host} {} {:?}", protocol.name(), port.number, port.tls)
        };
        servers.map(line).collect()
    }

    #[test]
    fn pop3_comes_from_the_listeners_the_best_first() {
        assert_eq!(
            shown(&site(""), "example.org"),
            [
                "POP3 pop.example.org 995 Implicit",
                "POP3 pop.example.org 110 Starttls",
                "IMAP imap.example.org 143 Starttls",
                "SMTP smtp.example.org 465 Implicit",
            ]
        );
    }

    #[test]
    fn the_host_of_a_domain_is_that_of_its_certificate() {
        let first = |site: &Site, domain: &str| shown(site, domain).swap_remove(0);
        assert_eq!(first(&site(""), "example.net"), "POP3 mail.example.net 995 Implicit");
        let told = site("pop3.host = \"pop.example.com\"");
        assert_eq!(first(&told, "example.net"), "POP3 pop.example.com 995 Implicit");
        let told = site("pop3.port = 2110\npop3.tls = \"starttls\"");
        assert_eq!(shown(&told, "example.org")[..1], ["POP3 pop.example.org 2110 Starttls"]);
        assert_eq!(shown(&told, "example.org").len(), 3, "the told port is the only one");
    }

    #[test]
    fn a_site_is_for_its_domains() {
        assert!(site("").has(&domain("example.com")));
        let few = site("domains = [\"Example.org\"]");
        assert!(few.has(&domain("EXAMPLE.org")) && !few.has(&domain("example.com")));
    }

    #[test]
    fn user_names_have_the_form_that_the_configuration_says() {
        let user = address("mrose@example.org");
        assert_eq!(site("").user_name(&user), "mrose@example.org");
        assert_eq!(site("user-name = \"local-part\"").user_name(&user), "mrose");
    }
}
