//! The mechanisms without cryptography: PLAIN, LOGIN and EXTERNAL.

use super::{ClaimedName, ResponseError, Secret, Step, claimed};

/// Reads the response of PLAIN (RFC 4616 §2).
///
/// ```abnf
/// message = [authzid] UTF8NUL authcid UTF8NUL passwd
/// ```
pub(super) fn read_plain(response: &[u8]) -> Step {
    let mut fields = response.split(|octet| *octet == 0);
    let (Some(acts_as), Some(name), Some(password), None) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Step::Refused(ResponseError::Malformed);
    };
    if name.is_empty() || password.is_empty() {
        Step::Refused(ResponseError::Malformed)
    } else if !acts_as.is_empty() && !acts_as.eq_ignore_ascii_case(name) {
        Step::Refused(ResponseError::ForAnother)
    } else {
        Step::Verify(ClaimedName::new(name), Secret::new(password.to_vec()))
    }
}

/// Reads the response of EXTERNAL: empty, or the name that the client wants to have
/// (RFC 4422 Appendix A).
pub(super) fn read_external(response: &[u8]) -> Step {
    match (response.is_empty(), claimed(response)) {
        (true, _) => Step::External(None),
        (false, Some(name)) => Step::External(Some(name)),
        (false, None) => Step::Refused(ResponseError::Malformed),
    }
}

// draft-murchison-sasl-login-00 §2 calls the challenges of LOGIN free text, but some clients wait
// for exactly these words.

/// The challenge of LOGIN for the name.
pub(super) const NAME_CHALLENGE: &[u8] = b"Username:";

/// The challenge of LOGIN for the password.
pub(super) const PASSWORD_CHALLENGE: &[u8] = b"Password:";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::sasl::{Channel, Mechanism};

    #[test]
    fn plain_responses() {
        for good in [&b"\0tim\0tanstaaftanstaaf"[..], b"tim\0tim\0tanstaaftanstaaf"] {
            let Step::Verify(name, password) = read_plain(good) else {
                panic!("{} was refused", good.escape_ascii());
            };
            assert_eq!(name.to_string(), "tim");
            assert_eq!(password.expose(), b"tanstaaftanstaaf");
        }
        for malformed in [&b""[..], b"tim", b"\0tim", b"\0\0secret", b"\0tim\0", b"\0a\0b\0c"] {
            let step = read_plain(malformed);
            let shown = malformed.escape_ascii();
            assert!(matches!(step, Step::Refused(ResponseError::Malformed)), "{shown}");
        }
    }

    /// RFC 4616 §4: Kurt asks to act as Ursel.
    #[test]
    fn a_user_may_not_act_for_another() {
        let step = read_plain(b"Ursel\0Kurt\0xipj3plmq");
        assert!(matches!(step, Step::Refused(ResponseError::ForAnother)));
    }

    /// RFC 4422 Appendix A.3 has an empty response and `fred@example.com`.
    #[test]
    fn external_responses() {
        assert!(matches!(read_external(b""), Step::External(None)));
        let Step::External(Some(name)) = read_external(b"fred@example.com") else {
            panic!("the name was refused");
        };
        assert_eq!(name.as_bytes(), b"fred@example.com");
        for malformed in [&b"\0"[..], b"fred\0", b"fred\r\nDELE 1", b"\xff", b"fred\x1b[2J"] {
            let step = read_external(malformed);
            assert!(matches!(step, Step::Refused(ResponseError::Malformed)), "{step:?}");
        }
    }

    #[test]
    fn login_asks_for_the_name_and_then_for_the_password() {
        let exchange = Mechanism::Login.begin(Channel::default());
        assert_eq!(exchange.challenge(), b"Username:");
        let Step::Challenge(exchange) = exchange.step(Secret::new(b"mrose".to_vec())) else {
            panic!("no challenge after the name");
        };
        assert_eq!(exchange.challenge(), b"Password:");
        let Step::Verify(name, password) = exchange.step(Secret::new(b"tanstaaf".to_vec())) else {
            panic!("no verification after the password");
        };
        assert_eq!(name.to_string(), "mrose");
        assert_eq!(password.expose(), b"tanstaaf");
    }
}
