//! From the address in the configuration to the connection options of each driver.
//!
//! - A server on another host has to prove its identity, unless the address says otherwise with
//!   `sslmode` (PostgreSQL) or `ssl-mode` (MySQL, MariaDB).
//! - Sessions can only read, whatever the role may do; except those that record logins.

use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::sqlite::SqliteConnectOptions;

use crate::config::SqlSection;
use crate::credentials::{OpenError, secret_file, trust};

/// How to connect to the database of an address.
pub(super) enum Address {
    Postgres(PgConnectOptions),
    MySql(MySqlConnectOptions),
    Sqlite(SqliteConnectOptions),
}

/// What sessions may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// What is wrong with an address, or with `ca` and `password-file` beside it.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0:?} is not a database that is known")]
    UnknownDatabase(String),
    #[error("password-file and ca are not for SQLite, remove them")]
    NotForSqlite,
    #[error(
        "{0} is not a whole path without parameters, write one such as \
         \"sqlite:///var/lib/mail/users.sqlite\""
    )]
    SqlitePath(String),
    #[error("{name:?} is not a parameter of this address, write one of {}", known.join(", "))]
    UnknownParameter { name: String, known: &'static [&'static str] },
    /// The parameter that does not verify certificates, and the value that does.
    #[error("ca is of no use with this {0}, write {0}={1}")]
    CaUnused(&'static str, &'static str),
    #[error(transparent)]
    Driver(#[from] sqlx::Error),
}

impl Address {
    pub(super) fn of(section: &SqlSection, access: Access) -> Result<Self, OpenError> {
        let SqlSection { url, ca, .. } = section;
        let secret = section.password_file.as_deref().map(secret_file::read).transpose();
        let secret = secret.map_err(OpenError::at("password-file"))?;
        if let Some(ca) = ca {
            trust::certificates(Some(ca))?;
        }
        let password = secret.as_ref().map(|secret| secret.expose().as_str());
        let address = Self::parse(url, password, ca.as_deref(), section.asking.deadline, access);
        address.map_err(OpenError::at("url"))
    }

    fn parse(
        url: &str,
        password: Option<&str>,
        ca: Option<&Path>,
        deadline: Duration,
        access: Access,
    ) -> Result<Self, Error> {
        match url.split_once("://").unwrap_or_default() {
            ("postgres" | "postgresql", _) => {
                postgres(url, password, ca, access).map(Self::Postgres)
            }
            ("mysql" | "mariadb", _) => mysql(url, password, ca).map(Self::MySql),
            ("sqlite", path) => match (password, ca) {
                (None, None) => sqlite(url, path, deadline, access).map(Self::Sqlite),
                _ => Err(Error::NotForSqlite),
            },
            (scheme, _) => Err(Error::UnknownDatabase(scheme.to_owned())),
        }
    }
}

fn postgres(
    url: &str,
    password: Option<&str>,
    ca: Option<&Path>,
    access: Access,
) -> Result<PgConnectOptions, Error> {
    let says_mode = parameters(url, POSTGRES)?.contains(&"sslmode");
    // An empty password keeps the driver from looking for one in a home directory.
    let mark = if url.contains('?') { '&' } else { '?' };
    let mut options = PgConnectOptions::from_str(&format!("{url}{mark}password="))?;
    let local = options.get_socket().is_some() || is_local(options.get_host());
    if !says_mode && (ca.is_some() || !local) {
        options = options.ssl_mode(PgSslMode::VerifyFull);
    }
    if let Some(ca) = ca {
        if !matches!(options.get_ssl_mode(), PgSslMode::VerifyCa | PgSslMode::VerifyFull) {
            return Err(Error::CaUnused("sslmode", "verify-full"));
        }
        options = options.ssl_root_cert(ca);
    }
    if let Some(password) = password {
        options = options.password(password);
    }
    if options.get_application_name().is_none() {
        options = options.application_name("restante");
    }
    // No floating-point number is read, and poolers refuse unknown parameters.
    let options = options.extra_float_digits(None);
    let read_only = if access == Access::Read { "on" } else { "off" };
    Ok(options.options([("default_transaction_read_only", read_only)]).disable_statement_logging())
}

fn mysql(
    url: &str,
    password: Option<&str>,
    ca: Option<&Path>,
) -> Result<MySqlConnectOptions, Error> {
    let says_mode = parameters(url, MYSQL)?.contains(&"ssl-mode");
    let mut options = MySqlConnectOptions::from_str(url)?;
    let local = options.get_socket().is_some() || is_local(options.get_host());
    if !says_mode && (ca.is_some() || !local) {
        options = options.ssl_mode(MySqlSslMode::VerifyIdentity);
    }
    if let Some(ca) = ca {
        let mode = options.get_ssl_mode();
        if !matches!(mode, MySqlSslMode::VerifyCa | MySqlSslMode::VerifyIdentity) {
            return Err(Error::CaUnused("ssl-mode", "verify_identity"));
        }
        options = options.ssl_ca(ca);
    }
    if let Some(password) = password {
        options = options.password(password);
    }
    // The query means the same as in the administrator's own client.
    let options = options.pipes_as_concat(false).no_engine_substitution(false).timezone(None);
    Ok(options.disable_statement_logging())
}

