//! A credential file that changes while the store uses it, in every way that files change.

use std::collections::HashSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio::task::JoinSet;

use super::*;
use crate::credentials::Account;
use crate::telemetry::captured::CapturedLog;
use crate::threads::paused_runtime;

struct Fixture {
    directory: TempDir,
    path: PathBuf,
}

impl Fixture {
    fn new(text: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("users");
        let fixture = Self { directory, path };
        fixture.replace(text);
        fixture
    }

    fn open(&self) -> FileStore {
        FileStore::open(&FileSection::from(&*self.path), WeakSchemes::Refused).unwrap()
    }

    /// As `restante user` and careful editors do.
    fn replace(&self, text: &str) {
        let new = self.directory.path().join("new");
        fs::write(&new, text).unwrap();
        fs::set_permissions(&new, Permissions::from_mode(0o600)).unwrap();
        fs::rename(&new, &self.path).unwrap();
    }

    /// As `echo >` does.
    fn write(&self, text: &str) {
        fs::write(&self.path, text).unwrap();
    }

    fn mode(&self, mode: u32) {
        fs::set_permissions(&self.path, Permissions::from_mode(mode)).unwrap();
    }
}

fn rehashing(fixture: &Fixture) -> FileSection {
    FileSection { path: fixture.path.clone(), rehash: true }
}

/// The plain password of a user; `None` for an unknown one.
async fn password(store: &FileStore, name: &str) -> Option<String> {
    match store.look_up(&Username::try_from(name).unwrap()).await {
        Lookup::Found(Account { verifier: Verifier::Plain(password), .. }) => {
            Some(String::from_utf8(password.expose().to_vec()).unwrap())
        }
        Lookup::Unknown => None,
        other @ (Lookup::Found(_) | Lookup::Perhaps(_) | Lookup::Unavailable(_)) => {
            panic!("{other:?}")
        }
    }
}

