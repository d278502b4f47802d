//! SASL as POP3 uses it: mechanisms, challenges and responses (RFC 5034 §4), without I/O.
//!
//! An [`Exchange`] takes responses and yields [`Step`]s. It does not verify passwords or tokens.

mod channel;
mod gs2;
mod keys;
mod mechanism;
mod prepare;
mod scram;
mod simple;
mod token;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use self::scram::Variant;
use super::{ClaimedName, Secret};

pub use channel::Channel;
pub use keys::{ScramHash, ScramKeys};
pub use mechanism::Mechanism;
pub use prepare::saslprep;
pub use scram::{Awaiting, Nonce, ScramExchange, ScramProof, ServerFinal};
pub use token::{TokenClaim, TokenDialect, TokenGuidance};

/// An authentication exchange that waits for a response of the client.
#[derive(Debug)]
pub struct Exchange(State);

#[derive(Debug)]
enum State {
    External,
    Scram(scram::First),
    OAuthBearer,
    XOAuth2,
    Plain,
    LoginName,
    LoginPassword(ClaimedName),
}

/// The result of a response.
#[derive(Debug)]
pub enum Step {
    /// The exchange goes on with another challenge.
    Challenge(Exchange),
    /// The client has sent a name and a password; verify them.
    Verify(ClaimedName, Secret<Vec<u8>>),
    /// The client has sent a name; the exchange goes on as a [`ScramExchange`] with the keys of
    /// that user.
    NeedKeys(Awaiting),
    /// The client has sent a token; verify it.
    Token(TokenClaim),
    /// The client has sent no usable token; tell it which one it needs.
    NoToken(TokenDialect),
    /// The certificate of the client names the user. The client may have asked for this name.
    External(Option<ClaimedName>),
    /// The exchange has failed.
    Refused(ResponseError),
}

/// What is wrong with a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseError {
    /// It is not base64.
    NotBase64,
    /// It does not conform to the mechanism.
    Malformed,
    /// The client wants to act for another user, which is not allowed (RFC 4616 §2).
    ForAnother,
    /// The client can bind to the channel, but believes that the server cannot: an attacker has
    /// changed the reply to CAPA (RFC 5802 §6).
    Downgraded,
    /// The client is bound to another channel, or to none although it must be (RFC 5802 §6).
    Unbound,
}

impl Mechanism {
    /// Begins an exchange on a connection with these channel bindings.
    pub fn begin(self, channel: Channel) -> Exchange {
        let scram = |hash, variant| State::Scram(scram::First { hash, variant, channel });
        Exchange(match self {
            Self::External => State::External,
            Self::ScramSha256Plus => scram(ScramHash::Sha256, Variant::Plus),
            Self::ScramSha256 => scram(ScramHash::Sha256, Variant::Bare),
            Self::ScramSha1Plus => scram(ScramHash::Sha1, Variant::Plus),
            Self::ScramSha1 => scram(ScramHash::Sha1, Variant::Bare),
            Self::OAuthBearer => State::OAuthBearer,
            Self::XOAuth2 => State::XOAuth2,
            Self::Plain => State::Plain,
            Self::Login => State::LoginName,
        })
    }
}

impl Exchange {
    /// The challenge to send before the next response, not yet in base64. It is empty at the start
    /// of a mechanism in which the client speaks first (RFC 5034 §4).
    pub fn challenge(&self) -> &[u8] {
        match &self.0 {
            State::External
            | State::Scram(_)
            | State::OAuthBearer
            | State::XOAuth2
            | State::Plain => b"",
            State::LoginName => simple::NAME_CHALLENGE,
            State::LoginPassword(_) => simple::PASSWORD_CHALLENGE,
        }
    }

    /// Takes the next response, decoded.
    pub fn step(self, response: Secret<Vec<u8>>) -> Step {
        match self.0 {
            State::External => simple::read_external(response.expose()),
            State::Scram(waiting) => waiting.step(response.expose()),
            State::OAuthBearer => token::read_oauthbearer(response.expose()),
            State::XOAuth2 => token::read_xoauth2(response.expose()),
            State::Plain => simple::read_plain(response.expose()),
            State::LoginName => {
                let name = ClaimedName::new(response.expose().as_slice());
                Step::Challenge(Self(State::LoginPassword(name)))
            }
            State::LoginPassword(name) => Step::Verify(name, response),
        }
    }
}

/// Accepts a name of UTF-8 with at least one character and without controls such as NUL or CR.
fn claimed(name: &[u8]) -> Option<ClaimedName> {
    let text = std::str::from_utf8(name).ok()?;
    let sound = !text.is_empty() && !text.contains(char::is_control);
    sound.then(|| ClaimedName::new(name))
}

