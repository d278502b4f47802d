//! Single values of credential stores: addresses, templates of queries, programs.
//!
//! As in `value`, each function returns the checked value, or what is wrong with it and what to
//! write.

use crate::protocol::{Piece, Placeholder, Template, TemplateError};

/// What is wrong with a value, and what to write.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RemoteError {
    #[error("{0:?} is not the address of a database; write one such as {SQL_EXAMPLES}")]
    SqlUrl(String),
    #[error("{0:?} is not a supported database; write an address such as {SQL_EXAMPLES}")]
    SqlScheme(String),
    #[error("has no database in it; write an address such as {SQL_EXAMPLES}")]
    NoDatabase,
    #[error(
        "has a password in it, and others may be able to read this file; write the password to a \
         file and name that with password-file"
    )]
    PasswordInUrl,
    #[error(
        "has no database user in it; write an address such as \"{0}://restante@localhost/mail\""
    )]
    NoDatabaseUser(String),
    #[error("has a placeholder in quotes; remove the quotes, since it is bound as a parameter")]
    QuotedPlaceholder,
    #[error("has a placeholder; it lists all users, so leave it out")]
    NameInList,
    #[error("has a semicolon; write a single query")]
    Semicolon,
    #[error(transparent)]
    Template(#[from] TemplateError),
    #[error(
        "{0:?} is not the address of an LDAP directory; write one such as \
         \"ldaps://ldap.example.org\", \"ldap://localhost:389\" or \"ldapi://%2frun%2fldapi\""
    )]
    LdapUrl(String),
    #[error("has no brackets around it; write a filter such as \"(mail={{user}})\"")]
    NoBrackets,
    #[error("is not a DN; write one such as \"uid={{local}},ou=people,dc=example,dc=org\"")]
    Dn,
    #[error("{0:?} is not the name of an attribute; write one such as \"homeDirectory\"")]
    Attribute(String),
    #[error("{0:?} is not the name of a file in /etc/pam.d; write one such as \"restante\"")]
    PamService(String),
    #[error("{0:?} is not an absolute path; write the path of the program, beginning with \"/\"")]
    RelativeProgram(String),
    #[error("is empty; write the program and its arguments")]
    NoProgram,
    #[error("has a NUL character, which is not allowed in an argument; remove it")]
    NulInArgument,
    #[error(
        "{0:?} has no host, or a user in it; write an address such as \"https://login.example.org\""
    )]
    NoHost(String),
    #[error(
        "{0:?} would send tokens in cleartext; write \"https://…\" (\"http://\" is only for \
         localhost)"
    )]
    Cleartext(String),
    #[error("{0:?} is not an address; write one such as \"https://login.example.org\"")]
    WebAddress(String),
}

const SQL_EXAMPLES: &str = "\"postgres://restante@localhost/mail\", \"mysql://…\" or \
                            \"sqlite:///var/lib/mail/users.sqlite\"";

/// The address of a database.
///
/// - It has no password, since the configuration may be readable by many.
/// - It names the user.
pub(super) fn sql_url(text: &str) -> Result<String, RemoteError> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(RemoteError::SqlUrl(text.to_owned()));
    };
    if !["postgres", "postgresql", "mysql", "mariadb", "sqlite"].contains(&scheme) {
        return Err(RemoteError::SqlScheme(scheme.to_owned()));
    }
    if rest.is_empty() {
        return Err(RemoteError::NoDatabase);
    }
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let has_password = authority.rsplit_once('@').is_some_and(|(login, _)| login.contains(':'));
    if has_password || rest.contains("password=") {
        return Err(RemoteError::PasswordInUrl);
    }
    // The defaults of drivers differ: the user that runs the program, or root.
    let has_user = authority.contains('@') || (is_postgres(scheme) && rest.contains("user="));
    if scheme != "sqlite" && !has_user {
        return Err(RemoteError::NoDatabaseUser(scheme.to_owned()));
    }
    Ok(text.to_owned())
}

fn is_postgres(scheme: &str) -> bool {
    matches!(scheme, "postgres" | "postgresql")
}

/// A query whose placeholders become bound parameters.
///
/// - No placeholder is within quotes: its value is never part of the text.
pub(super) fn query(text: &str) -> Result<Template, RemoteError> {
    let query = user_template(text)?;
    let mut quote = None;
    for piece in query.pieces() {
        match piece {
            Piece::Text(text) => quote = text.chars().fold(quote, quote_after),
            Piece::Placeholder(_) if quote.is_some() => return Err(RemoteError::QuotedPlaceholder),
            Piece::Placeholder(_) => {}
        }
    }
    if text.contains(';') { Err(RemoteError::Semicolon) } else { Ok(query) }
}

/// A query for all users.
pub(super) fn list_query(text: &str) -> Result<String, RemoteError> {
    if Placeholder::OF_A_NAME.iter().any(|placeholder| text.contains(placeholder.word())) {
        return Err(RemoteError::NameInList);
    }
    if text.contains(';') { Err(RemoteError::Semicolon) } else { Ok(text.to_owned()) }
}

/// The quote that is open after a character.
fn quote_after(open: Option<char>, c: char) -> Option<char> {
    match open {
        None if matches!(c, '\'' | '"' | '`') => Some(c),
        Some(quote) if c == quote => None,
        other => other,
    }
}

/// The address of an LDAP directory.
pub(super) fn ldap_url(text: &str) -> Result<String, RemoteError> {
    let known = ["ldap://", "ldaps://", "ldapi://"];
    let named = known.iter().find_map(|scheme| text.strip_prefix(scheme));
    match named.map(|rest| rest.strip_suffix('/').unwrap_or(rest)) {
        Some(host) if !host.is_empty() && !host.contains(['@', '?', ' ', '/']) => {
            Ok(text.to_owned())
        }
        _ => Err(RemoteError::LdapUrl(text.to_owned())),
    }
}

