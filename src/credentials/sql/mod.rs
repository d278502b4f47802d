//! Users in a database: PostgreSQL, MySQL or MariaDB, SQLite.
//!
//! The administrator writes the query; its placeholders are bound as parameters. It yields one row
//! for a user, one more for each app password, and none for an unknown name. The columns are
//! recognised by their names.
//!
//! - `address`: how to connect. `server`: connections.
//! - `question`: the query and its parameters. `row`: the rows of the answer.

use std::sync::{Arc, OnceLock};

use sqlx::{MySql, Postgres, Sqlite};

use self::address::Address;
use self::question::{Placeholders, Question};
use self::server::{Error, Reuse, Server};
use crate::config::SqlSection;
use crate::credentials::decoy::Seen;
use crate::credentials::{
    Account, Breaker, CredentialStore, Decoy, Lookup, OpenError, Outage, StoreError,
};
use crate::password::WeakSchemes;
use crate::protocol::Username;

mod address;
mod question;
mod row;
mod server;

/// The users of a database.
///
/// - The column `password` holds `{SCHEME}hash` as in a credential file; NULL is a user who cannot
///   log in. `home`, `mail`, `pop3`, `sessions` and `allow_nets` are optional.
/// - A row with a value in the optional column `app_password` is an app password with that name.
/// - A row that cannot be read, or a second row of the user, is never taken for a wrong password.
/// - Opening does not connect: it succeeds while the database is down.
#[derive(Debug)]
pub struct SqlStore {
    url: String,
    database: Arc<Database>,
    question: Question,
    weak: WeakSchemes,
    /// Shared with the store that this one has replaced in a reload, if there was one.
    seen: OnceLock<Arc<Seen>>,
    breaker: Breaker<Error>,
}

#[derive(Debug)]
enum Database {
    Postgres(Server<Postgres>),
    MySql(Server<MySql>),
    Sqlite(Server<Sqlite>),
}

/// The query has no column for the password.
#[derive(Debug, thiserror::Error)]
#[error(
    "{database}: the query has no column password but {}, name one so with AS password",
    columns.join(", ")
)]
struct NoPasswordColumn {
    database: String,
    columns: Vec<String>,
}

/// Calls a method of the database, whatever its kind.
macro_rules! each {
    ($database:expr, $server:ident => $call:expr) => {
        match $database {
            Database::Postgres($server) => $call,
            Database::MySql($server) => $call,
            Database::Sqlite($server) => $call,
        }
    };
}

impl SqlStore {
    /// Prepares the query. Does not connect. To be called within a runtime.
    ///
    /// # Errors
    /// [`OpenError`] for the key whose value cannot be used.
    pub fn open(section: &SqlSection, weak: WeakSchemes) -> Result<Self, OpenError> {
        let (database, placeholders) = match Address::of(section)? {
            Address::Postgres(options) => {
                let server = Server::new(options, None, Reuse::Always);
                (Database::Postgres(server), Placeholders::Numbered)
            }
            Address::MySql(options) => {
                // For the other two this is an option of the connection.
                let opening = Some("SET SESSION TRANSACTION READ ONLY");
                let server = Server::new(options, opening, Reuse::Always);
                (Database::MySql(server), Placeholders::QuestionMarks)
            }
            Address::Sqlite(options) => (
                Database::Sqlite(Server::new(options, None, Reuse::Never)),
                Placeholders::QuestionMarks,
            ),
        };
        let database = Arc::new(database);
        let url = section.url.clone();
        // Not the query of the configuration: an error in it does not mean that the database is down.
        let probe = |database: Arc<Database>| async move { database.version().await.map(drop) };
        let breaker = Breaker::new(label(&url), section.asking, &database, probe);
        let question = Question::new(&section.query, placeholders);
        Ok(Self { url, database, question, weak, seen: OnceLock::new(), breaker })
    }

    /// Takes the place of a store in a reload. If it is for the same database, unknown names keep
    /// their decoys. To be called before the first look-up.
    pub fn replace(&self, old: &Self) {
        if self.url == old.url {
            self.seen.get_or_init(|| Arc::clone(old.seen()));
        }
    }

    fn seen(&self) -> &Arc<Seen> {
        self.seen.get_or_init(Arc::default)
    }

    async fn ask(&self, name: &Username) -> Result<Option<Account>, Error> {
        each!(&*self.database, server => server.ask(&self.question, name, self.weak).await)
    }
}

impl Database {
    /// Its name and version.
    async fn version(&self) -> Result<String, Error> {
        const VERSION: &str = "SELECT version()";
        match self {
            Self::Postgres(server) => {
                // PostgreSQL 15.18 (Debian 15.18-0+deb12u1) on x86_64-pc-linux-gnu, …
                let version = server.version(VERSION).await?;
                Ok(version.split(" (").next().unwrap_or_default().to_owned())
            }
            Self::MySql(server) => {
                // 10.11.19-MariaDB-0+deb12u1
                let version = server.version(VERSION).await?;
                let maker = if version.contains("MariaDB") { "MariaDB" } else { "MySQL" };
                Ok(format!("{maker} {}", version.split('-').next().unwrap_or_default()))
            }
            Self::Sqlite(server) => {
                Ok(format!("SQLite {}", server.version("SELECT sqlite_version()").await?))
            }
        }
    }
}

impl CredentialStore for SqlStore {
    fn label(&self) -> String {
        label(&self.url)
    }

    async fn look_up(&self, name: &Username) -> Lookup {
        match self.breaker.call(self.ask(name)).await {
            Ok(Some(account)) => {
                self.seen().count(name, &account.verifier);
                Lookup::Found(account)
            }
            Ok(None) => Lookup::Unknown,
            Err(why) => Lookup::Unavailable(why.into()),
        }
    }

    fn decoy(&self, name: &Username) -> Option<Decoy> {
        self.seen().decoy(name)
    }

    fn account_key(&self, name: &Username, found: Option<&Account>) -> Option<Vec<u8>> {
        if self.question.is_about_local_part() {
            Some(name.local().into())
        } else {
            found.and_then(Account::key)
        }
    }

    fn down(&self) -> Option<Outage> {
        self.breaker.down()
    }

    async fn probe(&self) -> Result<String, StoreError> {
        let unknown = Username::try_from(UNKNOWN_NAME)?;
        let asked = self.breaker.bypass(async {
            let version = self.database.version().await?;
            let columns = each!(&*self.database, server => server.columns(&self.question).await)?;
            self.ask(&unknown).await?;
            Ok::<_, Error>((version, columns))
        });
        let (version, columns) = asked.await?;
        Ok(summary(version, columns)?)
    }
}

fn label(url: &str) -> String {
    format!("sql {url}")
}

/// What was reached, for `restante check`.
fn summary(database: String, columns: Vec<String>) -> Result<String, NoPasswordColumn> {
    let is_used = |name: &String| row::COLUMNS.iter().any(|used| name.eq_ignore_ascii_case(used));
    if !columns.iter().any(|name| name.eq_ignore_ascii_case("password")) {
        return Err(NoPasswordColumn { database, columns });
    }
    let (used, unused): (Vec<_>, Vec<_>) = columns.into_iter().partition(is_used);
    let mut text = format!("{database}, the query has the columns {}", used.join(", "));
    if !unused.is_empty() {
        text += &format!("; of no use here are {}", unused.join(", "));
    }
    Ok(text)
}

/// A name that does not exist, with a domain.
const UNKNOWN_NAME: &str = "restante-check@restante.invalid";

#[cfg(test)]
mod tests;
