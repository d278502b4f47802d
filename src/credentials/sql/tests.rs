//! SQLite databases: what rows mean, and what follows from errors.

use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;
use crate::config::Asking;
use crate::protocol::{Placeholder, Secret, Template};

const USERS: &str = "\
    CREATE TABLE users (name text, password, home, mail, pop3, sessions, note, allow_nets);\
    INSERT INTO users (name, password) VALUES\
      ('mrose', '{PLAIN}tanstaaf'), ('o''brien', CAST('{PLAIN}x' AS BLOB)), ('locked', NULL),\
      ('twice', '{PLAIN}x'), ('twice', '{PLAIN}x'), ('number', 17), ('latin', X'E9'),\
      ('app', '{SSHA256}7ioXXfxlhBz+JrAsDtjyPnLeKlRV/6B4pXs1GJEN/tZzb21lc2FsdHNvbWVzYWx0');\
    INSERT INTO users (name, password, home, mail, pop3, sessions) VALUES\
      ('bob', '{PLAIN}x', '/home/bob', 'maildir:/srv/bob:INDEX=/x', 1, 3),\
      ('carol', '{PLAIN}x', '', '/srv/a:b', 'No', NULL),\
      ('relative', '{PLAIN}x', 'home/bob', NULL, 1, NULL),\
      ('tilde', '{PLAIN}x', NULL, 'maildir:~/Maildir', 1, NULL),\
      ('maybe', '{PLAIN}x', NULL, NULL, 'maybe', NULL),\
      ('none', '{PLAIN}x', NULL, NULL, 1, 0), ('real', '{PLAIN}x', NULL, NULL, 1.5, NULL);\
    INSERT INTO users (name, password, allow_nets) VALUES\
      ('dave', '{PLAIN}x', '192.0.2.0/24, ::1'), ('nowhere', '{PLAIN}x', '');";

const QUERY: &str = "SELECT * FROM users WHERE name = {user}";

fn section(url: &str, query: &str) -> SqlSection {
    let query = Template::parse(query, &Placeholder::OF_A_NAME).unwrap();
    let asking = Asking { deadline: Duration::from_millis(500), at_once: NonZeroU32::MIN };
    let url = url.to_owned();
    SqlSection {
        url,
        password_file: None,
        ca: None,
        query,
        update_query: None,
        list_query: None,
        asking,
    }
}

fn store(url: &str, query: &str) -> SqlStore {
    SqlStore::open(&section(url, query), WeakSchemes::Refused).unwrap()
}

async fn file(directory: &Path) -> String {
    let path = directory.join("users.sqlite");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    sqlx::raw_sql(USERS).execute(&mut connection).await.unwrap();
    sqlx::Connection::close(connection).await.unwrap();
    format!("sqlite://{}", path.display())
}

async fn look_up(store: &SqlStore, name: &str) -> Result<Option<Account>, String> {
    match store.look_up(&Username::try_from(name).unwrap()).await {
        Lookup::Found(account) => Ok(Some(account)),
        Lookup::Unknown => Ok(None),
        Lookup::Unavailable(why) => Err(why.to_string()),
        Lookup::Perhaps(account) => panic!("{name}: {account:?}"),
    }
}

#[tokio::test]
async fn the_columns_of_a_row_are_the_attributes_of_the_user() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&file(directory.path()).await, QUERY);
    for (name, password) in [("mrose", "tanstaaf"), ("o'brien", "x")] {
        let account = look_up(&store, name).await.unwrap().unwrap();
        assert_eq!(account.verifier.verify(password.as_bytes()), Ok(true), "{name}");
        assert_eq!(account.attributes, crate::credentials::Attributes::default());
    }
    let bob = look_up(&store, "bob").await.unwrap().unwrap().attributes;
    assert_eq!(bob.home.as_deref(), Some(Path::new("/home/bob")));
    assert_eq!(bob.mail.as_deref(), Some(Path::new("/srv/bob")));
    assert_eq!((bob.pop3, bob.sessions), (true, NonZeroU32::new(3)));
    let carol = look_up(&store, "carol").await.unwrap().unwrap().attributes;
    assert_eq!((carol.home, carol.mail.as_deref()), (None, Some(Path::new("/srv/a:b"))));
    assert_eq!((carol.pop3, carol.sessions), (false, None));
    let dave = look_up(&store, "dave").await.unwrap().unwrap().attributes;
    assert_eq!(dave.allow_nets.unwrap().to_string(), "192.0.2.0/24, ::1/128");
    let locked = look_up(&store, "locked").await.unwrap().unwrap();
    let crate::password::Verifier::Unusable(why) = locked.verifier else { panic!() };
    assert_eq!(why.to_string(), "its password is NULL");
}

