//! Questions with `{user}`, `{local}` and `{domain}` in them, and the one place where a user's name
//! is put in.

use ldap3::{dn_escape, ldap_escape, parse_filter};

use crate::protocol::Username;

/// A filter or the name of an entry, in which parts of a user's name are to be put.
///
/// - Whatever is put in is escaped, and not searched for placeholders again.
#[derive(Debug)]
pub(super) struct Template {
    pieces: Vec<Piece>,
    within: Within,
}

/// What a template is of, and so how values are escaped in it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Within {
    /// A search filter (RFC 4515 §3).
    Filter,
    /// The name of an entry (RFC 4514 §2.4).
    Name,
}

#[derive(Debug)]
enum Piece {
    Text(String),
    User,
    Local,
    Domain,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// What is wrong with it and what to write.
    pub(super) fn new(text: &str, within: Within) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            pieces.push(Piece::Text(before.to_owned()));
            let (placeholder, after) = after.split_once('}').unwrap_or((after, ""));
            pieces.push(match placeholder {
                "user" => Piece::User,
                "local" => Piece::Local,
                "domain" => Piece::Domain,
                _ => {
                    return Err(format!(
                        "{text:?} has a brace that stands for nothing; write {{user}}, {{local}} \
                         or {{domain}}"
                    ));
                }
            });
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        let template = Self { pieces, within };
        match within {
            Within::Filter if parse_filter(template.put_in("a", "b", "c")).is_err() => {
                Err(format!("{text:?} is not a search filter; write one such as (mail={{user}})"))
            }
            Within::Filter | Within::Name => Ok(template),
        }
    }

    /// The question about this user; none when it asks for a domain and the name has none.
    pub(super) fn fill(&self, name: &Username) -> Option<String> {
        let domain = match name.domain() {
            Some(domain) => domain,
            None if self.pieces.iter().any(|piece| matches!(piece, Piece::Domain)) => return None,
            None => "",
        };
        Some(self.put_in(name.as_str(), name.local(), domain))
    }

    /// Whether names with the same local part ask the same.
    pub(super) fn is_about_local_part(&self) -> bool {
        !self.pieces.iter().any(|piece| matches!(piece, Piece::User | Piece::Domain))
    }

    fn put_in(&self, user: &str, local: &str, domain: &str) -> String {
        let escaped = |value| match self.within {
            Within::Filter => ldap_escape(value),
            Within::Name => dn_escape(value),
        };
        let mut filled = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::User => filled.push_str(&escaped(user)),
                Piece::Local => filled.push_str(&escaped(local)),
                Piece::Domain => filled.push_str(&escaped(domain)),
            }
        }
        filled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str, within: Within, name: &str) -> Option<String> {
        let name = Username::try_from(name).unwrap();
        Template::new(template, within).unwrap().fill(&name)
    }

    #[test]
    fn a_name_in_a_filter_is_never_more_than_a_value() {
        for (name, filter) in [
            ("mrose", "(&(objectClass=person)(uid=mrose))"),
            ("*", r"(&(objectClass=person)(uid=\2a))"),
            ("*)(uid=*", r"(&(objectClass=person)(uid=\2a\29\28uid=\2a))"),
            ("x)(|(uid=*", r"(&(objectClass=person)(uid=x\29\28|\28uid=\2a))"),
            (r"\2a", r"(&(objectClass=person)(uid=\5c2a))"),
            ("a,ou=admins", "(&(objectClass=person)(uid=a,ou=admins))"),
            ("{local}@{domain}", "(&(objectClass=person)(uid={local}@{domain}))"),
            ("jörg", "(&(objectClass=person)(uid=jörg))"),
        ] {
            let template = "(&(objectClass=person)(uid={user}))";
            assert_eq!(filled(template, Within::Filter, name), Some(filter.into()), "{name}");
            assert!(parse_filter(filter).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_name_in_the_name_of_an_entry_is_never_more_than_a_value() {
        for (name, dn) in [
            ("mrose", "uid=mrose,dc=example"),
            ("a,ou=admins", r"uid=a\2cou\3dadmins,dc=example"),
            ("a+cn=b", r"uid=a\2bcn\3db,dc=example"),
            (r#"a"b<c>;d\e"#, r"uid=a\22b\3cc\3e\3bd\5ce,dc=example"),
            ("#a", r"uid=\23a,dc=example"),
            ("*", "uid=*,dc=example"),
        ] {
            let template = "uid={user},dc=example";
            assert_eq!(filled(template, Within::Name, name), Some(dn.into()), "{name}");
        }
    }

    #[test]
    fn parts_of_a_name() {
        let template = "(&(uid={local})(o={domain})(mail={user}))";
        assert_eq!(
            filled(template, Within::Filter, "mrose@example.org"),
            Some("(&(uid=mrose)(o=example.org)(mail=mrose@example.org))".into())
        );
        assert_eq!(filled(template, Within::Filter, "mrose"), None);
        assert_eq!(filled("uid={local}", Within::Name, "mrose"), Some("uid=mrose".into()));
    }

    #[test]
    fn what_is_no_filter_and_what_stands_for_nothing() {
        for bad in ["(uid={user}", "uid={user})(", "(uid={name})", "(uid={user", "({user})"] {
            assert!(Template::new(bad, Within::Filter).is_err(), "{bad}");
        }
        assert!(Template::new("uid={name},dc=example", Within::Name).is_err());
    }
}
