//! The records of the DNS by which clients find the servers of a domain (RFC 6186, RFC 8314).

use super::{Domain, Protocol, Server, Site};
use crate::config::TlsMode;

/// The records, one a line, in the form of a zone file.
///
/// - A lower number is preferred: implicit TLS before STARTTLS, and POP3 before IMAP.
/// - A port without TLS has no record: nobody should find it by itself.
/// - A host that serves the settings under one of the names is no alias of itself.
pub fn records(site: &Site, domain: &Domain) -> Vec<String> {
    let mut records = Vec::new();
    let mut service = |name: &str, priority: usize, port: u16, host: &str| {
        records.push(format!("_{name}._tcp.{domain}. IN SRV {priority} 1 {port} {host}."));
    };
    let servers = site.servers(domain).into_iter();
    let named = servers.filter_map(|server| Some((service_name(server)?, server)));
    for (nth, (name, server)) in named.enumerate() {
        let priority = if server.protocol == Protocol::Smtp { 0 } else { nth * 10 };
        service(name, priority, server.port.number.get(), server.host);
    }
    let web = site.web_host();
    service("autodiscover", 0, 443, web);
    let names = ["autoconfig", "autodiscover"].map(|name| format!("{name}.{domain}"));
    for name in names.iter().filter(|name| *name != web) {
        records.push(format!("{name}. IN CNAME {web}."));
    }
    records
}

fn service_name(server: Server<'_>) -> Option<&'static str> {
    Some(match (server.protocol, server.port.tls) {
        (Protocol::Pop3, TlsMode::Implicit) => "pop3s",
        (Protocol::Pop3, TlsMode::Starttls) => "pop3",
        (Protocol::Imap, TlsMode::Implicit) => "imaps",
        (Protocol::Imap, TlsMode::Starttls) => "imap",
        (Protocol::Smtp, TlsMode::Implicit) => "submissions",
        (Protocol::Smtp, TlsMode::Starttls) => "submission",
        (_, TlsMode::Off) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::site::tests::{domain, site};
    use super::*;

    #[test]
    fn every_service_with_tls_has_a_record() {
        assert_eq!(
            records(&site("web-host = \"web.example.org\""), &domain("example.org")),
            [
                "_pop3s._tcp.example.org. IN SRV 0 1 995 pop.example.org.",
                "_pop3._tcp.example.org. IN SRV 10 1 110 pop.example.org.",
                "_imap._tcp.example.org. IN SRV 20 1 143 imap.example.org.",
                "_submissions._tcp.example.org. IN SRV 0 1 465 smtp.example.org.",
                "_autodiscover._tcp.example.org. IN SRV 0 1 443 web.example.org.",
                "autoconfig.example.org. IN CNAME web.example.org.",
                "autodiscover.example.org. IN CNAME web.example.org.",
            ]
        );
        let itself =
            records(&site("web-host = \"Autoconfig.example.org\""), &domain("example.org"));
        let aliases: Vec<_> = itself.iter().filter(|record| record.contains("CNAME")).collect();
        assert_eq!(aliases, ["autodiscover.example.org. IN CNAME autoconfig.example.org."]);
        let plain = site("pop3.port = 110\npop3.tls = \"off\"");
        assert!(!records(&plain, &domain("example.org")).concat().contains("pop3"));
    }
}
