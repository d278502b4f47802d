//! From the rows of a database to an account.

use sqlx::mysql::{MySql, MySqlRow};
use sqlx::postgres::{PgRow, Postgres};
use sqlx::sqlite::{Sqlite, SqliteRow};
use sqlx::{Column as _, Row, Type, TypeInfo as _, ValueRef as _};
use tracing::debug;

use crate::credentials::app_password::MOST;
use crate::credentials::attribute::{self, Attribute};
use crate::credentials::{Account, AppPasswordName, Attributes};
use crate::password::{FieldError, Verifier, WeakSchemes};
use crate::protocol::Username;

/// The columns that are used; others are ignored.
pub(super) const COLUMNS: [&str; 7] =
    ["password", "home", "mail", "pop3", "sessions", "allow_nets", APP_PASSWORD];

/// The column with the name of an app password. It is NULL or empty in the user's own row.
const APP_PASSWORD: &str = "app_password";

/// The most rows of a user: the user's own, and one for each app password.
pub(super) const MOST_ROWS: usize = 1 + MOST;

/// Why a row does not describe an account. Shows no value.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the query has no column password, name one so with AS password")]
    NoPassword,
    #[error("the query has two columns {0}, leave one of them out")]
    TwoColumns(&'static str),
    #[error("the query finds several rows of the user, it must find one without {APP_PASSWORD}")]
    SeveralRows,
    #[error(
        "the query finds more than {MOST_ROWS} rows, one for the user and {MOST} app passwords"
    )]
    TooManyRows,
    #[error("column {0}: {1}")]
    Driver(&'static str, sqlx::Error),
    #[error("the column {name} ({kind}) {error}")]
    Value { name: &'static str, kind: String, error: ValueError },
}

/// What is wrong with the value in a column.
#[derive(Debug, thiserror::Error)]
pub(super) enum ValueError {
    #[error("is not text, write CAST(… AS …)")]
    NotText,
    #[error(transparent)]
    Attribute(#[from] attribute::Error),
}

/// A row whose cells can be read, whatever the database.
pub(super) trait Cells: Row {
    /// The cell in a column, counted from 0, and the name of its type in the database.
    fn cell(&self, column: usize) -> Result<(Cell<'_>, String), sqlx::Error>;
}

/// The value in a column.
pub(super) enum Cell<'r> {
    Null,
    /// Text or octets.
    Text(&'r [u8]),
    /// A number, or 1 for true and 0 for false.
    Integer(i128),
    /// A value that is not valid in any of our columns.
    Other,
}

/// Reads the cells of one database, whose integers are of these types.
macro_rules! cells {
    ($row:ty, $database:ty, [$($integer:ty),+]) => {
        impl Cells for $row {
            fn cell(&self, column: usize) -> Result<(Cell<'_>, String), sqlx::Error> {
                let raw = self.try_get_raw(column)?;
                let (is_null, kind) = (raw.is_null(), raw.type_info().into_owned());
                let cell = if is_null {
                    Cell::Null
                } else if <&str as Type<$database>>::compatible(&kind)
                    || <&[u8] as Type<$database>>::compatible(&kind)
                {
                    Cell::Text(self.try_get_unchecked(column)?)
                } $(else if <$integer as Type<$database>>::compatible(&kind) {
                    Cell::Integer(self.try_get_unchecked::<$integer, _>(column)?.into())
                })+ else {
                    Cell::Other
                };
                Ok((cell, kind.name().to_owned()))
            }
        }
    };
}

cells!(PgRow, Postgres, [bool, i16, i32, i64]);
cells!(MySqlRow, MySql, [i64, u64]);
cells!(SqliteRow, Sqlite, [i64, bool]);

/// The account that the rows of a user describe. `None` without the user's own row: app passwords
/// alone make no user.
pub(super) fn account<R: Cells>(
    rows: &[R],
    name: &Username,
    weak: WeakSchemes,
) -> Result<Option<Account>, Error> {
    if rows.len() > MOST_ROWS {
        return Err(Error::TooManyRows);
    }
    let (mut own, mut app_passwords) = (None, Vec::new());
    for row in rows {
        let described = described(row, weak)?;
        match app_password(row)? {
            Some(app_password) => app_passwords.push((app_password, described)),
            None if own.is_none() => own = Some(described),
            None => return Err(Error::SeveralRows),
        }
    }
    let Some(mut own) = own else { return Ok(None) };
    for (app_password, described) in app_passwords {
        let Account { app_passwords, attributes, .. } = &mut own;
        if let Err(why) = app_passwords.add(app_password.clone(), described, attributes) {
            debug!(user = %name, %app_password, %why, "an app password is not used");
        }
    }
    Ok(Some(own))
}

/// The name of the app password in a row; `None` in the user's own row.
fn app_password<R: Cells>(row: &R) -> Result<Option<AppPasswordName>, Error> {
    let name = column(row, APP_PASSWORD, |cell| text(cell).map(str::to_owned))?;
    Ok(name.filter(|name| !name.is_empty()).map(|name| AppPasswordName::shown(&name)))
}

/// The password and the attributes in a row.
fn described<R: Cells>(row: &R, weak: WeakSchemes) -> Result<Account, Error> {
    let attributes = attributes(row)?;
    if position(row, "password")?.is_none() {
        return Err(Error::NoPassword);
    }
    let verifier =
        column(row, "password", |cell| text(cell).map(|stored| Verifier::parse(stored, weak)))?;
    let verifier = verifier.unwrap_or_else(|| Verifier::unusable(FieldError::Null));
    Ok(Account { attributes, ..Account::new(verifier) })
}

/// The attributes in the columns of a row.
fn attributes<R: Cells>(row: &R) -> Result<Attributes, Error> {
    let mut attributes = Attributes::default();
    for attribute in Attribute::ALL {
        let (name, is_number) = match attribute {
            Attribute::Home => ("home", false),
            Attribute::Mail => ("mail", false),
            Attribute::Pop3 => ("pop3", true),
            Attribute::Sessions => ("sessions", true),
            Attribute::AllowNets => ("allow_nets", false),
        };
        column(row, name, |cell| match cell {
            Cell::Integer(number) if is_number => {
                attributes.set(attribute, &number.to_string()).map_err(ValueError::from)
            }
            Cell::Integer(_) | Cell::Text(_) | Cell::Null | Cell::Other => {
                attributes.set(attribute, text(cell)?).map_err(ValueError::from)
            }
        })?;
    }
    Ok(attributes)
}

/// The text in the first column, which is called `what` in an error; empty for NULL.
pub(super) fn first<R: Cells>(row: &R, what: &'static str) -> Result<String, Error> {
    let text = value(row, 0, what, |cell| text(cell).map(str::to_owned))?;
    Ok(text.unwrap_or_default())
}

/// The value in a column; `None` when there is no such column, or NULL in it.
fn column<'r, R: Cells, T>(
    row: &'r R,
    name: &'static str,
    read: impl FnOnce(&Cell<'r>) -> Result<T, ValueError>,
) -> Result<Option<T>, Error> {
    position(row, name)?.map_or(Ok(None), |position| value(row, position, name, read))
}

fn position<R: Row>(row: &R, name: &'static str) -> Result<Option<usize>, Error> {
    let mut named = row.columns().iter().filter(|column| column.name().eq_ignore_ascii_case(name));
    match (named.next(), named.next()) {
        (_, Some(_)) => Err(Error::TwoColumns(name)),
        (found, None) => Ok(found.map(sqlx::Column::ordinal)),
    }
}

fn value<'r, R: Cells, T>(
    row: &'r R,
    position: usize,
    name: &'static str,
    read: impl FnOnce(&Cell<'r>) -> Result<T, ValueError>,
) -> Result<Option<T>, Error> {
    let (cell, kind) = row.cell(position).map_err(|error| Error::Driver(name, error))?;
    if matches!(cell, Cell::Null) {
        return Ok(None);
    }
    read(&cell).map(Some).map_err(|error| Error::Value { name, kind, error })
}

fn text<'r>(cell: &Cell<'r>) -> Result<&'r str, ValueError> {
    match cell {
        Cell::Text(octets) => Ok(str::from_utf8(octets).map_err(|_| attribute::Error::NotUtf8)?),
        Cell::Null | Cell::Integer(_) | Cell::Other => Err(ValueError::NotText),
    }
}