#[tokio::test]
async fn the_password_of_the_database_is_not_shown() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "tanstaaf\n").unwrap();
    for url in ["postgres://restante@localhost/mail", "mysql://restante@localhost/mail"] {
        let password_file = Some(secret.path().to_owned());
        let section = SqlSection { password_file, ..section(url, QUERY) };
        let shown = format!("{:?}", SqlStore::open(&section, WeakSchemes::Refused).unwrap());
        assert!(shown.contains(url) && !shown.contains("tanstaaf"), "{shown}");
    }
}

#[tokio::test]
async fn a_name_finds_its_own_user_only() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&file(directory.path()).await, QUERY);
    for name in ["nobody", "' OR 1=1 --", "x'; DROP TABLE users; --", "%", "?", "$1"] {
        assert!(look_up(&store, name).await.unwrap().is_none(), "{name}");
    }
    assert!(look_up(&store, "mrose").await.unwrap().is_some());
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_not_a_wrong_password() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&file(directory.path()).await, QUERY);
    for (name, hint) in [
        ("twice", "several rows"),
        ("number", "password (INTEGER) is not text"),
        ("latin", "password (BLOB) is not UTF-8"),
        ("relative", "home (TEXT) is not a whole path"),
        ("tilde", "mail (TEXT) is below a home directory"),
        ("maybe", "pop3 (TEXT) does not say"),
        ("real", "pop3 (REAL) is not text"),
        ("nowhere", "allow_nets (TEXT) names no network"),
        ("none", "sessions (INTEGER) is not a number of sessions"),
    ] {
        let why = look_up(&store, name).await.unwrap_err();
        assert!(why.contains(hint), "{name}: {why}");
    }
    // None of these errors means that the database is down.
    assert!(store.down().is_none());
    assert!(look_up(&store, "mrose").await.unwrap().is_some());
}

/// The digest of the app password, as a value in a query.
const APP: &str = "(SELECT password FROM users WHERE name = 'app')";
const APP_PASSWORD: &str = "abcd-efgh-ijkm-npqr-stuv-wxyz";

#[tokio::test]
async fn rows_with_a_name_are_app_passwords() {
    let directory = tempfile::tempdir().unwrap();
    let url = file(directory.path()).await;
    let own = "SELECT password, home, NULL AS app_password FROM users WHERE name = {user}";
    let app = |row: &str| format!("{own} UNION ALL SELECT {row}");
    let found = async |query: &str, name: &str| {
        let account = look_up(&store(&url, query), name).await?;
        Ok::<_, String>(account.map(|account| {
            let found = account.app_passwords.find(&Secret::new(APP_PASSWORD.into()));
            found.map(ToString::to_string)
        }))
    };
    let named = |name: &str| Ok(Some(Some(name.to_owned())));
    for (row, shown) in [("'phone'", "phone"), ("'Jörg''s phone'", "J_rg's_phone")] {
        assert_eq!(found(&app(&format!("{APP}, NULL, {row}")), "mrose").await, named(shown));
    }
    // The order of the rows does not matter, nor attributes that are those of the user.
    let first = format!("SELECT {APP} AS password, '/home/bob' AS home, 'phone' AS app_password");
    assert_eq!(found(&format!("{first} UNION ALL {own}"), "bob").await, named("phone"));
    assert_eq!(found(&format!("{first} UNION ALL {own}"), "mrose").await, Ok(Some(None)));
    // App passwords alone make no user, and one that cannot be used does not keep the user out.
    assert_eq!(found(&app(&format!("{APP}, NULL, 'phone'")), "nobody").await, Ok(None));
    let plain = "(SELECT password FROM users WHERE name = 'bob'), NULL, 'phone'";
    for unusable in ["NULL, NULL, 'phone'", plain] {
        assert_eq!(found(&app(unusable), "mrose").await, Ok(Some(None)), "{unusable}");
    }
    for (query, hint) in [
        (app(&format!("{APP}, NULL, ''")), "several rows of the user"),
        (app(&format!("{APP}, NULL, NULL")), "several rows of the user"),
        (app(&format!("{APP}, NULL, 17")), "app_password (INTEGER) is not text"),
        (
            format!(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000) \
                 SELECT {APP} AS password, {{user}} || i AS app_password FROM n"
            ),
            "more than 26 rows",
        ),
    ] {
        let why = found(&query, "mrose").await.unwrap_err();
        assert!(why.contains(hint), "{query}: {why}");
    }
    let locked = look_up(&store(&url, &app(&format!("{APP}, NULL, 'phone'"))), "locked").await;
    assert!(locked.unwrap().unwrap().takes_only_app_passwords());
}

