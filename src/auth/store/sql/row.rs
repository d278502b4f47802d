//! From a row of a database to an account.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use sqlx::mysql::{MySql, MySqlRow};
use sqlx::postgres::{PgRow, Postgres};
use sqlx::sqlite::{Sqlite, SqliteRow};
use sqlx::{Column as _, Row, Type, TypeInfo as _, ValueRef as _};

use crate::auth::WeakSchemes;
use crate::auth::{Account, Attributes, Verifier};

/// The columns that mean something; others are left alone.
pub(super) const COLUMNS: [&str; 5] = ["password", "home", "mail", "pop3", "sessions"];

/// A row whose cells can be read whatever the database is.
pub(super) trait Cells: Row {
    /// What is in a column, counted from 0, and the name that its type has in the database.
    ///
    /// # Errors
    /// That it cannot be read, in words of the driver.
    fn cell(&self, column: usize) -> Result<(Cell<'_>, String), sqlx::Error>;
}

/// What is in a column.
pub(super) enum Cell<'r> {
    Null,
    /// Text or octets.
    Text(&'r [u8]),
    /// A number, or 1 for true and 0 for false.
    Integer(i128),
    /// What none of our columns can be.
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

/// The account that a row describes.
///
/// # Errors
/// What is wrong with it and what to write; shows nothing secret.
pub(super) fn account<R: Cells>(row: &R, weak: WeakSchemes) -> Result<Account, String> {
    let attributes = Attributes {
        home: column(row, "home", home)?.flatten(),
        mail: column(row, "mail", mail)?.flatten(),
        pop3: column(row, "pop3", pop3)?.unwrap_or(true),
        sessions: column(row, "sessions", sessions)?,
    };
    if position(row, "password")?.is_none() {
        return Err("the query has no column password, name one so with AS password".into());
    }
    let verifier =
        column(row, "password", |cell| text(cell).map(|stored| Verifier::parse(stored, weak)))?;
    let verifier = verifier.unwrap_or_else(|| Verifier::unusable("its password is NULL"));
    Ok(Account { verifier, attributes })
}

/// What a column holds; nothing when there is no such column, or NULL in it.
fn column<'r, R: Cells, T>(
    row: &'r R,
    name: &str,
    read: impl FnOnce(&Cell<'r>) -> Result<T, &'static str>,
) -> Result<Option<T>, String> {
    let Some(position) = position(row, name)? else { return Ok(None) };
    let (cell, kind) = row.cell(position).map_err(|error| format!("column {name}: {error}"))?;
    if matches!(cell, Cell::Null) {
        return Ok(None);
    }
    let wrong = |what| format!("the column {name} ({kind}) {what}");
    read(&cell).map(Some).map_err(wrong)
}

fn position<R: Row>(row: &R, name: &str) -> Result<Option<usize>, String> {
    let mut named = row.columns().iter().filter(|column| column.name().eq_ignore_ascii_case(name));
    match (named.next(), named.next()) {
        (_, Some(_)) => Err(format!("the query has two columns {name}, leave one of them out")),
        (found, None) => Ok(found.map(sqlx::Column::ordinal)),
    }
}

fn text<'r>(cell: &Cell<'r>) -> Result<&'r str, &'static str> {
    match cell {
        Cell::Text(octets) => std::str::from_utf8(octets).map_err(|_| "is not UTF-8"),
        Cell::Null | Cell::Integer(_) | Cell::Other => Err("is not text, write CAST(… AS …)"),
    }
}

/// Nothing where the column is empty.
fn home(cell: &Cell<'_>) -> Result<Option<PathBuf>, &'static str> {
    match text(cell)? {
        "" => Ok(None),
        path if path.contains('\0') => Err("has a NUL character in its path"),
        path if Path::new(path).is_absolute() => Ok(Some(path.into())),
        _ => Err("is not a whole path, begin it with \"/\""),
    }
}

/// A path as in `home`, or as Dovecot writes it: `maildir:/path:OPTION=…`.
fn mail(cell: &Cell<'_>) -> Result<Option<PathBuf>, &'static str> {
    let Some(location) = text(cell)?.strip_prefix("maildir:") else { return home(cell) };
    let path = location.split(':').next().unwrap_or_default();
    home(&Cell::Text(path.as_bytes()))
}

fn pop3(cell: &Cell<'_>) -> Result<bool, &'static str> {
    const WRONG: &str = "does not say whether the user may use POP3, write 1 or 0, y or n";
    match cell {
        Cell::Integer(1) => Ok(true),
        Cell::Integer(0) => Ok(false),
        Cell::Text(octets) => match octets.to_ascii_lowercase().as_slice() {
            b"y" | b"yes" | b"true" | b"1" => Ok(true),
            b"n" | b"no" | b"false" | b"0" => Ok(false),
            _ => Err(WRONG),
        },
        Cell::Integer(_) | Cell::Null | Cell::Other => Err(WRONG),
    }
}

fn sessions(cell: &Cell<'_>) -> Result<NonZeroU32, &'static str> {
    const WRONG: &str = "is not a number of sessions, write 1 or more, or NULL for no limit";
    match cell {
        Cell::Integer(number) => u32::try_from(*number).ok().and_then(NonZeroU32::new).ok_or(WRONG),
        Cell::Null | Cell::Text(_) | Cell::Other => Err(WRONG),
    }
}

/// The text in the first column.
pub(super) fn text_of<R: Cells>(row: &R) -> Result<String, String> {
    let (cell, _) = row.cell(0).map_err(|error| error.to_string())?;
    text(&cell).map(str::to_owned).map_err(str::to_owned)
}
