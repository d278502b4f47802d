//! A configuration profile for Mail on iOS, iPadOS and macOS.

use std::fmt::{self, Write};

use sha2::{Digest, Sha256};

use super::{Address, Domain, Server, Site, Xml, document};

/// The profile for a user, or one that asks for the address.
///
/// - It has no password: the device asks for it.
/// - A newer profile for the same user replaces the older one, since its identifiers are the same.
pub fn mobileconfig(site: &Site, domain: &Domain, address: Option<&Address>) -> Option<String> {
    let pop3 = site.pop3(domain)?;
    Some(document(|out| write(out, site, domain, address, pop3)))
}

fn write(
    out: &mut String,
    site: &Site,
    domain: &Domain,
    address: Option<&Address>,
    pop3: Server<'_>,
) -> fmt::Result {
    let who = address.map_or_else(|| domain.to_string(), Address::to_string);
    let identifier = format!("{}.mail.{}", reversed(pop3.host), uuid("account", &who));
    let name = site.name_for(domain);
    out.write_str(HEAD)?;
    writeln!(out, "  <key>PayloadContent</key>\n  <array>\n    <dict>")?;
    let mut account = Dictionary { out, indent: "      " };
    account.text("EmailAccountDescription", name)?;
    account.text("EmailAccountType", "EmailTypePOP")?;
    if let Some(address) = address {
        account.text("EmailAddress", &address.to_string())?;
    }
    account.server("IncomingMailServer", pop3)?;
    account.server("OutgoingMailServer", site.smtp())?;
    if let Some(address) = address {
        let login = site.user_name(address);
        account.text("IncomingMailServerUsername", &login)?;
        account.text("OutgoingMailServerUsername", &login)?;
    }
    account.flag("OutgoingPasswordSameAsIncomingPassword", true)?;
    account.payload(
        "com.apple.mail.managed",
        name,
        &format!("{identifier}.account"),
        &uuid("mail", &who),
    )?;
    writeln!(out, "    </dict>\n  </array>")?;
    let mut profile = Dictionary { out, indent: "  " };
    profile.payload("Configuration", name, &identifier, &uuid("profile", &who))?;
    profile.text("PayloadDescription", &format!("E-mail: {who}"))?;
    profile.text("PayloadOrganization", name)?;
    out.write_str("</dict>\n</plist>\n")
}

/// The keys of a dictionary.
struct Dictionary<'a> {
    out: &'a mut String,
    indent: &'static str,
}

impl Dictionary<'_> {
    fn text(&mut self, key: &str, value: &str) -> fmt::Result {
        self.put(key, format_args!("<string>{}</string>", Xml(value)))
    }

    fn flag(&mut self, key: &str, value: bool) -> fmt::Result {
        self.put(key, format_args!("<{value}/>"))
    }

    /// A server, with keys that begin with `prefix`.
    fn server(&mut self, prefix: &str, server: Server<'_>) -> fmt::Result {
        self.text(&format!("{prefix}Authentication"), "EmailAuthPassword")?;
        self.text(&format!("{prefix}HostName"), server.host)?;
        let port = format_args!("<integer>{}</integer>", server.port.number);
        self.put(&format!("{prefix}PortNumber"), port)?;
        self.flag(&format!("{prefix}UseSSL"), server.port.is_encrypted())
    }

    /// What every payload has.
    fn payload(&mut self, kind: &str, name: &str, identifier: &str, uuid: &str) -> fmt::Result {
        self.text("PayloadDisplayName", name)?;
        self.text("PayloadIdentifier", identifier)?;
        self.text("PayloadType", kind)?;
        self.text("PayloadUUID", uuid)?;
        self.put("PayloadVersion", format_args!("<integer>1</integer>"))
    }

    fn put(&mut self, key: &str, value: fmt::Arguments<'_>) -> fmt::Result {
        let indent = self.indent;
        writeln!(self.out, "{indent}<key>{key}</key>\n{indent}{value}")
    }
}

/// `org.example.pop` for `pop.example.org`.
fn reversed(host: &str) -> String {
    host.rsplit('.').collect::<Vec<_>>().join(".")
}

/// A UUID that is always the same for the same thing: version 8 of RFC 9562.
fn uuid(what: &str, who: &str) -> String {
    let digest = Sha256::new().chain_update(what).chain_update([0]).chain_update(who).finalize();
    let mut number =
        digest.iter().take(16).fold(0_u128, |number, &octet| number << 8 | u128::from(octet));
    number = number & !(0xf << 76) | 0x8 << 76;
    number = number & !(0x3 << 62) | 0x2 << 62;
    let hex = format!("{number:032X}");
    let mut parts = Vec::new();
    let mut rest = hex.as_str();
    for length in [8, 4, 4, 4, 12] {
        let (part, after) = rest.split_at_checked(length).unwrap_or_default();
        parts.push(part);
        rest = after;
    }
    parts.join("-")
}

const HEAD: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
"#;

#[cfg(test)]
mod tests {
    use super::super::site::tests::{address, domain, site};
    use super::*;

    #[test]
    fn the_profile_of_a_user_has_the_account() {
        let user = address("mrose@example.org");
        let profile =
            mobileconfig(&site("display-name = 'M&N'"), user.domain(), Some(&user)).unwrap();
        for part in [
            "<key>EmailAccountType</key>\n      <string>EmailTypePOP</string>",
            "<key>EmailAddress</key>\n      <string>mrose@example.org</string>",
            "<key>IncomingMailServerHostName</key>\n      <string>pop.example.org</string>",
            "<key>IncomingMailServerPortNumber</key>\n      <integer>995</integer>",
            "<key>IncomingMailServerUseSSL</key>\n      <true/>",
            "<key>IncomingMailServerUsername</key>\n      <string>mrose@example.org</string>",
            "<key>OutgoingMailServerPortNumber</key>\n      <integer>465</integer>",
            "<key>PayloadDisplayName</key>\n  <string>M&amp;N</string>",
        ] {
            assert!(profile.contains(part), "{part} in {profile}");
        }
    }

    #[test]
    fn the_profile_of_a_domain_asks_for_the_address() {
        let profile = mobileconfig(&site(""), &domain("example.org"), None).unwrap();
        assert!(!profile.contains("EmailAddress") && !profile.contains("Username"), "{profile}");
    }

    #[test]
    fn identifiers_stay_the_same_and_are_of_their_user() {
        assert_eq!(uuid("mail", "a@b"), uuid("mail", "a@b"));
        assert_ne!(uuid("mail", "a@b"), uuid("mail", "b@b"));
        assert_ne!(uuid("mail", "a@b"), uuid("profile", "a@b"));
        let uuid = uuid("mail", "a@b");
        let lengths: Vec<_> = uuid.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_eq!(uuid.split('-').nth(2).unwrap().chars().next(), Some('8'));
        assert!(uuid.split('-').nth(3).unwrap().starts_with(['8', '9', 'A', 'B']), "{uuid}");
    }
}
