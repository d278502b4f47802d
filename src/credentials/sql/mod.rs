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

use self::address::{Access, Address};
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
///   log in, or only with app passwords. `home`, `mail`, `pop3`, `sessions` and `allow_nets` are
///   optional.
/// - A row with a value in the optional column `app_password` is an app password with that name.
/// - A row that cannot be read, or a second row of the user, is never taken for a wrong password.
/// - Opening does not connect: it succeeds while the database is down.
#[derive(Debug)]
pub struct SqlStore {
    url: String,
    database: Arc<Database>,
    question: Question,
    update: Option<Box<Update>>,
    list: Option<Question>,
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

/// The statement that records a login, and the connections that may write.
#[derive(Debug)]
struct Update {
    database: Database,
    statement: Question,
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
        let (database, placeholders) = Database::of(section, Access::Read)?;
        let update = match &section.update_query {
            Some(statement) => {
                let (database, placeholders) = Database::of(section, Access::Write)?;
                let statement = Question::new(statement, placeholders);
                Some(Box::new(Update { database, statement }))
            }
            None => None,
        };
        let list = section.list_query.as_deref().map(Question::about_all);
        let database = Arc::new(database);
        let url = section.url.clone();
        // Not the query of the configuration: an error in it does not mean that the database is down.
        let probe = |database: Arc<Database>| async move { database.version().await.map(drop) };
        let breaker = Breaker::new(label(&url), section.asking, &database, probe);
        let question = Question::new(&section.query, placeholders);
        let seen = OnceLock::new();
        Ok(Self { url, database, question, update, list, weak, seen, breaker })
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
    /// The database of a section, and how it writes parameters.
    fn of(section: &SqlSection, access: Access) -> Result<(Self, Placeholders), OpenError> {
        Ok(match Address::of(section, access)? {
            Address::Postgres(options) => {
                let server = Server::new(options, None, Reuse::Always);
                (Self::Postgres(server), Placeholders::Numbered)
            }
            Address::MySql(options) => {
                // For the other two this is an option of the connection.
                let opening =
                    (access == Access::Read).then_some("SET SESSION TRANSACTION READ ONLY");
                let server = Server::new(options, opening, Reuse::Always);
                (Self::MySql(server), Placeholders::QuestionMarks)
            }
            Address::Sqlite(options) => {
                let server = Server::new(options, None, Reuse::Never);
                (Self::Sqlite(server), Placeholders::QuestionMarks)
            }
        })
    }

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

    async fn record_logins(&self, users: &[Username]) -> Result<(), StoreError> {
        let Some(update) = &self.update else { return Ok(()) };
        let Update { database, statement } = &**update;
        for some in users.chunks(WRITTEN_AT_ONCE) {
            let written = async { each!(database, server => server.write(statement, some).await) };
            self.breaker.bypass(written).await?;
        }
        Ok(())
    }

    async fn users(&self) -> Result<Option<Vec<Username>>, StoreError> {
        let Some(list) = &self.list else { return Ok(None) };
        let listed = async { each!(&*self.database, server => server.list(list).await) };
        let names = self.breaker.bypass(listed).await?;
        // Nobody can log in with a name that is invalid.
        Ok(Some(names.iter().filter_map(|name| Username::try_from(&**name).ok()).collect()))
    }

    async fn probe(&self) -> Result<String, StoreError> {
        let unknown = Username::try_from(UNKNOWN_NAME)?;
        let asked = self.breaker.bypass(async {
            let version = self.database.version().await?;
            let columns = each!(&*self.database, server => server.columns(&self.question).await)?;
            self.ask(&unknown).await?;
            if let Some(update) = &self.update {
                let Update { database, statement } = &**update;
                let written = each!(database, server => server.columns(statement).await);
                written.map_err(|error| Error::Of("update-query", Box::new(error)))?;
            }
            if let Some(list) = &self.list {
                let listed = each!(&*self.database, server => server.columns(list).await);
                listed.map_err(|error| Error::Of("list-query", Box::new(error)))?;
            }
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

/// Logins in a transaction: each row that is written is locked until its end.
const WRITTEN_AT_ONCE: usize = 100;

/// A name that does not exist, with a domain.
const UNKNOWN_NAME: &str = "restante-check@restante.invalid";

#[cfg(test)]
mod tests;