#[tokio::test]
async fn the_query_is_checked_before_the_first_login() {
    let directory = tempfile::tempdir().unwrap();
    let url = file(directory.path()).await;
    let reached = store(&url, QUERY).probe().await.unwrap();
    assert!(reached.starts_with("SQLite 3."), "{reached}");
    let columns = "columns password, home, mail, pop3, sessions, allow_nets; of no use here are name, \
                   note";
    assert!(reached.ends_with(columns), "{reached}");
    for (query, hint) in [
        ("SELECT name FROM users WHERE name = {user}", "AS password"),
        ("SELECT password FROM people WHERE name = {user}", "no such table: people"),
        ("SELECT password FROM users WHERE nome = {user}", "no such column: nome"),
        ("SELEKT password FROM users WHERE name = {user}", "syntax error"),
    ] {
        let why = store(&url, query).probe().await.unwrap_err().to_string();
        assert!(why.contains(hint), "{query}: {why}");
    }
}

/// A store with these queries besides the one for a login.
fn store_with(url: &str, update: Option<&str>, list: Option<&str>) -> SqlStore {
    let update_query = update.map(|it| Template::parse(it, &Placeholder::OF_A_NAME).unwrap());
    let list_query = list.map(str::to_owned);
    let section = SqlSection { update_query, list_query, ..section(url, QUERY) };
    SqlStore::open(&section, WeakSchemes::Refused).unwrap()
}

#[tokio::test]
async fn logins_are_recorded_in_a_column() {
    const UPDATE: &str = "UPDATE users SET note = 'seen' WHERE name = {user}";
    let directory = tempfile::tempdir().unwrap();
    let url = file(directory.path()).await;
    let users = ["mrose", "o'brien", "nobody", "' OR 1=1 --"];
    let users = users.map(|name| Username::try_from(name).unwrap());
    let list = "SELECT name FROM users WHERE note = 'seen' ORDER BY name";
    let seen = store_with(&url, Some(UPDATE), Some(list));
    seen.probe().await.unwrap();
    assert_eq!(seen.users().await.unwrap(), Some(Vec::new()));
    seen.record_logins(&users).await.unwrap();
    let listed = seen.users().await.unwrap().unwrap();
    assert_eq!(listed.iter().map(Username::as_str).collect::<Vec<_>>(), ["mrose", "o'brien"]);
    // Without the keys, nothing is written or listed.
    let neither = store(&url, QUERY);
    neither.record_logins(&users).await.unwrap();
    assert_eq!(neither.users().await.unwrap(), None);
}

#[tokio::test]
async fn names_that_nobody_can_have_are_not_listed() {
    let directory = tempfile::tempdir().unwrap();
    let url = file(directory.path()).await;
    let list = "SELECT 'MRose' UNION ALL SELECT '../up' UNION ALL SELECT NULL";
    let users = store_with(&url, None, Some(list)).users().await.unwrap();
    assert_eq!(users, Some(vec![Username::try_from("mrose").unwrap()]));
    let why = store_with(&url, None, Some("SELECT 17")).users().await.unwrap_err();
    assert!(why.to_string().contains("the column name (INTEGER) is not text"), "{why}");
}

