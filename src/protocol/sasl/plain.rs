//! PLAIN: everything in one response (RFC 4616 §2).

use super::{ClaimedName, Secret};

/// Reads the response.
///
/// ```abnf
/// message = [authzid] UTF8NUL authcid UTF8NUL passwd
/// ```
///
/// `None` when it has another form, when name or password is missing, or when the client asks to
/// act for somebody else.
pub(super) fn read(response: &[u8]) -> Option<(ClaimedName, Secret<Vec<u8>>)> {
    let mut fields = response.split(|octet| *octet == 0);
    let (acts_for, name, password) = (fields.next()?, fields.next()?, fields.next()?);
    if fields.next().is_some() || name.is_empty() || password.is_empty() {
        return None;
    }
    if !acts_for.is_empty() && acts_for != name {
        return None;
    }
    Some((ClaimedName::new(name), Secret::new(password.to_vec())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(response: &[u8]) -> Option<(String, Vec<u8>)> {
        read(response).map(|(name, password)| (name.to_string(), password.expose().clone()))
    }

    #[test]
    fn responses() {
        let tim = || Some(("tim".to_owned(), b"tanstaaftanstaaf".to_vec()));
        assert_eq!(shown(b"\0tim\0tanstaaftanstaaf"), tim());
        assert_eq!(shown(b"tim\0tim\0tanstaaftanstaaf"), tim());
        // RFC 4616 §4: Kurt may not act for Ursel here.
        assert_eq!(shown(b"Ursel\0Kurt\0xipj3plmq"), None);
        for malformed in [&b""[..], b"tim", b"\0tim", b"\0\0secret", b"\0tim\0", b"\0a\0b\0c"] {
            assert_eq!(shown(malformed), None, "{}", malformed.escape_ascii());
        }
    }
}
