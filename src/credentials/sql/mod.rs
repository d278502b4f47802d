//! Users in a database: PostgreSQL, MySQL or MariaDB, SQLite.
//!
//! The administrator writes the query; its placeholders are bound as parameters. It yields a row
//! for a user and none for anybody else, and the names of its columns say what they are.
//!
//! - `address`: from the configuration to a connection. `server`: connections.
//! - `question`: the query and its parameters. `row`: the answer.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sqlx::{MySql, Postgres, Sqlite};
use tokio::time::timeout;

use self::address::Address;
use self::question::{Placeholders, Question};
use self::server::{Reuse, Server};
use crate::config::{Asking, SqlSection};
use crate::credentials::decoy::Seen;
use crate::credentials::{Account, Breaker, CredentialStore, Decoy, Lookup, OpenError};
use crate::password::WeakSchemes;
use crate::protocol::Username;

mod address;
mod question;
mod row;
mod server;

/// The users of a database.
///
/// - The column `password` is what a credential file has there, `{SCHEME}hash`; NULL is a user who
///   cannot log in. `home`, `mail`, `pop3`, `sessions` and `allow_nets` may be there.
/// - A row that cannot be read, or a second one, is never taken for a wrong password.
/// - Nothing is asked before it is needed: opening succeeds while the database is down.
#[derive(Debug)]
pub struct SqlStore {
    url: String,
    database: Arc<Database>,
    question: Question,
    weak: WeakSchemes,
    /// That of the store that this one took the place of, if it did.
    seen: OnceLock<Arc<Seen>>,
    breaker: Breaker,
    deadline: Duration,
}

#[derive(Debug)]
enum Database {
    Postgres(Server<Postgres>),
    MySql(Server<MySql>),
    Sqlite(Server<Sqlite>),
}

/// Calls a method of whichever database it is.
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
    /// Makes ready to ask. Has to be called within a runtime.
    ///
    /// # Errors
    /// What is wrong with the settings; that the database is down is not.
    pub fn open(section: &SqlSection, weak: WeakSchemes) -> Result<Self, OpenError> {
        let Asking { deadline, at_once } = section.asking;
        let address = Address::of(section)?;
        let (database, placeholders) = match address {
            Address::Postgres(options) => {
                let server = Server::new(options, None, Reuse::Always);
                (Database::Postgres(server), Placeholders::Numbered)
            }
            Address::MySql(options) => {
                // The other two are told as they are connected to.
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
        // Not the query of the configuration: a fault in that does not make the database down.
        let asked = Arc::clone(&database);
        let probe = move || {
            let database = Arc::clone(&asked);
            async move { database.version().await.map(drop) }
        };
        let breaker = Breaker::new(label(&url), at_once, deadline, probe);
        let question = Question::new(&section.query, placeholders);
        Ok(Self { url, database, question, weak, seen: OnceLock::new(), breaker, deadline })
    }

    /// Takes the place of a store. Names that nobody has keep their decoys, if it is about the same
    /// database and nobody has been asked about yet.
    pub fn succeed(&self, old: &Self) {
        if self.url == old.url {
            self.seen.get_or_init(|| Arc::clone(old.seen()));
        }
    }

    fn seen(&self) -> &Arc<Seen> {
        self.seen.get_or_init(Arc::default)
    }

    async fn ask(&self, name: &Username) -> Result<Option<Account>, String> {
        each!(&*self.database, server => server.ask(&self.question, name, self.weak).await)
    }
}

impl Database {
    /// Its name and version.
    async fn version(&self) -> Result<String, String> {
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
        match self.breaker.call(self.deadline, self.ask(name)).await {
            Ok(Some(account)) => {
                self.seen().note(name, &account.verifier);
                Lookup::Found(account)
            }
            Ok(None) => Lookup::Unknown,
            Err(why) => Lookup::Unavailable(why),
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

    fn down(&self) -> Option<String> {
        self.breaker.down()
    }

    async fn probe(&self) -> Result<String, String> {
        let nobody = Username::try_from(NOBODY).map_err(|fault| fault.to_string())?;
        let asked = timeout(self.deadline, async {
            let version = self.database.version().await?;
            let columns = each!(&*self.database, server => server.columns(&self.question).await)?;
            self.ask(&nobody).await?;
            summary(&version, &columns)
        });
        asked.await.map_err(|_elapsed| format!("no answer within {:?}", self.deadline))?
    }
}

fn label(url: &str) -> String {
    format!("sql {url}")
}

/// What was reached, or that the query lacks what is needed.
fn summary(database: &str, columns: &[String]) -> Result<String, String> {
    let is_ours = |name: &&String| row::COLUMNS.iter().any(|ours| name.eq_ignore_ascii_case(ours));
    let (ours, others): (Vec<_>, Vec<_>) = columns.iter().partition(is_ours);
    let list = |names: Vec<&String>| names.into_iter().cloned().collect::<Vec<_>>().join(", ");
    if !ours.iter().any(|name| name.eq_ignore_ascii_case("password")) {
        return Err(format!(
            "{database}: the query has no column password but {}, name one so with AS password",
            list(columns.iter().collect())
        ));
    }
    let mut text = format!("{database}, the query has the columns {}", list(ours));
    if !others.is_empty() {
        text += &format!("; of no use here are {}", list(others));
    }
    Ok(text)
}

/// A name that nobody has, with a domain.
const NOBODY: &str = "restante-check@restante.invalid";

#[cfg(test)]
mod tests;
