//! Single values about stores that are elsewhere: addresses, questions with placeholders, programs.
//!
//! As in `value`, each function takes the text and gives it back, or says what is wrong with it and
//! what to write.

use crate::protocol::{Piece, Placeholder, Template};

/// Where a database is.
///
/// - It carries no password: a configuration may be read by many.
/// - It names the user.
pub(super) fn sql_url(text: &str) -> Result<String, String> {
    const EXAMPLE: &str = "\"postgres://restante@localhost/mail\", \"mysql://…\" or \
                           \"sqlite:///var/lib/mail/users.sqlite\"";
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(format!(
            "{text:?} is not the address of a database, write one such as {EXAMPLE}"
        ));
    };
    if !["postgres", "postgresql", "mysql", "mariadb", "sqlite"].contains(&scheme) {
        return Err(format!(
            "{scheme:?} is not a database that is known, write one such as {EXAMPLE}"
        ));
    }
    if rest.is_empty() {
        return Err(format!("names no database, write one such as {EXAMPLE}"));
    }
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let has_password = authority.rsplit_once('@').is_some_and(|(login, _)| login.contains(':'));
    if has_password || rest.contains("password=") {
        return Err("has a password in it, write that to a file and name it with password-file, \
                    for a configuration may be read by many"
            .into());
    }
    // Drivers have ideas of their own: whoever runs the program, or root.
    let has_user = authority.contains('@') || (is_postgres(scheme) && rest.contains("user="));
    if scheme != "sqlite" && !has_user {
        return Err(format!(
            "names no user of the database, write one such as \"{scheme}://restante@localhost/mail\""
        ));
    }
    Ok(text.to_owned())
}

fn is_postgres(scheme: &str) -> bool {
    matches!(scheme, "postgres" | "postgresql")
}

/// A query whose placeholders become bound parameters.
///
/// - A placeholder stands alone, not in quotes: what it stands for is never part of the text.
pub(super) fn query(text: &str) -> Result<Template, String> {
    let query = question(text)?;
    let mut quote = None;
    for piece in query.pieces() {
        match piece {
            Piece::Text(text) => quote = text.chars().fold(quote, quote_after),
            Piece::Placeholder(_) if quote.is_some() => {
                return Err("has a placeholder within quotes, take the quotes away: it is bound \
                            as a parameter, whatever is in it"
                    .into());
            }
            Piece::Placeholder(_) => {}
        }
    }
    if text.contains(';') {
        return Err("has a semicolon, write a single query".into());
    }
    Ok(query)
}

/// The quote that is open after a character.
fn quote_after(open: Option<char>, c: char) -> Option<char> {
    match open {
        None if matches!(c, '\'' | '"' | '`') => Some(c),
        Some(quote) if c == quote => None,
        other => other,
    }
}

/// Where a directory is.
pub(super) fn ldap_url(text: &str) -> Result<String, String> {
    let known = ["ldap://", "ldaps://", "ldapi://"];
    let named = known.iter().find_map(|scheme| text.strip_prefix(scheme));
    match named.map(|rest| rest.strip_suffix('/').unwrap_or(rest)) {
        Some(host) if !host.is_empty() && !host.contains(['@', '?', ' ', '/']) => {
            Ok(text.to_owned())
        }
        _ => Err(format!(
            "{text:?} is not the address of a directory, write one such as \
             \"ldaps://ldap.example.org\", \"ldap://localhost:389\" or \"ldapi://%2frun%2fldapi\""
        )),
    }
}

/// A search filter.
pub(super) fn ldap_filter(text: &str) -> Result<Template, String> {
    let filter = question(text)?;
    if text.starts_with('(') && text.ends_with(')') {
        Ok(filter)
    } else {
        Err("has no brackets around it, write a filter such as \"(mail={user})\"".into())
    }
}

/// The name of an entry.
pub(super) fn ldap_dn(text: &str) -> Result<Template, String> {
    let name = question(text)?;
    if text.contains('=') {
        Ok(name)
    } else {
        Err("is not the name of an entry, write one such as \
             \"uid={local},ou=people,dc=example,dc=org\""
            .into())
    }
}

/// The name of an attribute of a directory.
pub(super) fn attribute(text: &str) -> Result<String, String> {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b';' | b'.');
    if !text.is_empty() && text.bytes().all(good) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{text:?} is not the name of an attribute, write one such as \"homeDirectory\""
        ))
    }
}

/// The name of a file in `/etc/pam.d`.
pub(super) fn pam_service(text: &str) -> Result<String, String> {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if !text.is_empty() && !text.starts_with('.') && text.bytes().all(good) {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is not the name of a file in /etc/pam.d, write \"restante\""))
    }
}

/// A program and its arguments.
pub(super) fn command(words: Vec<String>) -> Result<Vec<String>, String> {
    match words.first() {
        Some(program) if program.starts_with('/') => {}
        Some(program) => {
            return Err(format!("{program:?} is not a whole path, begin the program with \"/\""));
        }
        None => return Err("is empty, write the program and its arguments".into()),
    }
    if words.iter().any(|word| word.contains('\0')) {
        return Err("has a NUL character, which no argument can hold".into());
    }
    Ok(words)
}

