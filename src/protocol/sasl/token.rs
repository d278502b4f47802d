//! OAUTHBEARER and XOAUTH2: a bearer token in place of a password (RFC 7628 §3).
//!
//! XOAUTH2 has no RFC; the documentation of Google and Microsoft describes it.

use serde_json::Value;

use super::gs2::{self, Flag};
use super::{ResponseError, Step, claimed};
use crate::protocol::{ClaimedName, Secret};

/// A bearer token that is not verified yet.
#[derive(Debug)]
pub struct TokenClaim {
    /// The name that the client has sent. The token must belong to the same user.
    pub name: Option<ClaimedName>,
    /// Visible ASCII characters, at least one.
    pub token: Secret<Vec<u8>>,
    /// How to refuse it.
    pub dialect: TokenDialect,
}

/// The mechanism of a token. The mechanisms differ in the form of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenDialect {
    /// RFC 7628 §3.2.2.
    OAuthBearer,
    /// `status` is a status code of HTTP.
    XOAuth2,
}

/// Where a client gets a token.
#[derive(Clone, Debug, Default)]
pub struct TokenGuidance {
    /// The scope that a token needs.
    pub scope: Option<String>,
    /// The address of the provider's `/.well-known/openid-configuration`.
    pub openid_configuration: Option<String>,
}

impl TokenDialect {
    /// The challenge that says why a token was refused (RFC 7628 §3.2.2).
    ///
    /// - The client responds with 0x01, with an empty line or with `*`. In any case `-ERR` follows
    ///   (RFC 7628 §3.2.3).
    pub fn refusal(self, guidance: &TokenGuidance) -> Vec<u8> {
        let scope = guidance.scope.as_deref();
        let members = match self {
            Self::OAuthBearer => [
                ("status", Some("invalid_token")),
                ("scope", scope),
                ("openid-configuration", guidance.openid_configuration.as_deref()),
            ],
            Self::XOAuth2 => {
                [("status", Some("400")), ("schemes", Some("Bearer")), ("scope", scope)]
            }
        };
        let members: Vec<String> = members
            .into_iter()
            .filter_map(|(name, value)| {
                Some(format!("{}:{}", Value::from(name), Value::from(value?)))
            })
            .collect();
        format!("{{{}}}", members.join(",")).into_bytes()
    }
}

/// Reads the response of OAUTHBEARER (RFC 7628 §3.1).
///
/// ```abnf
/// client-resp = gs2-header kvsep *kvpair kvsep
/// kvpair      = key "=" value kvsep
/// kvsep       = %x01
/// ```
pub(super) fn read_oauthbearer(response: &[u8]) -> Step {
    read_bearer(response).unwrap_or(Step::Refused(ResponseError::Malformed))
}

fn read_bearer(response: &[u8]) -> Option<Step> {
    let (header, rest) = gs2::read(std::str::from_utf8(response).ok()?)?;
    match header.flag {
        Flag::Unable | Flag::NotOffered => {}
        Flag::Binds(_) => return Some(Step::Refused(ResponseError::Unbound)),
    }
    let name = match header.acts_as {
        None => None,
        Some(escaped) => Some(claimed(gs2::name(escaped)?.as_bytes())?),
    };
    // DEVIATION: RFC 7628 §3.2 — host and port are not compared: the server does not know all names
    // and ports that lead to it through DNS and proxies, and the token names its audience.
    let pairs = Pairs::read(rest.strip_prefix('\x01')?)?;
    Some(claim(TokenDialect::OAuthBearer, name, pairs.auth?))
}

/// Reads the response of XOAUTH2.
///
/// ```abnf
/// response = "user=" name %x01 "auth=Bearer " token %x01 %x01
/// ```
pub(super) fn read_xoauth2(response: &[u8]) -> Step {
    read_older(response).unwrap_or(Step::Refused(ResponseError::Malformed))
}

