//! The answer of Outlook's autodiscover, in its form of plain XML (POX).

use std::fmt::{self, Write};

use super::{Address, Protocol, Server, Site, Xml, document};
use crate::config::TlsMode;

/// The answer for a user.
pub fn autodiscover(site: &Site, address: &Address) -> String {
    document(|out| write(out, site, address))
}

/// The answer to a request without a usable address, or for a domain of another site.
pub fn autodiscover_error(what: &str) -> String {
    let what = Xml(what);
    format!(
        r#"<?xml version="1.0" encoding="utf-8"?>
<Autodiscover xmlns="{RESPONSE}">
  <Response>
    <Error Time="00:00:00" Id="0">
      <ErrorCode>600</ErrorCode>
      <Message>{what}</Message>
      <DebugData/>
    </Error>
  </Response>
</Autodiscover>
"#
    )
}

fn write(out: &mut String, site: &Site, address: &Address) -> fmt::Result {
    writeln!(out, r#"<?xml version="1.0" encoding="utf-8"?>"#)?;
    writeln!(out, r#"<Autodiscover xmlns="{RESPONSE}">"#)?;
    writeln!(out, r#"  <Response xmlns="{OUTLOOK_RESPONSE}">"#)?;
    writeln!(out, "    <Account>")?;
    writeln!(out, "      <AccountType>email</AccountType>")?;
    writeln!(out, "      <Action>settings</Action>")?;
    let login = site.user_name(address);
    // It has no way to name a second port of a protocol.
    let mut written = Vec::new();
    for server in site.servers(address.domain()) {
        if !written.contains(&server.protocol) {
            written.push(server.protocol);
            write_protocol(out, &login, server)?;
        }
    }
    writeln!(out, "    </Account>")?;
    writeln!(out, "  </Response>")?;
    writeln!(out, "</Autodiscover>")
}

fn write_protocol(out: &mut String, login: &str, server: Server<'_>) -> fmt::Result {
    // Outlook takes SSL for implicit TLS; Encryption, where it knows it, has precedence.
    let (ssl, encryption) = match server.port.tls {
        TlsMode::Implicit => ("on", "SSL"),
        TlsMode::Starttls => ("on", "TLS"),
        TlsMode::Off => ("off", "None"),
    };
    writeln!(out, "      <Protocol>")?;
    writeln!(out, "        <Type>{}</Type>", server.protocol.name())?;
    writeln!(out, "        <Server>{}</Server>", Xml(server.host))?;
    writeln!(out, "        <Port>{}</Port>", server.port.number)?;
    writeln!(out, "        <LoginName>{}</LoginName>", Xml(login))?;
    writeln!(out, "        <DomainRequired>off</DomainRequired>")?;
    writeln!(out, "        <SPA>off</SPA>")?;
    writeln!(out, "        <SSL>{ssl}</SSL>")?;
    writeln!(out, "        <Encryption>{encryption}</Encryption>")?;
    writeln!(out, "        <AuthRequired>on</AuthRequired>")?;
    if server.protocol == Protocol::Smtp {
        writeln!(out, "        <UsePOPAuth>on</UsePOPAuth>")?;
        writeln!(out, "        <SMTPLast>off</SMTPLast>")?;
    }
    writeln!(out, "      </Protocol>")
}

const RESPONSE: &str = "http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006";
const OUTLOOK_RESPONSE: &str =
    "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a";

#[cfg(test)]
mod tests {
    use super::super::site::tests::{address, site};
    use super::*;

    #[test]
    fn each_protocol_is_there_once_pop3_first() {
        let document = autodiscover(&site(""), &address("o'neil@example.org"));
        let types = document.split("<Type>").skip(1).map(|rest| rest.split('<').next().unwrap());
        assert_eq!(types.collect::<Vec<_>>(), ["POP3", "IMAP", "SMTP"]);
        for part in [
            "<Server>pop.example.org</Server>\n        <Port>995</Port>",
            "<LoginName>o&#39;neil@example.org</LoginName>",
            "<Port>143</Port>",
            "<SSL>on</SSL>\n        <Encryption>TLS</Encryption>",
        ] {
            assert!(document.contains(part), "{part} in {document}");
        }
    }

    #[test]
    fn an_error_is_escaped() {
        let document = autodiscover_error("<b>");
        assert!(document.contains("<Message>&lt;b&gt;</Message>"), "{document}");
    }
}
