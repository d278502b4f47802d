//! Connections to one database: opened when they are needed, kept while they are in use.
//!
//! The pool of sqlx is not used: it tries a server that refuses until the deadline, pings each
//! connection before a query, and reuses connections whose query was given up.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _};
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
/// - There are as many as there are queries under way; the caller bounds them.
/// - One that failed, or whose query was given up before the answer, is never used again.
/// - A query that fails on a connection that has been idle is tried on a new one: the server may
///   have been restarted, or a table altered, in between.
pub(super) struct Server<D: Database> {
    options: Options<D>,
    /// The first statement on every connection.
    opening: Option<&'static str>,
    reuse: Reuse,
    idle: Mutex<Vec<Idle<D::Connection>>>,
}

type Options<D> = <<D as Database>::Connection as Connection>::Options;

/// Whether a connection is used again after its query.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reuse {
    /// It is kept for the next query.
    Always,
    /// It is closed, so that a file that replaces the database is seen.
    Never,
}

/// Why a user cannot be looked up in a database.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("{}", shown(.0))]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Row(#[from] row::Error),
    #[error("{0}: {1}")]
    Of(&'static str, Box<Self>),
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

    /// Looks a user up.
    pub(super) async fn ask(
        &self,
        question: &Question,
        name: &Username,
        weak: WeakSchemes,
    ) -> Result<Option<Account>, Error> {
        let mut answer = None;
        if let Some(mut connection) = self.take() {
            let rows = Self::rows(&mut connection, question, name).await;
            answer = rows.ok().map(|rows| (connection, rows));
        }
        let (connection, rows) = match answer {
            Some(answer) => answer,
            None => {
                let mut connection = self.connect().await?;
                let rows = Self::rows(&mut connection, question, name).await?;
                (connection, rows)
            }
        };
        // With more rows, the connection is not put back: there may be unread ones on it.
        if rows.len() <= row::MOST_ROWS {
            self.put_back(connection);
        }
        Ok(row::account(&rows, name, weak)?)
    }

    /// One row more than a user may have, at most: a query without its WHERE is not read to its end.
    async fn rows(
        connection: &mut D::Connection,
        question: &Question,
        name: &Username,
    ) -> Result<Vec<D::Row>, sqlx::Error> {
        let mut query = sqlx::query(question.text());
        for value in question.values(name) {
            query = query.bind(value);
        }
        query.fetch(connection).take(row::MOST_ROWS + 1).try_collect().await
    }

    /// The version of the database, over a new connection.
    pub(super) async fn version(&self, query: &'static str) -> Result<String, Error> {
        let mut connection = self.connect().await?;
        let row = sqlx::query(query).fetch_one(&mut connection).await?;
        let version = row::first(&row, "version")?;
        self.put_back(connection);
        Ok(version)
    }

    /// Carries out a statement for each of these users, in one transaction.
    pub(super) async fn write(
        &self,
        statement: &Question,
        users: &[Username],
    ) -> Result<(), Error> {
        let mut connection = self.connect().await?;
        let mut transaction = connection.begin().await?;
        for user in users {
            let mut query = sqlx::query(statement.text());
            for value in statement.values(user) {
                query = query.bind(value);
            }
            query.execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        close(connection);
        Ok(())
    }

    /// The texts in the first column of an answer.
    pub(super) async fn list(&self, question: &Question) -> Result<Vec<String>, Error> {
        let mut connection = self.connect().await?;
        let rows: Vec<_> =
            sqlx::query(question.text()).fetch(&mut connection).try_collect().await?;
        self.put_back(connection);
        rows.iter().map(|row| Ok(row::first(row, "name")?)).collect()
    }

    /// The names of the columns that the query yields.
    pub(super) async fn columns(&self, question: &Question) -> Result<Vec<String>, Error> {
        let mut connection = self.connect().await?;
        let types = vec![<Option<String> as Type<D>>::type_info(); question.parameters()];
        let statement = connection.prepare_with(question.text(), &types).await?;
        let columns = statement.columns().iter().map(|column| column.name().to_owned()).collect();
        self.put_back(connection);
        Ok(columns)
    }

    async fn connect(&self) -> Result<D::Connection, sqlx::Error> {
        let mut connection = self.options.connect().await?;
        if let Some(statement) = self.opening {
            connection.execute(statement).await?;
        }
        Ok(connection)
    }

    /// The connection that was used last, unless it has been idle for too long.
    fn take(&self) -> Option<D::Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.pop_if(|kept| kept.since.elapsed() < LONGEST_IDLE).map(|kept| kept.connection)
    }

    fn put_back(&self, connection: D::Connection) {
        match self.reuse {
            Reuse::Never => close(connection),
            Reuse::Always => {
                let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
                let is_old = |kept: &mut Idle<_>| kept.since.elapsed() >= LONGEST_IDLE;
                let old: Vec<_> = idle.extract_if(.., is_old).collect();
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

/// Closes a connection in the background. Servers log connections that end without being closed.
fn close<C: Connection>(connection: C) {
    tokio::spawn(timeout(CLOSE_TIMEOUT, connection.close()));
}

/// The message of the database itself, if there is one, and what to do, if that is clear. No driver
/// puts a password into it.
fn shown(error: &sqlx::Error) -> String {
    let Some(error) = error.as_database_error() else { return error.to_string() };
    let message = error.message();
    match error.code().as_deref() {
        // PostgreSQL, MySQL: invalid_authorization_specification, invalid_password.
        Some("28000" | "28P01") => {
            format!("{message}; correct password-file, or the user in url")
        }
        // SQLite: SQLITE_CANTOPEN.
        Some("14") => format!("{message}; correct url, or let the server's user read the file"),
        Some(_) | None => message.to_owned(),
    }
}

/// Shorter than the idle time-outs of firewalls: a connection that they have dropped would cost a
/// login the whole deadline.
const LONGEST_IDLE: Duration = Duration::from_secs(60);

/// How long closing may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