/// Waits for longer than the granularity of time stamps.
async fn settle() {
    tokio::time::advance(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_replaced_file_counts_at_once() {
    let fixture = Fixture::new("mrose:{PLAIN}one\n");
    let store = fixture.open();
    assert_eq!(password(&store, "mrose").await.as_deref(), Some("one"));
    assert_eq!(password(&store, "bob").await, None);
    fixture.replace("mrose:{PLAIN}two\nbob:{PLAIN}x\n");
    assert_eq!(password(&store, "mrose").await.as_deref(), Some("two"));
    assert_eq!(password(&store, "bob").await.as_deref(), Some("x"));
    // A user who is removed by `restante user remove` cannot log in any more.
    fixture.replace("mrose:{PLAIN}two\n");
    assert_eq!(password(&store, "bob").await, None);
}

#[tokio::test]
async fn an_edit_of_the_same_size_in_the_same_second_counts() {
    let fixture = Fixture::new("mrose:{PLAIN}000\n");
    let store = fixture.open();
    // Many of these edits get the same time stamp.
    for n in 100..200 {
        fixture.write(&format!("mrose:{{PLAIN}}{n}\n"));
        assert_eq!(password(&store, "mrose").await, Some(n.to_string()));
    }
}

#[test]
fn a_file_that_has_settled_is_not_read_again() {
    paused_runtime().block_on(async {
        let fixture = Fixture::new("mrose:{PLAIN}one\n");
        let store = fixture.open();
        let young = store.table().await.unwrap();
        assert!(
            !Arc::ptr_eq(&young, &store.table().await.unwrap()),
            "another change may give the same stamp"
        );
        settle().await;
        let settled = store.table().await.unwrap();
        for _ in 0..3 {
            settle().await;
            assert!(Arc::ptr_eq(&settled, &store.table().await.unwrap()));
        }
    });
}

#[tokio::test]
async fn a_faulty_file_leaves_the_users_as_they_were() {
    let fixture = Fixture::new("mrose:{PLAIN}one\n");
    let store = fixture.open();
    let long = format!("mrose:{{PLAIN}}two\n{}:{{PLAIN}}x\n", "x".repeat(256));
    for faulty in ["mrose:{PLAIN}two\nnonsense\n", ":{PLAIN}x\n", long.as_str(), "a:b\nA:b\n"] {
        fixture.replace(faulty);
        assert_eq!(password(&store, "mrose").await.as_deref(), Some("one"), "{faulty:?}");
    }
    fs::remove_file(&fixture.path).unwrap();
    assert_eq!(password(&store, "mrose").await.as_deref(), Some("one"));
    fs::create_dir(&fixture.path).unwrap();
    assert_eq!(password(&store, "mrose").await.as_deref(), Some("one"));
    fs::remove_dir(&fixture.path).unwrap();
    fixture.replace("mrose:{PLAIN}three\n");
    assert_eq!(password(&store, "mrose").await.as_deref(), Some("three"));
    fixture.write("mrose:{PLAIN}four\n");
    fixture.mode(0o602);
    assert_eq!(password(&store, "mrose").await.as_deref(), Some("three"));
    fixture.mode(0o600);
    assert_eq!(password(&store, "mrose").await.as_deref(), Some("four"));
}

#[test]
fn an_empty_file_in_the_place_of_one_with_users_is_refused() {
    paused_runtime().block_on(async {
        let fixture = Fixture::new("mrose:{PLAIN}one\n");
        let store = fixture.open();
        for empty in ["", "\n", " \n\n"] {
            for replaced in [true, false] {
                if replaced {
                    fixture.replace(empty)
                } else {
                    fixture.write(empty)
                }
                for _ in 0..3 {
                    assert_eq!(
                        password(&store, "mrose").await.as_deref(),
                        Some("one"),
                        "{empty:?}"
                    );
                    settle().await;
                }
            }
        }
        // A reload refuses it, too. At the start there is only a warning.
        let anew = fixture.open();
        let why = anew.replace(&store).unwrap_err().to_string();
        assert!(why.contains("is empty and had users before"), "{why}");
        assert!(fixture.open().replace(&anew).is_ok());
        fixture.replace("# no users\n");
        assert!(fixture.open().replace(&store).is_ok());
        password(&store, "mrose").await;
        settle().await;
        assert_eq!(password(&store, "mrose").await, None);
        fixture.replace("mrose:{PLAIN}two\n");
        assert_eq!(password(&store, "mrose").await.as_deref(), Some("two"));
    });
}

#[test]
fn a_file_that_is_being_written_never_makes_a_user_unknown() {
    paused_runtime().block_on(async {
        let old = "mrose:{PLAIN}one\nbob:{PLAIN}one\n";
        let new = "# more\nmrose:{PLAIN}longer\nbob:{PLAIN}longer\ncarol:{PLAIN}longer\n";
        let fixture = Fixture::new(old);
        let store = fixture.open();
        for cut in 0..new.len() {
            fixture.write(new.get(..cut).unwrap());
            for name in ["mrose", "bob"] {
                let found = password(&store, name).await;
                assert!(matches!(found.as_deref(), Some("one" | "longer")), "{cut}: {found:?}");
            }
        }
        fixture.write(new);
        assert_eq!(password(&store, "carol").await.as_deref(), Some("longer"));
        // A user who is removed by an editor that writes in place: a moment later.
        fixture.write("mrose:{PLAIN}longer");
        assert_eq!(password(&store, "bob").await.as_deref(), Some("longer"));
        settle().await;
        assert_eq!(password(&store, "bob").await, None);
        assert_eq!(password(&store, "mrose").await.as_deref(), Some("longer"));
    });
}

#[tokio::test]
async fn look_ups_at_the_same_time_share_one_reading() {
    let fixture = Fixture::new("mrose:{PLAIN}one\n");
    let store = Arc::new(fixture.open());
    fixture.replace("mrose:{PLAIN}two\n");
    // No look-up reads the file before all of them have asked.
    let turn = Arc::clone(&store.shared.reading).lock_owned().await;
    let asking = Arc::new(AtomicU32::new(0));
    let mut look_ups = JoinSet::new();
    for _ in 0..50 {
        let (store, asking) = (Arc::clone(&store), Arc::clone(&asking));
        look_ups.spawn(async move {
            asking.fetch_add(1, Ordering::Relaxed);
            store.table().await.unwrap()
        });
    }
    while asking.load(Ordering::Relaxed) < 50 {
        tokio::task::yield_now().await;
    }
    drop(turn);
    let tables = look_ups.join_all().await;
    let distinct: HashSet<_> = tables.iter().map(Arc::as_ptr).collect();
    assert_eq!(distinct.len(), 1);
    assert_eq!(password(&store, "mrose").await.as_deref(), Some("two"));
}

async fn log_in(store: &FileStore, name: &str, password: &str) -> bool {
    let name = Username::try_from(name).unwrap();
    let Lookup::Found(account) = store.look_up(&name).await else { return false };
    let right = account.verifier.verify(password.as_bytes()) == Ok(true);
    if right {
        let password = Secret::new(password.as_bytes().to_vec());
        store.strengthen(&name, &account.verifier, &password).await;
    }
    right
}

/// A hash of tanstaaf in each scheme, made with doveadm pw of Dovecot, mkpasswd or passlib.
const EVERY_SCHEME: &str = "\
    argon2i:{ARGON2I}$argon2i$v=19$m=32768,t=4,p=1$niBD3UWnoQ09h00ZJ74F5w$+RKuewPwylPJI+7pjg2loLfy+Iyd/nwAgdpwehBAf0w\n\
    yescrypt:$y$j75$LzQLKIb74mlnbjGNZ.xma/$fksC.o59BfwgtjYeHIW3mD1BBCHvNCzyQArUjbiHCD8\n\
    scrypt:$scrypt$ln=10,r=8,p=1$MSYEICSkdE5prbV2TgmhdA$LSrabq/H4A6gL0kNv4GQuE4oKyoLiLVzOT4CxIkq8d4\n\
    bcrypt:{BLF-CRYPT}$2y$05$CsMMocytfCBt1glN0GkuKu3IkMNqU111DTV6ReP6lhKkY67O7wNkS:5000:5000::/home::\n\
    sha512:{SHA512-CRYPT}$6$4tcSTcfjbQfefVr8$UJWeEia7WLrsjsXO/JtIRjv.Fm39XERr7LmKVbJ5cGuo4ptcus4ABHwQoZeUS.lvtTxyNufUutIXxhWdBx6gF1\n\
    sha256:{SHA256-CRYPT}$5$dCd9A8nhWSRHFRcg$aDtLHsxe0a7dX1sB2TAuC4KTWGt2TnEz4i3IGx2SR20\n\
    pbkdf2:{PBKDF2}$1$9Qbatg3Hnno2u2Ln$5000$77906a17fe598003ea8594c10a53f612367f82c4\n\
    ssha:{SSHA}CyibCMcaOdoIFzGAJQwY+Q3u96o4ISNu\n\
    ssha256:{SSHA256.HEX}6eb70203eaf2cb71fd697f00546e7faa439c9d342c42713ddb3f4510bc13067f966523a3\n\
    ssha512:{SSHA512}zn7w/YkbKjImojMyFyEzGuknyI9jKfc2GYZghWPjF7b7IaV2XrK+fy4HkcUhLURq0lOwBivKIXVl8ACoUFp1dUBKZ4M=\n\
    scram256:{SCRAM-SHA-256}4096,u08vIzdaQl9IwUFwLvyyUQ==,pHJ8/0SQW+3jf2H5lCrx3hLFHcgsSh7969ekGRQEFuc=,mnVhlejBVOpHSIMmTkxfCxcNnpjsQw0QZIhfBxJL408=\n\
    scram1:{SCRAM-SHA-1}4096,PslSbpDOe4yka5FZiIvwTA==,CPfQzoRq4qsgW0PfjUT9nxJfvVg=,Pmd6bALaWXaiabMZG3n2mTtdZkw=\n\
    plain:{PLAIN}tanstaaf\n";
const EVERY_WEAK_SCHEME: &str = "\
    md5crypt:{MD5-CRYPT}$1$VuRevUpe$X/P1TdsEEe3UOqi7LuWLK.\n\
    plainmd5:{PLAIN-MD5}b3aa0ba4e1f957e5f3ef356cfc147008\n\
    ldapmd5:{LDAP-MD5}s6oLpOH5V+Xz7zVs/BRwCA==\n\
    smd5:{SMD5}PBAYjNtq7arSBs6h2NvoKgY8ffY=\n\
    sha:{SHA}60cXn4M+9rlkPiIl1CM8mjjFKYE=\n\
    baresha256:{SHA256}2OZJiX4f3IEocTIetqYiu1a2GovhuIBYRxZR+uXBLKo=\n\
    baresha512:{SHA512}7k4B2Jp+VfRq9eIRUB9fGp9ZeNyZPWiiDRYSh7oJALW7dmzxjah/z/nf+cj/MOzDknLTjla4zoq4EfWvmjU7oA==\n";

const UNSUPPORTED_SCHEME: &str = "descrypt:{DES-CRYPT}PGrGfl1sUeZwQ\n";

fn names(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.split(':').next())
}

#[tokio::test]
async fn users_of_every_scheme_log_in_and_the_weaker_hashes_become_argon2id() {
    let fixture = Fixture::new(&[EVERY_SCHEME, EVERY_WEAK_SCHEME].concat());
    let store = FileStore::open(&rehashing(&fixture), WeakSchemes::Allowed).unwrap();
    for name in names(EVERY_SCHEME).chain(names(EVERY_WEAK_SCHEME)) {
        assert!(!log_in(&store, name, "Tanstaaf").await, "{name}");
        assert!(log_in(&store, name, "tanstaaf").await, "{name}");
        let text = fs::read_to_string(&fixture.path).unwrap();
        let line = text.lines().find(|line| line.starts_with(&format!("{name}:"))).unwrap();
        let kept = matches!(name, "scram256" | "scram1" | "plain");
        assert_eq!(!line.contains(":{ARGON2ID}$argon2id$"), kept, "{line}");
        // The fields after the password stay.
        assert_eq!(line.ends_with(":5000:5000::/home::"), name == "bcrypt");
        assert!(!log_in(&store, name, "Tanstaaf").await, "{name}");
        assert!(log_in(&store, name, "tanstaaf").await, "{name}");
    }
}

#[tokio::test]
async fn weak_hashes_let_no_user_in_and_hashes_are_rewritten_only_if_configured() {
    let text = [EVERY_SCHEME, EVERY_WEAK_SCHEME, UNSUPPORTED_SCHEME].concat();
    let fixture = Fixture::new(&text);
    let store = fixture.open();
    for name in names(EVERY_SCHEME) {
        assert!(log_in(&store, name, "tanstaaf").await, "{name}");
    }
    for name in names(EVERY_WEAK_SCHEME).chain(names(UNSUPPORTED_SCHEME)) {
        assert!(!log_in(&store, name, "tanstaaf").await, "{name}");
    }
    assert_eq!(fs::read_to_string(&fixture.path).unwrap(), text);
    assert_eq!(inspect(&fixture.path, WeakSchemes::Refused).warnings.len(), 8);
    assert_eq!(inspect(&fixture.path, WeakSchemes::Allowed).warnings.len(), 1);
}

#[tokio::test]
async fn a_hash_is_rewritten_only_while_it_is_the_one_that_was_verified() {
    let before = "mrose:{SSHA}CyibCMcaOdoIFzGAJQwY+Q3u96o4ISNu\n";
    let fixture = Fixture::new(before);
    let store = FileStore::open(&rehashing(&fixture), WeakSchemes::Refused).unwrap();
    let name = Username::try_from("mrose").unwrap();
    let Lookup::Found(account) = store.look_up(&name).await else { panic!() };
    let password = Secret::new(b"tanstaaf".to_vec());
    for after in [
        "mrose:{SSHA.HEX}2d0a1bd42c2ea5a5a4c8b6c7d4b5a8a0b1c2d3e401020304\n",
        "mrose:{PLAIN}tanstaaf\n",
        "mrose:!\n",
        "bob:{PLAIN}x\n",
    ] {
        fixture.replace(after);
        store.strengthen(&name, &account.verifier, &password).await;
        assert_eq!(fs::read_to_string(&fixture.path).unwrap(), after);
    }
    // After one failure no hash is rewritten; the login succeeds all the same.
    fixture.replace("nonsense\n");
    store.strengthen(&name, &account.verifier, &password).await;
    fixture.replace(before);
    assert!(log_in(&store, "mrose", "tanstaaf").await);
    assert_eq!(fs::read_to_string(&fixture.path).unwrap(), before);
}

#[test]
fn an_error_is_logged_once_a_change_and_shows_no_secret() {
    let fixture = Fixture::new("mrose:{PLAIN}hunter2\n");
    let store = fixture.open();
    let reload = || store.shared.reload(Instant::now());
    let log = CapturedLog::default();
    let _capture = log.start();
    let logged = |does: &dyn Fn()| {
        does();
        log.take()
    };
    let first = logged(&|| {
        fixture.replace("hunter2\nmrose:hunter2\n");
        reload();
    });
    assert!(first.contains("line 1: has no colon"), "{first}");
    assert!(first.contains("the users stay as they were"), "{first}");
    assert!(!first.contains("hunter2"), "{first}");
    assert_eq!(logged(&reload), "");
    let second = logged(&|| {
        fixture.replace("hunter2\nmrose:hunter2\n# another change, the same error\n");
        reload();
    });
    assert_eq!(second.lines().count(), 1, "{second}");
    let gone = logged(&|| {
        fs::remove_file(&fixture.path).unwrap();
        reload();
        reload();
    });
    assert_eq!(gone.lines().count(), 1, "{gone}");
    let sound = logged(&|| {
        fixture.replace("mrose:{SHA}hunter2\n");
        reload();
        reload();
    });
    assert_eq!(sound.lines().count(), 2, "{sound}");
    assert!(sound.contains("users=1") && sound.contains("mrose cannot log in"), "{sound}");
    assert!(!sound.contains("hunter2"), "{sound}");
}

#[test]
fn a_file_that_is_not_safe_is_refused() {
    let fixture = Fixture::new("mrose:{PLAIN}hunter2\nhunter2\n");
    let refused = || {
        FileStore::open(&FileSection::from(&*fixture.path), WeakSchemes::Refused)
            .unwrap_err()
            .to_string()
    };
    let why = refused();
    assert!(why.starts_with(&*fixture.path.to_string_lossy()), "{why}");
    assert!(why.ends_with("line 2: has no colon; write name:{SCHEME}hash, or # before a comment"));
    fixture.replace("mrose:{PLAIN}hunter2\n");
    fixture.mode(0o606);
    assert!(refused().contains("chmod o-w"));
    fs::remove_file(&fixture.path).unwrap();
    assert!(refused().contains("does not exist; restante user add"));
    fs::create_dir(&fixture.path).unwrap();
    assert!(refused().contains("is not a regular file"));
    fs::remove_dir(&fixture.path).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fixture.path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    assert!(refused().contains("is not a regular file"));
}

#[test]
fn the_report_for_check() {
    let fixture = Fixture::new("# no users\n");
    fixture.mode(0o644);
    let report = inspect(&fixture.path, WeakSchemes::Refused);
    assert_eq!((report.users, report.errors.len(), report.warnings.len()), (0, 0, 2));
    assert!(report.warnings[0].to_string().contains("chmod o-r"));
    assert!(report.warnings[1].to_string().contains("has no users"));
    fixture.replace("mrose:{PLAIN}hunter2\n!\nbob:hunter2\n");
    let report = inspect(&fixture.path, WeakSchemes::Refused);
    assert_eq!((report.users, report.errors.len(), report.warnings.len()), (2, 1, 1));
    assert!(!format!("{report:?}").contains("hunter2"));
    fs::remove_file(&fixture.path).unwrap();
    let report = inspect(&fixture.path, WeakSchemes::Refused);
    assert_eq!((report.users, report.errors.len()), (0, 1));
}
