//! The GS2 header, with which the messages of SCRAM and OAUTHBEARER begin (RFC 5801 §4).

/// The parts of the header.
pub(super) struct Header<'a> {
    pub(super) flag: Flag<'a>,
    /// The user for whom the client wants to act, still escaped.
    pub(super) acts_as: Option<&'a str>,
    /// The header as it came, both commas included.
    pub(super) octets: &'a str,
}

/// Whether the client binds to the channel (RFC 5802 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flag<'a> {
    /// `n`: the client cannot bind.
    Unable,
    /// `y`: the client can bind, but believes that the server cannot.
    NotOffered,
    /// `p=`: the client binds to this property of the channel.
    Binds(&'a str),
}

/// Reads the header. Returns it with the rest of the message.
///
/// ```abnf
/// gs2-header     = gs2-cbind-flag "," [ authzid ] ","
/// gs2-cbind-flag = ("p=" cb-name) / "n" / "y"
/// authzid        = "a=" saslname
/// cb-name        = 1*(ALPHA / DIGIT / "." / "-")
/// ```
pub(super) fn read(message: &str) -> Option<(Header<'_>, &str)> {
    let (flag, rest) = message.split_once(',')?;
    let (acts_as, rest) = rest.split_once(',')?;
    let flag = match flag {
        "n" => Flag::Unable,
        "y" => Flag::NotOffered,
        flag => Flag::Binds(flag.strip_prefix("p=").filter(|name| is_binding_name(name))?),
    };
    let acts_as = match acts_as {
        "" => None,
        acts_as => Some(acts_as.strip_prefix("a=")?),
    };
    let octets = message.strip_suffix(rest)?;
    Some((Header { flag, acts_as, octets }, rest))
}

/// Decodes the escapes in a name: `=2C` is a comma and `=3D` an equals sign; any other `=` fails
/// the authentication (RFC 5802 §5.1).
pub(super) fn name(escaped: &str) -> Option<String> {
    let mut parts = escaped.split('=');
    let mut name = parts.next()?.to_owned();
    for part in parts {
        let (character, rest) = match part.split_at_checked(2)? {
            ("2C", rest) => (',', rest),
            ("3D", rest) => ('=', rest),
            _ => return None,
        };
        name.push(character);
        name.push_str(rest);
    }
    Some(name)
}

fn is_binding_name(name: &str) -> bool {
    let letter = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-');
    !name.is_empty() && name.bytes().all(letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        for (message, flag, acts_as, octets, rest) in [
            ("n,,n=user,r=x", Flag::Unable, None, "n,,", "n=user,r=x"),
            ("y,,", Flag::NotOffered, None, "y,,", ""),
            ("n,a=Ursel,n=Kurt", Flag::Unable, Some("Ursel"), "n,a=Ursel,", "n=Kurt"),
            ("p=tls-exporter,,x,y", Flag::Binds("tls-exporter"), None, "p=tls-exporter,,", "x,y"),
        ] {
            let (header, after) = read(message).unwrap();
            assert_eq!((header.flag, header.acts_as), (flag, acts_as), "{message:?}");
            assert_eq!((header.octets, after), (octets, rest), "{message:?}");
        }
        // The `user=` is the mistake in RFC 7628 §4.4.
        for malformed in
            ["", "n", "n,", ",,", "N,,", "x,,", "p,,", "p=,,", "p=a_b,,", "n,user=x,", "n,b=x,"]
        {
            assert!(read(malformed).is_none(), "{malformed:?}");
        }
    }

    #[test]
    fn escapes_in_names() {
        for (escaped, plain) in [
            ("user", Some("user")),
            ("a=2Cb=3Dc", Some("a,b=c")),
            ("=3D2C", Some("=2C")),
            ("=", None),
            ("a=2", None),
            ("a=2c", None),
            ("a=20b", None),
            ("a==3D", None),
            ("a=\u{f6}", None),
            ("a=2\u{f6}", None),
        ] {
            assert_eq!(name(escaped).as_deref(), plain, "{escaped:?}");
        }
    }
}