fn sqlite(
    url: &str,
    path: &str,
    deadline: Duration,
    access: Access,
) -> Result<SqliteConnectOptions, Error> {
    if !path.starts_with('/') || path.contains('?') {
        return Err(Error::SqlitePath(url.to_owned()));
    }
    let options = SqliteConnectOptions::from_str(url)?;
    // Shorter than the deadline, so that the error says that the database is locked.
    let options = options.read_only(access == Access::Read);
    Ok(options.busy_timeout(deadline / 2).disable_statement_logging())
}

/// The names of the parameters in an address. An unknown one is refused: it might be a misspelt one
/// about TLS.
fn parameters<'u>(url: &'u str, known: &'static [&'static str]) -> Result<Vec<&'u str>, Error> {
    let Some((_, parameters)) = url.split_once('?') else { return Ok(Vec::new()) };
    let names = parameters.split('&').map(|parameter| parameter.split('=').next().unwrap_or(""));
    names
        .map(|name| match known.contains(&name) {
            true => Ok(name),
            false => Err(Error::UnknownParameter { name: name.to_owned(), known }),
        })
        .collect()
}

/// Whether the host is this machine, so that there is no network to listen on.
fn is_local(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.starts_with('/')
        || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

const POSTGRES: &[&str] = &[
    "sslmode",
    "sslcert",
    "sslkey",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "application_name",
];

const MYSQL: &[&str] = &["ssl-mode", "ssl-cert", "ssl-key", "socket", "charset", "collation"];

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::num::NonZeroU32;

    use super::*;
    use crate::config::Asking;
    use crate::protocol::{Placeholder, Template};

    fn parse(url: &str, ca: Option<&Path>) -> Result<String, String> {
        let mut secret = tempfile::NamedTempFile::new().unwrap();
        secret.write_all(b"tanstaaf").unwrap();
        let section = SqlSection {
            url: url.to_owned(),
            password_file: (!url.starts_with("sqlite")).then(|| secret.path().to_owned()),
            ca: ca.map(Path::to_owned),
            query: Template::parse("{user}", &Placeholder::OF_A_NAME).unwrap(),
            update_query: None,
            list_query: None,
            asking: Asking { deadline: Duration::from_secs(4), at_once: NonZeroU32::MIN },
        };
        let address = Address::of(&section, Access::Read).map_err(|error| error.to_string())?;
        Ok(match address {
            Address::Postgres(options) => format!("{:?}", options.get_ssl_mode()),
            Address::MySql(options) => format!("{:?}", options.get_ssl_mode()),
            Address::Sqlite(options) => format!("{:?}", options.get_filename()),
        })
    }

    #[test]
    fn other_hosts_prove_their_identity_unless_the_address_says_otherwise() {
        for (url, mode) in [
            ("postgres://restante@localhost/mail", "Prefer"),
            ("postgresql://restante@127.0.0.1:5433/mail", "Prefer"),
            ("postgres://restante@[::1]/mail", "Prefer"),
            ("postgres:///mail?host=/run/postgresql", "Prefer"),
            ("postgres://restante@db.example.org/mail", "VerifyFull"),
            ("postgres://localhost.example.org/mail", "VerifyFull"),
            ("postgres://restante@192.0.2.1/mail?sslmode=require", "Require"),
            ("mysql://restante@localhost/mail", "Preferred"),
            ("mysql:///mail?socket=/run/mysqld/mysqld.sock", "Preferred"),
            ("mariadb://restante@db.example.org/mail", "VerifyIdentity"),
            ("mysql://restante@db.example.org/mail?ssl-mode=disabled", "Disabled"),
            ("sqlite:///var/lib/mail/users.sqlite", "\"/var/lib/mail/users.sqlite\""),
        ] {
            assert_eq!(parse(url, None), Ok(mode.to_owned()), "{url}");
        }
    }

    #[test]
    fn a_ca_is_for_verifying() {
        let issued = rcgen::generate_simple_self_signed(["db.example.org".to_owned()]).unwrap();
        let mut ca = tempfile::NamedTempFile::new().unwrap();
        ca.write_all(issued.cert.pem().as_bytes()).unwrap();
        for (url, mode) in [
            ("postgres://localhost/mail", "VerifyFull"),
            ("postgres://localhost/mail?sslmode=verify-ca", "VerifyCa"),
            ("mysql://localhost/mail", "VerifyIdentity"),
        ] {
            assert_eq!(parse(url, Some(ca.path())), Ok(mode.to_owned()), "{url}");
        }
        for url in ["postgres://localhost/mail?sslmode=require", "mysql://h/m?ssl-mode=preferred"] {
            assert!(
                parse(url, Some(ca.path())).err().unwrap().contains("ca is of no use"),
                "{url}"
            );
        }
        let missing = parse("postgres://localhost/mail", Some(Path::new("/missing.pem")));
        assert!(missing.err().unwrap().contains("/missing.pem cannot be read"));
    }

    #[test]
    fn addresses_that_are_refused() {
        for (url, hint) in [
            ("postgres://localhost/mail?ssl_mode=verify-full", "\"ssl_mode\" is not a parameter"),
            ("postgres://localhost/mail?sslmode=maybe", "maybe"),
            ("mysql://localhost/mail?sslmode=verify_identity", "write one of ssl-mode"),
            ("mysql://localhost:port/mail", "port"),
            ("sqlite://users.sqlite", "whole path"),
            ("sqlite:///users.sqlite?mode=rwc", "without parameters"),
        ] {
            let error = parse(url, None).err().unwrap();
            assert!(error.contains(hint) && !error.contains("tanstaaf"), "{url}: {error}");
        }
    }
}
