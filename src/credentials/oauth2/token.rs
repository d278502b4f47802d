//! Parsing of bearer tokens (RFC 6750, 7515, 7519). Nothing in a token is verified here.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::claims::Claims;
use super::error::TokenError;
use super::peer_text::PeerText;
use super::signer::Signer;

/// A signed token whose signature has not been verified.
pub(super) struct Jwt<'a> {
    header: Header,
    /// Not verified either.
    pub(super) claims: Claims,
    /// The part that is signed.
    pub(super) signed: &'a str,
    /// In base64url.
    pub(super) signature: &'a str,
}

/// The header of a token. A member that appears twice makes it invalid.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<Value>,
}

/// The text of a token.
///
/// ```abnf
/// b64token = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="
/// ```
pub(super) fn text(octets: &[u8]) -> Result<&str, TokenError> {
    if octets.len() > MAX_OCTETS {
        return Err(TokenError::TooLong);
    }
    let text = std::str::from_utf8(octets).map_err(|_| TokenError::NotBearer)?;
    let unpadded = text.trim_end_matches('=');
    let good = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b);
    // RFC 6750 §2.1
    match !unpadded.is_empty() && unpadded.bytes().all(good) {
        true => Ok(text),
        false => Err(TokenError::NotBearer),
    }
}

impl<'a> Jwt<'a> {
    /// Parses a token; `None` if it is of another kind.
    pub(super) fn parse(token: &'a str) -> Option<Self> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        Some(Self { header: part(header)?, claims: Claims::new(part(claims)?), signed, signature })
    }

    /// The algorithm and the key with which it claims to be signed.
    pub(super) fn signer(&self) -> Result<Signer, TokenError> {
        // RFC 7515 §4.1.11: the token needs extensions, and none is implemented here.
        if self.header.crit.is_some() {
            return Err(TokenError::Critical);
        }
        // DEVIATION: RFC 9068 §4 wants at+jwt; common providers write JWT, or leave it out.
        let typ = self.header.typ.as_deref().unwrap_or("at+jwt").to_ascii_lowercase();
        if !["at+jwt", "application/at+jwt", "jwt"].contains(&typ.as_str()) {
            return Err(TokenError::NoAccessToken(PeerText::new(&typ, MOST_SHOWN)));
        }
        Signer::new(&self.header.alg, self.header.kid.clone())
    }
}

fn part<T: DeserializeOwned>(encoded: &str) -> Option<T> {
    let json = URL_SAFE_NO_PAD.decode(encoded).ok()?;
    serde_json::from_slice(&json).ok()
}

/// The longest token that is read. Those of real providers have 1 to 4 KiB.
const MAX_OCTETS: usize = 16 * 1024;

/// How much of a `typ` is shown. Any client can choose one.
const MOST_SHOWN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_token() {
        let longest = "x".repeat(MAX_OCTETS);
        for good in ["x", "mF_9.B5f-4.1JqM", "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==", &longest]
        {
            assert_eq!(text(good.as_bytes()), Ok(good));
        }
        let long = longest + "x";
        for bad in ["", "==", "a b", "a=b", "a\r\nb", "a\0", "jörg", "\"", &long] {
            assert!(text(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(text(b"\xff").is_err());
    }

    #[test]
    fn tokens_of_another_kind() {
        let good = format!("{}.{}.c2ln", encoded(r#"{"alg":"RS256"}"#), encoded("{}"));
        assert!(Jwt::parse(&good).is_some());
        for (header, claims) in [
            ("", "{}"),
            ("[]", "{}"),
            (r#"{"alg":1}"#, "{}"),
            (r#"{"alg":"RS256","alg":"none"}"#, "{}"),
            (r#"{"alg":"RS256"}"#, "[]"),
            (r#"{"alg":"RS256"}"#, "{"),
        ] {
            let token = format!("{}.{}.c2ln", encoded(header), encoded(claims));
            assert!(Jwt::parse(&token).is_none(), "{header} {claims}");
        }
        for opaque in ["opaque", "a.b", "a.b.c", "..", "a.b.c.d.e", &format!("{good}.{good}")] {
            assert!(Jwt::parse(opaque).is_none(), "{opaque}");
        }
    }

    fn encoded(text: &str) -> String {
        URL_SAFE_NO_PAD.encode(text)
    }
}
