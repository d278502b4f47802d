//! A bearer token taken apart (RFC 6750, 7515, 7519), before anything in it is believed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::claims::Claims;
use super::keys::Signer;

/// A signed token whose signature has not been verified.
pub(super) struct Jwt<'a> {
    header: Header,
    claims: Claims,
    signed: &'a str,
    signature: &'a str,
}

/// What says how a token is signed; a member that comes twice is a fault.
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
///
/// # Errors
/// Why it is nobody's token.
pub(super) fn text(octets: &[u8]) -> Result<&str, &'static str> {
    if octets.len() > MAX_OCTETS {
        return Err("the token is longer than 16 KiB");
    }
    let strange = "the token has octets that no bearer token has";
    let text = std::str::from_utf8(octets).map_err(|_| strange)?;
    let unpadded = text.trim_end_matches('=');
    let good = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b);
    // RFC 6750 §2.1
    if unpadded.is_empty() || !unpadded.bytes().all(good) { Err(strange) } else { Ok(text) }
}

impl<'a> Jwt<'a> {
    /// Takes a token apart; `None` when it is of another kind.
    pub(super) fn parse(token: &'a str) -> Option<Self> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        Some(Self { header: part(header)?, claims: Claims::new(part(claims)?), signed, signature })
    }

    /// What it says, if it is to be believed.
    pub(super) fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Who is to have signed it.
    ///
    /// # Errors
    /// What is wrong with the way in which it is signed.
    pub(super) fn signer(&self) -> Result<Signer, String> {
        // RFC 7515 §4.1.11: what must be understood and is not.
        if self.header.crit.is_some() {
            return Err("the token has critical extensions, and none are known here".into());
        }
        // DEVIATION: RFC 9068 §4 wants at+jwt; common providers write JWT, or nothing.
        let typ = self.header.typ.as_deref().unwrap_or("at+jwt").to_ascii_lowercase();
        if !["at+jwt", "application/at+jwt", "jwt"].contains(&typ.as_str()) {
            let typ: String = typ.chars().take(MOST_SHOWN).collect();
            return Err(format!("the token is no access token but {}", typ.escape_debug()));
        }
        Signer::new(&self.header.alg, self.header.kid.clone())
    }

    /// What the signature is of.
    pub(super) fn signed(&self) -> &[u8] {
        self.signed.as_bytes()
    }

    /// The signature, in base64url.
    pub(super) fn signature(&self) -> &str {
        self.signature
    }
}

fn part<T: DeserializeOwned>(encoded: &str) -> Option<T> {
    let json = URL_SAFE_NO_PAD.decode(encoded).ok()?;
    serde_json::from_slice(&json).ok()
}

/// The longest token that is looked at; those of real providers have 1 to 4 KiB.
const MAX_OCTETS: usize = 16 * 1024;

/// So much of what a client has written into a token is shown.
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
