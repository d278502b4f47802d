//! PLAIN: everything in one response (RFC 4616 §2).

use super::{ClaimedName, ResponseError, Secret, Step};

/// Reads the response.
///
/// ```abnf
/// message = [authzid] UTF8NUL authcid UTF8NUL passwd
/// ```
pub(super) fn read(response: &[u8]) -> Step {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses() {
        for good in [&b"\0tim\0tanstaaftanstaaf"[..], b"tim\0tim\0tanstaaftanstaaf"] {
            let Step::Verify(name, password) = read(good) else {
                panic!("{} was refused", good.escape_ascii());
            };
            assert_eq!(name.to_string(), "tim");
            assert_eq!(password.expose(), b"tanstaaftanstaaf");
        }
        for malformed in [&b""[..], b"tim", b"\0tim", b"\0\0secret", b"\0tim\0", b"\0a\0b\0c"] {
            let step = read(malformed);
            assert!(
                matches!(step, Step::Refused(ResponseError::Malformed)),
                "{}",
                malformed.escape_ascii()
            );
        }
    }

    /// RFC 4616 §4: Kurt asks to act as Ursel.
    #[test]
    fn nobody_acts_for_another() {
        assert!(matches!(
            read(b"Ursel\0Kurt\0xipj3plmq"),
            Step::Refused(ResponseError::ForAnother)
        ));
    }
}