/// A search filter.
pub(super) fn ldap_filter(text: &str) -> Result<Template, RemoteError> {
    let filter = user_template(text)?;
    if text.starts_with('(') && text.ends_with(')') {
        Ok(filter)
    } else {
        Err(RemoteError::NoBrackets)
    }
}

/// The DN of an entry.
pub(super) fn ldap_dn(text: &str) -> Result<Template, RemoteError> {
    let name = user_template(text)?;
    if text.contains('=') { Ok(name) } else { Err(RemoteError::Dn) }
}

/// The name of an LDAP attribute.
pub(super) fn attribute(text: &str) -> Result<String, RemoteError> {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b';' | b'.');
    if !text.is_empty() && text.bytes().all(good) {
        Ok(text.to_owned())
    } else {
        Err(RemoteError::Attribute(text.to_owned()))
    }
}

/// The name of a file in `/etc/pam.d`.
pub(super) fn pam_service(text: &str) -> Result<String, RemoteError> {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if !text.is_empty() && !text.starts_with('.') && text.bytes().all(good) {
        Ok(text.to_owned())
    } else {
        Err(RemoteError::PamService(text.to_owned()))
    }
}

/// A program and its arguments.
pub(super) fn command(words: Vec<String>) -> Result<Vec<String>, RemoteError> {
    let program = words.first().ok_or(RemoteError::NoProgram)?;
    if !program.starts_with('/') {
        return Err(RemoteError::RelativeProgram(program.clone()));
    }
    if words.iter().any(|word| word.contains('\0')) {
        return Err(RemoteError::NulInArgument);
    }
    Ok(words)
}

/// A web address that passwords and tokens may be sent to.
pub(super) fn web_address(text: &str) -> Result<String, RemoteError> {
    if let Some(rest) = text.strip_prefix("https://") {
        return match rest.split('/').next() {
            Some(host) if !host.is_empty() && !host.contains('@') => Ok(text.to_owned()),
            _ => Err(RemoteError::NoHost(text.to_owned())),
        };
    }
    let host = text.strip_prefix("http://").and_then(|rest| rest.split('/').next());
    match host.map(without_port) {
        Some("localhost" | "127.0.0.1" | "[::1]") => Ok(text.to_owned()),
        Some(_) => Err(RemoteError::Cleartext(text.to_owned())),
        None => Err(RemoteError::WebAddress(text.to_owned())),
    }
}

/// The host without its port. The last colon of an IPv6 address is not followed by digits alone,
/// since there is a bracket at the end.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        Some(_) | None => host,
    }
}

/// A template with the placeholders of a user name.
fn user_template(text: &str) -> Result<Template, RemoteError> {
    Ok(Template::parse(text, &Placeholder::OF_A_NAME)?)
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
            ("oracle://localhost/mail", "not a supported database"),
            ("postgres://", "has no database in it"),
            ("postgres://localhost/mail", "has no database user"),
            ("mysql:///mail?socket=/run/mysqld/mysqld.sock", "mysql://restante@localhost"),
            ("postgres://restante:tanstaaf@localhost/mail", "password-file"),
            ("postgres://localhost/mail?password=tanstaaf", "password-file"),
        ] {
            let error = sql_url(bad).unwrap_err().to_string();
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
            ("SELECT password FROM users WHERE name = '{user}'", "in quotes"),
            ("SELECT password FROM users WHERE name LIKE '%{user}%'", "in quotes"),
            ("SELECT password FROM users WHERE name = '%u'", "write \"{user}\""),
            ("SELECT password FROM users WHERE name = {name}", "is not a placeholder"),
            ("SELECT password FROM users WHERE name = {user}; DROP TABLE users", "semicolon"),
        ] {
            let error = query(bad).unwrap_err().to_string();
            assert!(error.contains(hint), "{bad}: {error}");
        }
        assert!(list_query("SELECT name FROM users WHERE domain = {domain}").is_err());
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
        let error = ldap_filter("uid={user}").unwrap_err().to_string();
        assert!(error.contains("has no brackets") && error.contains("(mail={user})"), "{error}");
        let same_for_all = RemoteError::Template(TemplateError::SameForAll);
        assert_eq!(ldap_filter("(objectClass=*)"), Err(same_for_all));
        assert!(ldap_dn("uid={local},dc=example").is_ok());
        let error = ldap_dn("{user}").unwrap_err().to_string();
        assert!(error.contains("is not a DN") && error.contains("uid={local},"), "{error}");
        assert!(attribute("homeDirectory").is_ok() && attribute("a b").is_err());
    }

    #[test]
    fn programs_and_services() {
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        assert!(command(words(&["/bin/checkpw", "-a", "x y"])).is_ok());
        for (bad, hint) in
            [(&[][..], "is empty"), (&["checkpw"], "absolute path"), (&["/bin/a", "\0"], "NUL")]
        {
            let error = command(words(bad)).unwrap_err().to_string();
            assert!(error.contains(hint), "{bad:?}: {error}");
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
            ("http://login.example.org", "in cleartext"),
            ("http://127.0.0.1.example.org", "in cleartext"),
            ("http://[::2]", "in cleartext"),
            ("http://[::1]x", "in cleartext"),
            ("http://localhost:x@example.org", "in cleartext"),
            ("https://", "has no host"),
            ("https://user@host/", "or a user in it"),
            ("login.example.org", "not an address"),
        ] {
            let error = web_address(bad).unwrap_err().to_string();
            assert!(error.contains(hint), "{bad}: {error}");
        }
    }
}
