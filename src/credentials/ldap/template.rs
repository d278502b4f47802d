//! Filters and names of entries with the name of a user in them, escaped.

use ldap3::{dn_escape, ldap_escape, parse_filter};

use crate::protocol::{Template, Username};

/// The search filter for a user (RFC 4515 §3); `None` if it needs a domain and the name has none.
pub(super) fn filter(template: &Template, name: &Username) -> Option<String> {
    template.fill(name, |value| ldap_escape(value).into_owned())
}

/// The name of the entry of a user (RFC 4514 §2.4); `None` if it needs a domain and the name has
/// none.
pub(super) fn entry_name(template: &Template, name: &Username) -> Option<String> {
    template.fill(name, |value| dn_escape(value).into_owned())
}

/// Checks that a template makes a search filter, by an example of a name.
pub(super) fn check_filter(template: &Template) -> Result<(), NotAFilter> {
    let example = Username::try_from("a@b").ok().and_then(|name| filter(template, &name));
    match example.is_some_and(|filter| parse_filter(filter).is_ok()) {
        true => Ok(()),
        false => Err(NotAFilter(template.to_string())),
    }
}

/// A template that does not make a search filter.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a search filter; write one such as (mail={{user}})")]
pub(super) struct NotAFilter(String);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Placeholder;

    type Fill = fn(&Template, &Username) -> Option<String>;

    fn filled(text: &str, fill: Fill, name: &str) -> Option<String> {
        fill(&template(text), &Username::try_from(name).unwrap())
    }

    fn template(text: &str) -> Template {
        Template::parse(text, &Placeholder::OF_A_NAME).unwrap()
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
            assert_eq!(filled(template, super::filter, name), Some(filter.into()), "{name}");
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
            assert_eq!(filled(template, entry_name, name), Some(dn.into()), "{name}");
        }
    }

    #[test]
    fn placeholders() {
        let template = "(&(uid={local})(o={domain})(mail={user}))";
        assert_eq!(
            filled(template, super::filter, "mrose@example.org"),
            Some("(&(uid=mrose)(o=example.org)(mail=mrose@example.org))".into())
        );
        assert_eq!(filled(template, super::filter, "mrose"), None);
        assert_eq!(filled("uid={local}", entry_name, "mrose"), Some("uid=mrose".into()));
    }

    #[test]
    fn templates_that_make_no_filter() {
        for bad in ["(uid={user}", "uid={user})("] {
            let why = check_filter(&template(bad)).unwrap_err().to_string();
            assert!(why.contains(bad), "{why}");
        }
        assert_eq!(check_filter(&template("(&(uid={local})(o={domain}))")), Ok(()));
    }
}
