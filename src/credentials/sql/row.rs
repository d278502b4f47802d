//! From a row of a database to an account.

use sqlx::mysql::{MySql, MySqlRow};
use sqlx::postgres::{PgRow, Postgres};
use sqlx::sqlite::{Sqlite, SqliteRow};
use sqlx::{Column as _, Row, Type, TypeInfo as _, ValueRef as _};

use crate::credentials::Account;
use crate::credentials::attribute::{Attribute, Source};
use crate::password::{Verifier, WeakSchemes};

/// The columns that mean something; others are left alone.
pub(super) const COLUMNS: [&str; 6] =
    ["password", "home", "mail", "pop3", "sessions", "allow_nets"];

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
    let attributes = Described(row).attributes()?;
    if position(row, "password")?.is_none() {
        return Err("the query has no column password, name one so with AS password".into());
    }
    let verifier =
        column(row, "password", |cell| text(cell).map(|stored| Verifier::parse(stored, weak)))?;
    let verifier = verifier.unwrap_or_else(|| Verifier::unusable("its password is NULL"));
    Ok(Account { verifier, attributes })
}

/// What a column holds; `None` when there is no such column, or NULL in it.
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

/// A row that describes a user.
struct Described<'r, R>(&'r R);

impl<R: Cells> Source for Described<'_, R> {
    fn read<T>(
        &self,
        attribute: Attribute,
        parse: impl Fn(&str) -> Result<T, &'static str>,
    ) -> Result<Option<T>, String> {
        let (name, is_number) = match attribute {
            Attribute::Home => ("home", false),
            Attribute::Mail => ("mail", false),
            Attribute::Pop3 => ("pop3", true),
            Attribute::Sessions => ("sessions", true),
            Attribute::AllowNets => ("allow_nets", false),
        };
        column(self.0, name, |cell| match cell {
            Cell::Integer(number) if is_number => parse(&number.to_string()),
            Cell::Integer(_) | Cell::Text(_) | Cell::Null | Cell::Other => parse(text(cell)?),
        })
    }
}

/// The text in the first column.
pub(super) fn text_of<R: Cells>(row: &R) -> Result<String, String> {
    let (cell, _) = row.cell(0).map_err(|error| error.to_string())?;
    text(&cell).map(str::to_owned).map_err(str::to_owned)
}