#[tokio::test]
async fn the_other_queries_are_checked_as_well() {
    let directory = tempfile::tempdir().unwrap();
    let url = file(directory.path()).await;
    let update = "UPDATE users SET seen = 1 WHERE name = {user}";
    for (update, list, hint) in [
        (Some(update), None, "update-query: no such column"),
        (None, Some("SELECT name FROM people"), "list-query: no such table"),
    ] {
        let store = store_with(&url, update, list);
        let why = store.probe().await.unwrap_err().to_string();
        assert!(why.contains(hint), "{why}");
        // They are not needed for a login.
        assert!(look_up(&store, "mrose").await.unwrap().is_some());
    }
}

#[tokio::test]
async fn the_file_of_a_database_can_only_be_read_and_may_be_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let url = file(directory.path()).await;
    let delete = "DELETE FROM users WHERE name = {user} RETURNING password";
    let why = look_up(&store(&url, delete), "mrose").await.unwrap_err();
    assert!(why.contains("readonly"), "{why}");
    let store = store(&url, QUERY);
    assert!(look_up(&store, "mrose").await.unwrap().is_some());
    std::fs::remove_file(directory.path().join("users.sqlite")).unwrap();
    assert!(look_up(&store, "mrose").await.is_err());
}

#[tokio::test]
async fn a_database_that_is_missing_or_never_answers_is_unavailable_in_time() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_at = silent.local_addr().unwrap();
    for scheme in ["postgres", "mysql"] {
        for (address, hint) in [(closed, "refused"), (silent_at, "no answer within 500ms")] {
            let store = store(&format!("{scheme}://restante@{address}/mail"), QUERY);
            let why = timeout(Duration::from_secs(5), look_up(&store, "mrose")).await;
            let why = why.unwrap().unwrap_err();
            assert!(why.contains(hint), "{scheme}: {why}");
        }
    }
}

#[tokio::test]
async fn names_that_lead_to_one_account_have_one_key() {
    let directory = tempfile::tempdir().unwrap();
    let url = file(directory.path()).await;
    let key = async |query: &str, name: &str| {
        let store = store(&url, query);
        let found = look_up(&store, name).await.unwrap();
        store.account_key(&Username::try_from(name).unwrap(), found.as_ref())
    };
    // Known or not, the local part is the key.
    let by_local = "SELECT password FROM users WHERE name = {local}";
    for name in ["mrose@x1.example", "mrose@x2.example", "mrose"] {
        assert_eq!(key(by_local, name).await, Some(b"mrose".to_vec()));
    }
    assert_eq!(key(by_local, "nobody@x1.example").await, Some(b"nobody".to_vec()));
    let hashes = "SELECT '$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$Waw5CMYpE0kO719XekarvkwAxsj\
         cHKMv' AS password FROM users WHERE name = substr({user}, 1, 5)";
    let alias = key(hashes, "mrose@x1.example").await;
    assert!(alias.is_some() && alias == key(hashes, "mrose@x2.example").await);
    assert_eq!(key(hashes, "other@x1.example").await, None);
    // Two users with the same password must not find that out.
    assert_eq!(key(QUERY, "mrose").await, None);
    assert_eq!(key(QUERY, "bob").await, Some(b"/srv/bob".to_vec()));
}

#[tokio::test]
async fn unknown_users_cost_what_known_ones_cost() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&file(directory.path()).await, QUERY);
    let first = Username::try_from("nobody").unwrap();
    assert!(store.decoy(&first).is_none());
    look_up(&store, "mrose").await.unwrap();
    let second = Username::try_from("somebody").unwrap();
    let decoy = store.decoy(&second).and_then(|decoy| decoy.verifier.cost());
    assert_eq!(decoy, Some(crate::password::Cost::Negligible));
    // A name keeps its decoy, even through a reload.
    let next = super::tests::store(&store.url, QUERY);
    next.replace(&store);
    assert!(store.decoy(&first).is_none() && next.decoy(&first).is_none());
    assert!(next.decoy(&second).is_some());
}