/// Decodes a response as strictly as RFC 5034 §4 requires: no octet outside the alphabet, and full
/// padding at the end only.
///
/// # Errors
/// [`ResponseError::NotBase64`].
pub fn decode(response: &[u8]) -> Result<Secret<Vec<u8>>, ResponseError> {
    STANDARD.decode(response).map(Secret::new).map_err(|_| ResponseError::NotBase64)
}

/// Decodes the second argument of AUTH, in which `=` is an empty response (RFC 5034 §4).
///
/// # Errors
/// [`ResponseError::NotBase64`].
pub fn decode_initial(response: &[u8]) -> Result<Secret<Vec<u8>>, ResponseError> {
    if response == b"=" { Ok(Secret::new(Vec::new())) } else { decode(response) }
}

/// The line for a challenge, without its end: `+`, a blank, base64 (RFC 5034 §4).
pub fn challenge_line(challenge: &[u8]) -> String {
    format!("+ {}", STANDARD.encode(challenge))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn base64_is_decoded_strictly() {
        assert_eq!(decode(b"AHRpbQB0YW5zdGFhZg==").unwrap().expose(), b"\0tim\0tanstaaf");
        assert_eq!(decode(b"").unwrap().expose(), b"");
        for bad in [&b"=AAA"[..], b"AAA=BBB", b"AA", b"AAA", b"A A=", b"AA==\r", b"*", b"AAB=C"] {
            assert_eq!(
                decode(bad).unwrap_err(),
                ResponseError::NotBase64,
                "{}",
                bad.escape_ascii()
            );
        }
        assert_eq!(decode_initial(b"=").unwrap().expose(), b"");
        assert_eq!(decode(b"=").unwrap_err(), ResponseError::NotBase64);
    }

    #[test]
    fn an_empty_challenge_is_a_plus_and_a_blank() {
        assert_eq!(challenge_line(b""), "+ ");
        assert_eq!(challenge_line(simple::NAME_CHALLENGE), "+ VXNlcm5hbWU6");
    }

    proptest! {
        /// Any exchange ends after a few steps, and its challenges are printable.
        #[test]
        fn an_exchange_ends_whatever_the_responses(
            mechanism in prop::sample::select(&Mechanism::ALL[..]),
            binds in any::<bool>(),
            responses in prop::collection::vec(response(), 2),
        ) {
            let exporter = binds.then_some([9; 32]);
            let mut exchange = mechanism.begin(Channel { exporter, end_point: None });
            let mut responses = responses.into_iter().map(Secret::new);
            while let Some(response) = responses.next() {
                prop_assert!(is_printable(exchange.challenge()));
                exchange = match exchange.step(response) {
                    Step::Challenge(next) => next,
                    Step::NeedKeys(awaiting) => {
                        let keys = ScramKeys::decoy(&[7; 32], 4096, awaiting.hash());
                        let exchange = awaiting.supply(&keys, &Nonce::new([1; 18]));
                        prop_assert!(is_printable(exchange.challenge()));
                        let response = responses.next().unwrap_or_else(|| Secret::new(Vec::new()));
                        let proved = exchange.step(&response).map(|proof| proof.verify(&keys));
                        prop_assert!(matches!(proved, Err(_) | Ok(None)));
                        return Ok(());
                    }
                    Step::Token(claim) => {
                        prop_assert!(claim.token.expose().iter().all(u8::is_ascii_graphic));
                        return Ok(());
                    }
                    Step::Verify(..) | Step::NoToken(_) | Step::External(_) | Step::Refused(_) => {
                        return Ok(());
                    }
                };
            }
            prop_assert!(false, "two responses were not enough");
        }
    }

    fn is_printable(challenge: &[u8]) -> bool {
        challenge.iter().all(|octet| matches!(octet, b' '..=b'~'))
    }

    /// Any octets, or pieces of real messages in any order.
    fn response() -> impl Strategy<Value = Vec<u8>> {
        let pieces = [
            "n,,",
            "y,,",
            "p=tls-exporter,,",
            "n,a=tim,",
            "n=tim",
            "r=x",
            "r=xAQEBAQEBAQEBAQEBAQEBAQEB",
            "c=biws",
            "p=AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            "m=1",
            "=2C",
            ",",
            "\x01",
            "\0",
            "user=tim",
            "auth=Bearer t",
            "\u{f6}",
        ];
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..60),
            prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..8)
                .prop_map(|pieces| pieces.concat().into_bytes()),
        ]
    }
}