fn read_older(response: &[u8]) -> Option<Step> {
    let pairs = Pairs::read(std::str::from_utf8(response).ok()?)?;
    let name = claimed(pairs.user?.as_bytes())?;
    Some(claim(TokenDialect::XOAuth2, Some(name), pairs.auth?))
}

/// Reads the token in a value like that of the `Authorization` header of HTTP (RFC 6750 §2.1). The
/// case of the scheme does not matter (RFC 7628 §4).
fn claim(dialect: TokenDialect, name: Option<ClaimedName>, authorization: &str) -> Step {
    let token = authorization
        .split_once(' ')
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Bearer"))
        .map(|(_, token)| token.trim_matches(' ').as_bytes())
        .filter(|token| !token.is_empty() && token.iter().all(u8::is_ascii_graphic));
    match token {
        Some(token) => {
            Step::Token(TokenClaim { name, token: Secret::new(token.to_vec()), dialect })
        }
        None => Step::NoToken(dialect),
    }
}

/// The pairs that are used; others are ignored (RFC 7628 §3.1).
#[derive(Default)]
struct Pairs<'a> {
    user: Option<&'a str>,
    auth: Option<&'a str>,
}

impl<'a> Pairs<'a> {
    fn read(message: &'a str) -> Option<Self> {
        let mut pairs = Self::default();
        for pair in message.strip_suffix("\x01\x01")?.split('\x01') {
            let (key, value) = pair.split_once('=')?;
            if key.is_empty() || !key.bytes().all(|octet| octet.is_ascii_alphabetic()) {
                return None;
            }
            let field = match key {
                "user" => &mut pairs.user,
                "auth" => &mut pairs.auth,
                _ => continue,
            };
            // Another program might use the other one of two values.
            if field.replace(value).is_some() {
                return None;
            }
        }
        Some(pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::sasl::{challenge_line, decode_initial};

    fn shown(step: Step) -> String {
        if let Step::Token(TokenClaim { name, token, .. }) = step {
            let name = name.map_or_else(|| "-".to_owned(), |name| name.to_string());
            return format!("{name} {}", String::from_utf8_lossy(token.expose()));
        }
        if let Step::Refused(error) = step { format!("{error:?}") } else { format!("{step:?}") }
    }

    /// The first two rows are from RFC 7628 §4.1, the third from §4.3, the fourth from §4.4.
    #[test]
    fn oauthbearer_responses() {
        for (response, step) in [
            (
                "n,a=user@example.com,\x01host=server.example.com\x01port=143\x01\
                 auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01",
                "user@example.com vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==",
            ),
            (
                "n,a=user@example.com,\x01host=server.example.com\x01port=587\x01\
                 auth=bEaReR vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01",
                "user@example.com vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==",
            ),
            (
                "n,a=user@example.com,\x01host=server.example.com\x01port=143\x01auth=\x01\x01",
                "NoToken(OAuthBearer)",
            ),
            ("n,user=someuser@example.com,\x01auth=Bearer vF9d\x01\x01", "Malformed"),
            ("n,,\x01auth=Bearer t\x01\x01", "- t"),
            ("y,,\x01auth=Bearer  t \x01\x01", "- t"),
            ("n,a=a=2Cb,\x01user=other\x01auth=Bearer t\x01\x01", "a,b t"),
            ("n,,\x01auth=Bearer \x01\x01", "NoToken(OAuthBearer)"),
            ("n,,\x01auth=Bearer\x01\x01", "NoToken(OAuthBearer)"),
            ("n,,\x01auth=MAC t\x01\x01", "NoToken(OAuthBearer)"),
            ("n,,\x01auth=Bearer a b\x01\x01", "NoToken(OAuthBearer)"),
            ("n,,\x01auth=Bearer a\r\nb\x01\x01", "NoToken(OAuthBearer)"),
            ("p=tls-exporter,,\x01auth=Bearer t\x01\x01", "Unbound"),
            ("", "Malformed"),
            ("\x01", "Malformed"),
            ("n,,\x01\x01", "Malformed"),
            ("n,,\x01host=a\x01\x01", "Malformed"),
            ("n,,\x01auth=Bearer t\x01", "Malformed"),
            ("n,,\x01auth=Bearer t", "Malformed"),
            ("n,,auth=Bearer t\x01\x01", "Malformed"),
            ("n,,\x01auth=Bearer t\x01auth=Bearer u\x01\x01", "Malformed"),
            ("n,,\x01=x\x01auth=Bearer t\x01\x01", "Malformed"),
            ("n,,\x01x\x01auth=Bearer t\x01\x01", "Malformed"),
            ("n,a=,\x01auth=Bearer t\x01\x01", "Malformed"),
            ("n,a=x=41,\x01auth=Bearer t\x01\x01", "Malformed"),
            ("n,a=tim\r\nDELE 1,\x01auth=Bearer t\x01\x01", "Malformed"),
            ("n,a=tim\0,\x01auth=Bearer t\x01\x01", "Malformed"),
        ] {
            assert_eq!(shown(read_oauthbearer(response.as_bytes())), step, "{response:?}");
        }
        assert_eq!(shown(read_oauthbearer(b"n,a=\xff,\x01auth=Bearer t\x01\x01")), "Malformed");
    }

    /// The first row is the example of developers.google.com, Gmail API, IMAP, POP, and SMTP.
    #[test]
    fn xoauth2_responses() {
        let google = decode_initial(
            b"dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbG\
              NrQmhkSFJoZG1semRHRXVZMjl0Q2cBAQ==",
        );
        assert_eq!(
            shown(read_xoauth2(google.unwrap().expose())),
            "someuser@example.com ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg"
        );
        for (response, step) in [
            ("user=tim\x01auth=bearer t\x01\x01", "tim t"),
            ("user=tim\x01auth=\x01\x01", "NoToken(XOAuth2)"),
            ("user=\x01auth=Bearer t\x01\x01", "Malformed"),
            ("auth=Bearer t\x01\x01", "Malformed"),
            ("user=tim\x01\x01", "Malformed"),
            ("user=tim\x01auth=Bearer t\x01", "Malformed"),
            ("user=tim\x01user=tom\x01auth=Bearer t\x01\x01", "Malformed"),
            ("user=tim\r\nDELE 1\x01auth=Bearer t\x01\x01", "Malformed"),
            ("user=tim\0\x01auth=Bearer t\x01\x01", "Malformed"),
            ("n,a=tim,\x01auth=Bearer t\x01\x01", "Malformed"),
            ("", "Malformed"),
        ] {
            assert_eq!(shown(read_xoauth2(response.as_bytes())), step, "{response:?}");
        }
    }

    /// RFC 7628 §4.3, octet by octet.
    #[test]
    fn a_refusal_says_which_token_is_wanted() {
        let guidance = TokenGuidance {
            scope: Some("example_scope".to_owned()),
            openid_configuration: Some(
                "https://example.com/.well-known/openid-configuration".to_owned(),
            ),
        };
        assert_eq!(
            challenge_line(&TokenDialect::OAuthBearer.refusal(&guidance)),
            "+ eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIiwic2NvcGUiOiJleGFtcGxlX3Njb3BlIiwib3BlbmlkLWNvbmZ\
             pZ3VyYXRpb24iOiJodHRwczovL2V4YW1wbGUuY29tLy53ZWxsLWtub3duL29wZW5pZC1jb25maWd1cmF0aW9\
             uIn0="
        );
        assert_eq!(
            TokenDialect::XOAuth2.refusal(&guidance),
            br#"{"status":"400","schemes":"Bearer","scope":"example_scope"}"#
        );
        let odd = TokenGuidance { scope: Some("a\"b".to_owned()), openid_configuration: None };
        assert_eq!(
            TokenDialect::OAuthBearer.refusal(&odd),
            br#"{"status":"invalid_token","scope":"a\"b"}"#
        );
        assert_eq!(
            TokenDialect::XOAuth2.refusal(&TokenGuidance::default()),
            br#"{"status":"400","schemes":"Bearer"}"#
        );
    }
}
