//! `restante last`: the last login of each user.

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use x509_cert::der::DateTime;

use super::control::print_json;
use super::control::table::{Table, now, since, span};
use super::{CONFIG, Failure, duration, print};
use crate::config::{Config, Credentials};
use crate::credentials::edit;
use crate::last_login::{FileError, Login, Record};
use crate::password::WeakSchemes;
use crate::protocol::Username;
use crate::server::{self, stores};

/// `restante last`
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
        restante last\n  \
        restante last --older-than 180d    # the names of users who have not logged in since")]
pub struct Args {
    /// The configuration file of the server, which names the file of last logins.
    #[arg(long, short, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
    /// Print only the names of users without a login for this long, one a line.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    older_than: Option<Duration>,
    /// Print JSON, an object a line.
    #[arg(long)]
    json: bool,
}

/// A user, as `--json` prints it.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct User {
    user: String,
    /// `None`: no login since the file was begun.
    last: Option<u64>,
    logins: u64,
    /// When the file was begun.
    since: u64,
}

/// Prints the users, those with the oldest login first.
///
/// # Errors
/// [`Failure`] when no logins are recorded, or a credential file cannot be read.
pub fn run(args: Args) -> Result<(), Failure> {
    let Args { config: path, older_than, json } = args;
    let config = Config::load(&path).map_err(Failure::of)?;
    if !config.last_logins.enabled {
        let file = path.display();
        let why = format!("{file} has last-logins.enabled = false, so no logins are recorded");
        return Err(Failure::new(why));
    }
    let record = Record::read(&config.last_logins.path)?;
    let Listed { names, unlisted } = Listed::of(&config)?;
    let mut users = users(&record, names, unlisted.is_some());
    if let Some(age) = older_than {
        let before = now().saturating_sub(age.as_secs());
        users.retain(|user| user.last.unwrap_or(record.since) < before);
    }
    match (json, older_than) {
        (true, _) => users.iter().try_for_each(print_json),
        (false, Some(_)) => {
            print(users.iter().map(|user| format!("{}\n", user.user)).collect::<String>())
        }
        (false, None) => {
            print(table(&users).block())?;
            explain(record.since, unlisted)
        }
    }
}

/// The users of the credential stores.
struct Listed {
    names: BTreeSet<Username>,
    /// The kind of a store whose users cannot be listed.
    unlisted: Option<&'static str>,
}

impl Listed {
    fn of(config: &Config) -> Result<Self, Failure> {
        let weak = WeakSchemes::from(config.auth.weak_schemes);
        let mut listed = Self { names: BTreeSet::new(), unlisted: None };
        for store in &config.credentials {
            match store {
                Credentials::File(file) => {
                    let users = edit::list(&file.path, weak).map_err(Failure::of)?;
                    listed.names.extend(users.into_iter().map(|user| user.name));
                }
                Credentials::Sql(sql) if sql.list_query.is_some() => {
                    let ask = || stores::users(store, weak);
                    let users = match &config.run_as {
                        Some(user) => server::as_server(Some(user), ask).map_err(Failure::of)?,
                        None => ask(),
                    };
                    listed.names.extend(users.map_err(Failure::of)?.into_iter().flatten());
                }
                Credentials::Sql(_)
                | Credentials::Ldap(_)
                | Credentials::Pam(_)
                | Credentials::Checkpassword(_)
                | Credentials::Oauth2(_) => {
                    listed.unlisted.get_or_insert(store.kind());
                }
            }
        }
        Ok(listed)
    }
}

/// The users of the stores with their logins, the oldest first; also those of the file that are in no
/// store, if a store does not list its users.
fn users(record: &Record, mut names: BTreeSet<Username>, is_incomplete: bool) -> Vec<User> {
    if is_incomplete {
        names.extend(record.logins.keys().cloned());
    }
    let user = |name: Username| {
        let login = record.logins.get(&name);
        User {
            last: login.map(|login| login.last),
            logins: login.map_or(0, |&Login { count, .. }| count),
            since: record.since,
            user: name.as_str().to_owned(),
        }
    };
    let mut users: Vec<_> = names.into_iter().map(user).collect();
    // Users with the same time stay in the order of their names.
    users.sort_by_key(|user| user.last);
    users
}

fn table(users: &[User]) -> Table {
    let mut table = Table::new(&["USER", "LAST LOGIN", "AGO", "LOGINS"]);
    for User { user, last, logins, .. } in users {
        let last_login = last.map_or_else(|| "-".to_owned(), date);
        let ago = last.map_or_else(|| "-".to_owned(), |last| span(since(last)));
        table.push([user.clone(), last_login, ago, logins.to_string()]);
    }
    table
}

/// Says what the table does not show.
fn explain(since: u64, unlisted: Option<&str>) -> Result<(), Failure> {
    let mut text = format!("Logins are recorded since {}.\n", date(since));
    if let Some(kind) = unlisted {
        text += &format!(
            "The store of kind {kind:?} does not list its users: those without a login are not shown.\n"
        );
        if kind == "sql" {
            text += "With list-query in its section, it does.\n";
        }
    }
    let written = io::stderr().write_all(text.as_bytes());
    written.map_err(|error| Failure::new(format!("cannot write: {error}")))
}

/// A point in time in UTC.
fn date(seconds: u64) -> String {
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    let date = time.and_then(|time| DateTime::from_system_time(time).ok());
    date.map_or_else(|| seconds.to_string(), |date| date.to_string())
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        let kind = match &error {
            FileError::System { error, .. } => Some(error.kind()),
            FileError::Foreign(_) => None,
        };
        let hint = if kind == Some(io::ErrorKind::PermissionDenied) {
            "; run this as root, or as the user of the server"
        } else if kind == Some(io::ErrorKind::NotFound) {
            "; the server makes it if the directory exists when it starts"
        } else {
            ""
        };
        Self::new(format!("{error}{hint}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> Username {
        Username::try_from(name).unwrap()
    }

    #[test]
    fn the_oldest_come_first_and_strangers_only_if_a_store_does_not_list() {
        let logins = [("mrose", 100), ("bob", 90), ("removed", 80)];
        let logins = logins.map(|(user, last)| (name(user), Login { last, count: 1 }));
        let record = Record { since: 50, logins: logins.into_iter().collect() };
        let names = || ["mrose", "new", "bob", "any"].map(name).into_iter().collect();
        let shown = |users: Vec<User>| {
            users.into_iter().map(|user| (user.user, user.last)).collect::<Vec<_>>()
        };
        let entry = |user: &str, last| (user.to_owned(), last);
        let mut expected = vec![
            entry("any", None),
            entry("new", None),
            entry("bob", Some(90)),
            entry("mrose", Some(100)),
        ];
        assert_eq!(shown(users(&record, names(), false)), expected);
        expected.insert(2, entry("removed", Some(80)));
        assert_eq!(shown(users(&record, names(), true)), expected);
    }

    #[test]
    fn dates_are_in_utc() {
        assert_eq!(date(1_764_305_512), "2025-11-28T04:51:52Z");
        assert_eq!(date(u64::MAX), u64::MAX.to_string());
    }
}