/// An address on the web that passwords and tokens may be sent to.
pub(super) fn web_address(text: &str) -> Result<String, String> {
    if let Some(rest) = text.strip_prefix("https://") {
        return match rest.split('/').next() {
            Some(host) if !host.is_empty() && !host.contains('@') => Ok(text.to_owned()),
            _ => Err(format!("{text:?} names no host, write \"https://login.example.org\"")),
        };
    }
    let host = text.strip_prefix("http://").and_then(|rest| rest.split('/').next());
    match host.map(without_port) {
        Some("localhost" | "127.0.0.1" | "[::1]") => Ok(text.to_owned()),
        Some(_) => Err(format!(
            "{text:?} would send tokens in the clear, write \"https://…\" (\"http://\" is for \
             localhost only)"
        )),
        None => Err(format!("{text:?} is not an address, write \"https://login.example.org\"")),
    }
}

/// The host without its port. The colons of an IPv6 address are followed by a bracket somewhere.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        Some(_) | None => host,
    }
}

/// A question about a user, who is in it by name.
fn question(text: &str) -> Result<Template, String> {
    Template::parse(text, &Placeholder::OF_A_NAME).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases() {
        for good in [
            "postgres://restante@localhost/mail",
            "postgresql://restante@localhost:5433/mail?sslmode=verify-full",
            "postgres:///mail?host=/run/postgresql&user=restante",
            "mysql://restante@db.example.org/mail",
            "mariadb://restante@localhost/mail",
            "sqlite:///var/lib/mail/users.sqlite",
        ] {
            assert_eq!(sql_url(good), Ok(good.to_owned()));
        }
        for (bad, hint) in [
            ("mail", "not the address of a database"),
            ("oracle://localhost/mail", "not a database that is known"),
            ("postgres://", "names no database"),
            ("postgres://localhost/mail", "names no user"),
            ("mysql:///mail?socket=/run/mysqld/mysqld.sock", "mysql://restante@localhost"),
            ("postgres://restante:tanstaaf@localhost/mail", "password-file"),
            ("postgres://localhost/mail?password=tanstaaf", "password-file"),
        ] {
            let error = sql_url(bad).unwrap_err();
            assert!(error.contains(hint) && !error.contains("tanstaaf"), "{bad}: {error}");
        }
    }

    #[test]
    fn queries() {
        for good in [
            "SELECT password FROM users WHERE name = {user}",
            "SELECT password, 'x' AS y FROM users WHERE local = {local} AND domain = {domain}",
        ] {
            assert!(query(good).is_ok(), "{good}");
        }
        for (bad, hint) in [
            ("SELECT password FROM users", "same for all users"),
            ("SELECT password FROM users WHERE domain = {domain}", "same for all users"),
            ("SELECT password FROM users WHERE name = '{user}'", "within quotes"),
            ("SELECT password FROM users WHERE name LIKE '%{user}%'", "within quotes"),
            ("SELECT password FROM users WHERE name = '%u'", "write \"{user}\""),
            ("SELECT password FROM users WHERE name = {name}", "does not stand for"),
            ("SELECT password FROM users WHERE name = {user}; DROP TABLE users", "semicolon"),
        ] {
            let error = query(bad).unwrap_err();
            assert!(error.contains(hint), "{bad}: {error}");
        }
    }

    #[test]
    fn directories() {
        for good in ["ldap://localhost", "ldaps://ldap.example.org:636", "ldapi://%2frun%2fldapi"] {
            assert_eq!(ldap_url(good), Ok(good.to_owned()));
        }
        for bad in [
            "",
            "ldap://",
            "localhost",
            "http://localhost",
            "ldap://a@b",
            "ldap://a?x",
            "ldap://a/dc=b",
        ] {
            assert!(ldap_url(bad).is_err(), "{bad}");
        }
        assert!(ldap_filter("(uid={user})").is_ok());
        assert!(ldap_filter("uid={user}").unwrap_err().contains("brackets"));
        assert!(ldap_filter("(objectClass=*)").unwrap_err().contains("same for all users"));
        assert!(ldap_dn("uid={local},dc=example").is_ok());
        assert!(ldap_dn("{user}").unwrap_err().contains("not the name of an entry"));
        assert!(attribute("homeDirectory").is_ok() && attribute("a b").is_err());
    }

    #[test]
    fn programs_and_services() {
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        assert!(command(words(&["/bin/checkpw", "-a", "x y"])).is_ok());
        for (bad, hint) in
            [(&[][..], "is empty"), (&["checkpw"], "whole path"), (&["/bin/a", "\0"], "NUL")]
        {
            assert!(command(words(bad)).unwrap_err().contains(hint), "{bad:?}");
        }
        assert!(pam_service("restante").is_ok());
        for bad in ["", "../passwd", ".x", "a/b", "a b"] {
            assert!(pam_service(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn web_addresses() {
        for good in [
            "https://login.example.org/realm",
            "http://localhost:3000/",
            "http://127.0.0.1:3000",
            "http://[::1]",
            "http://[::1]/realm",
            "http://[::1]:3000/",
        ] {
            assert_eq!(web_address(good), Ok(good.to_owned()));
        }
        for (bad, hint) in [
            ("http://login.example.org", "in the clear"),
            ("http://127.0.0.1.example.org", "in the clear"),
            ("http://[::2]", "in the clear"),
            ("http://[::1]x", "in the clear"),
            ("http://localhost:x@example.org", "in the clear"),
            ("https://", "names no host"),
            ("https://user@host/", "names no host"),
            ("login.example.org", "not an address"),
        ] {
            let error = web_address(bad).unwrap_err();
            assert!(error.contains(hint), "{bad}: {error}");
        }
    }
}
