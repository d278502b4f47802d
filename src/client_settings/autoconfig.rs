//! The document of Thunderbird's autoconfig, version 1.1, which K-9, Evolution and others read
//! as well.

use std::fmt::{self, Write};

use super::{Domain, Protocol, Server, Site, Xml, document};
use crate::config::{TlsMode, UserNameForm};

/// The document for the users of a domain.
///
/// - It is the same for all of them: the client puts the address in place of a variable.
pub fn autoconfig(site: &Site, domain: &Domain) -> String {
    document(|out| write(out, site, domain))
}

fn write(out: &mut String, site: &Site, domain: &Domain) -> fmt::Result {
    let name = Xml(site.name_for(domain));
    let id = Xml(domain.as_str());
    writeln!(out, r#"<?xml version="1.0" encoding="UTF-8"?>"#)?;
    writeln!(out, r#"<clientConfig version="1.1">"#)?;
    writeln!(out, r#"  <emailProvider id="{id}">"#)?;
    writeln!(out, "    <domain>{id}</domain>")?;
    writeln!(out, "    <displayName>{name}</displayName>")?;
    writeln!(out, "    <displayShortName>{name}</displayShortName>")?;
    for server in site.servers(domain) {
        write_server(out, site, server)?;
    }
    if let Some(help) = site.help() {
        let help = Xml(help);
        writeln!(out, r#"    <documentation url="{help}">"#)?;
        writeln!(out, r#"      <descr lang="en">Help with e-mail</descr>"#)?;
        writeln!(out, r#"      <descr lang="de">Hilfe zu E-Mail</descr>"#)?;
        writeln!(out, "    </documentation>")?;
    }
    writeln!(out, "  </emailProvider>")?;
    writeln!(out, "</clientConfig>")
}

fn write_server(out: &mut String, site: &Site, server: Server<'_>) -> fmt::Result {
    let (element, kind) = match server.protocol {
        Protocol::Pop3 => ("incomingServer", "pop3"),
        Protocol::Imap => ("incomingServer", "imap"),
        Protocol::Smtp => ("outgoingServer", "smtp"),
    };
    let socket_type = match server.port.tls {
        TlsMode::Implicit => "SSL",
        TlsMode::Starttls => "STARTTLS",
        TlsMode::Off => "plain",
    };
    let user_name = match site.user_name_form() {
        UserNameForm::Address => "%EMAILADDRESS%",
        UserNameForm::LocalPart => "%EMAILLOCALPART%",
    };
    writeln!(out, r#"    <{element} type="{kind}">"#)?;
    writeln!(out, "      <hostname>{}</hostname>", Xml(server.host))?;
    writeln!(out, "      <port>{}</port>", server.port.number)?;
    writeln!(out, "      <socketType>{socket_type}</socketType>")?;
    writeln!(out, "      <authentication>password-cleartext</authentication>")?;
    writeln!(out, "      <username>{user_name}</username>")?;
    if server.protocol == Protocol::Pop3 {
        writeln!(out, "      <pop3>")?;
        writeln!(out, "        <leaveMessagesOnServer>true</leaveMessagesOnServer>")?;
        writeln!(out, "        <downloadOnBiff>true</downloadOnBiff>")?;
        writeln!(out, "      </pop3>")?;
    }
    writeln!(out, "    </{element}>")
}

#[cfg(test)]
mod tests {
    use super::super::site::tests::{domain, site};
    use super::*;

    #[test]
    fn pop3_comes_first() {
        let document =
            autoconfig(&site("help = \"https://example.org/?a=1&b=2\""), &domain("Example.org"));
        let expected = r#"<?xml version="1.0" encoding="UTF-8"?>
<clientConfig version="1.1">
  <emailProvider id="example.org">
    <domain>example.org</domain>
    <displayName>example.org</displayName>
    <displayShortName>example.org</displayShortName>
    <incomingServer type="pop3">
      <hostname>pop.example.org</hostname>
      <port>995</port>
      <socketType>SSL</socketType>
      <authentication>password-cleartext</authentication>
      <username>%EMAILADDRESS%</username>
      <pop3>
        <leaveMessagesOnServer>true</leaveMessagesOnServer>
        <downloadOnBiff>true</downloadOnBiff>
      </pop3>
    </incomingServer>
    <incomingServer type="pop3">
      <hostname>pop.example.org</hostname>
      <port>110</port>
      <socketType>STARTTLS</socketType>
"#;
        assert!(document.starts_with(expected), "{document}");
        assert!(document.contains("url=\"https://example.org/?a=1&amp;b=2\""), "{document}");
        let place = |text: &str| document.find(text).unwrap();
        assert!(place("type=\"imap\"") < place("type=\"smtp\""));
    }

    #[test]
    fn names_are_escaped() {
        let site = site("display-name = 'M&N <Mail>'\nuser-name = \"local-part\"");
        let document = autoconfig(&site, &domain("example.org"));
        assert!(document.contains("<displayName>M&amp;N &lt;Mail&gt;</displayName>"), "{document}");
        assert!(document.contains("<username>%EMAILLOCALPART%</username>"), "{document}");
    }
}
