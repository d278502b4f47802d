//! Connections to one database: made when they are needed, kept while they are in use.
//!
//! sqlx has a pool, which is not used: it tries a server that refuses until the deadline, asks
//! each connection how it is before a question, and takes back those that were given up.

use std::fmt;
use std::mem;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use sqlx::{
    Column as _, ConnectOptions, Connection, Database, Encode, Executor, IntoArguments,
    Statement as _, Type,
};
use tokio::time::{Instant, timeout};

use super::question::Question;
use super::row::{self, Cells};
use crate::credentials::Account;
use crate::password::WeakSchemes;
use crate::protocol::Username;

/// A database and the connections to it.
///
/// - There are as many as questions are under way; the caller bounds them.
/// - One that failed, or was given up before its answer was there, is never used again.
/// - A question that fails on a connection that has been idle is put to a new one: the server may
///   have been restarted, or a table altered, in between.
pub(super) struct Server<D: Database> {
    options: Options<D>,
    /// What is said first on every connection.
    opening: Option<&'static str>,
    reuse: Reuse,
    idle: Mutex<Vec<Idle<D::Connection>>>,
}

type Options<D> = <<D as Database>::Connection as Connection>::Options;

/// Whether a connection is used again after its query.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reuse {
    /// It is there for the next.
    Always,
    /// It is closed: a file that is put in the place of another has to be seen.
    Never,
}

struct Idle<C> {
    connection: C,
    since: Instant,
}

impl<D> Server<D>
where
    D: Database,
    D::Row: Cells,
    D::Arguments: IntoArguments<D>,
    for<'c> &'c mut D::Connection: Executor<'c, Database = D>,
    for<'q> Option<String>: Encode<'q, D> + Type<D>,
{
    pub(super) fn new(options: Options<D>, opening: Option<&'static str>, reuse: Reuse) -> Self {
        Self { options, opening, reuse, idle: Mutex::default() }
    }

    /// What the database knows of a user.
    pub(super) async fn ask(
        &self,
        question: &Question,
        name: &Username,
        weak: WeakSchemes,
    ) -> Result<Option<Account>, String> {
        let mut answer = None;
        if let Some(mut connection) = self.take() {
            answer =
                rows(&mut connection, question, name).await.ok().map(|rows| (connection, rows));
        }
        let (connection, rows) = match answer {
            Some(answer) => answer,
            None => {
                let mut connection = self.connect().await?;
                let rows = rows(&mut connection, question, name).await;
                (connection, rows.map_err(|error| shown(&error))?)
            }
        };
        match rows.as_slice() {
            [] => {
                self.put_back(connection);
                Ok(None)
            }
            [row] => {
                self.put_back(connection);
                row::account(row, weak).map(Some)
            }
            // There may be more to come on this connection, which is why it is not put back.
            _ => Err("the query finds several rows, it must find one".into()),
        }
    }

    /// What the database says its version is, by a new connection.
    pub(super) async fn version(&self, query: &'static str) -> Result<String, String> {
        let mut connection = self.connect().await?;
        let row = sqlx::query(query).fetch_one(&mut connection).await;
        let version = row::text_of(&row.map_err(|error| shown(&error))?)?;
        self.put_back(connection);
        Ok(version)
    }

    /// The names of the columns that the query yields.
    pub(super) async fn columns(&self, question: &Question) -> Result<Vec<String>, String> {
        let mut connection = self.connect().await?;
        let types = vec![<Option<String> as Type<D>>::type_info(); question.parameters()];
        let statement = connection.prepare_with(question.text(), &types).await;
        let statement = statement.map_err(|error| shown(&error))?;
        let columns = statement.columns().iter().map(|column| column.name().to_owned()).collect();
        self.put_back(connection);
        Ok(columns)
    }

    async fn connect(&self) -> Result<D::Connection, String> {
        let mut connection = self.options.connect().await.map_err(|error| shown(&error))?;
        if let Some(statement) = self.opening {
            connection.execute(statement).await.map_err(|error| shown(&error))?;
        }
        Ok(connection)
    }

    /// The connection that was used last, if it was not long ago.
    fn take(&self) -> Option<D::Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.pop_if(|kept| kept.since.elapsed() < LONGEST_IDLE).map(|kept| kept.connection)
    }

    fn put_back(&self, connection: D::Connection) {
        match self.reuse {
            Reuse::Never => close(connection),
            Reuse::Always => {
                let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
                let (young, old): (Vec<_>, Vec<_>) = mem::take(&mut *idle)
                    .into_iter()
                    .partition(|kept| kept.since.elapsed() < LONGEST_IDLE);
                *idle = young;
                idle.push(Idle { connection, since: Instant::now() });
                drop(idle);
                old.into_iter().for_each(|kept| close(kept.connection));
            }
        }
    }
}

/// Without the options of the driver, which would show the password.
impl<D: Database> fmt::Debug for Server<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("reuse", &self.reuse).finish_non_exhaustive()
    }
}

/// Closes a connection in the background: a server would log one that merely ends.
fn close<C: Connection>(connection: C) {
    tokio::spawn(timeout(CLOSE_TIMEOUT, connection.close()));
}

/// The rows of the answer, two at most: a query that has forgotten its WHERE is not read to its end.
async fn rows<D>(
    connection: &mut D::Connection,
    question: &Question,
    name: &Username,
) -> Result<Vec<D::Row>, sqlx::Error>
where
    D: Database,
    D::Arguments: IntoArguments<D>,
    for<'c> &'c mut D::Connection: Executor<'c, Database = D>,
    for<'q> Option<String>: Encode<'q, D> + Type<D>,
{
    let mut query = sqlx::query(question.text());
    for value in question.values(name) {
        query = query.bind(value);
    }
    let mut answer = query.fetch(connection);
    let mut rows = Vec::new();
    while let Some(row) = answer.try_next().await? {
        rows.push(row);
        if rows.len() == 2 {
            break;
        }
    }
    Ok(rows)
}

/// The message of the database itself, where there is one, and what to do where that is plain; no
/// driver puts a password into it.
fn shown(error: &sqlx::Error) -> String {
    let Some(said) = error.as_database_error() else { return error.to_string() };
    let message = said.message();
    match said.code().as_deref() {
        // PostgreSQL, MySQL: invalid_authorization_specification, invalid_password.
        Some("28000" | "28P01") => {
            format!("{message}; correct password-file, or the user in url")
        }
        // SQLite: SQLITE_CANTOPEN.
        Some("14") => format!("{message}; correct url, or let the server's user read the file"),
        Some(_) | None => message.to_owned(),
    }
}

/// Shorter than what firewalls take for dead: a connection that they have forgotten would cost a
/// login the whole deadline.
const LONGEST_IDLE: Duration = Duration::from_secs(60);

/// How long leaving may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
