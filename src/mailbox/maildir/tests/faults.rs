//! Maildirs that are missing or incomplete, and locks.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, Mode};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::super::open_maildrop::OpenMaildrop;
use super::super::time_limit::TimeLimit;
use super::super::{MaildirMaildrop, MaildirStore, PathTemplate};
use super::support::{Maildir, read, unique_ids};
use crate::login::Identity;
use crate::mailbox::{Mailbox, Maildrop, MessageError, OpenError, Position};
use crate::threads::{Bounds, ByFileSystem};

/// A Maildir that cannot be read completely has no listing, and no file is made in it.
#[tokio::test]
async fn a_maildir_that_is_not_whole_is_unavailable() {
    for missing in ["new", "cur", "tmp", ""] {
        type Obstacle = fn(&std::path::Path);
        let obstacles: [Obstacle; 4] = [
            |_| {},
            |path| fs::write(path, b"a file").unwrap(),
            |path| symlink("/nowhere", path).unwrap(),
            |path| rustix::fs::mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR).unwrap(),
        ];
        for obstacle in obstacles {
            let maildir = Maildir::with(&[("new/1.a", b"a\n"), ("cur/2.b:2,S", b"b\n")]);
            let path = if missing.is_empty() {
                maildir.path("new").parent().unwrap().to_owned()
            } else {
                maildir.path(missing)
            };
            fs::remove_dir_all(&path).unwrap();
            obstacle(&path);
            let kind = path.symlink_metadata().map(|metadata| metadata.file_type()).ok();
            let failure = maildir.failure().await;
            assert!(failure.to_string().contains(&path.display().to_string()), "{failure}");
            let after = path.symlink_metadata().map(|metadata| metadata.file_type()).ok();
            assert_eq!(after, kind, "something was made at {}", path.display());
        }
    }
}

#[tokio::test]
async fn a_folder_that_is_a_link_is_not_followed() {
    let maildir = Maildir::new();
    let other = Maildir::with(&[("cur/1.secret:2,", b"of another user\n")]);
    fs::remove_dir(maildir.path("cur")).unwrap();
    symlink(other.path("cur"), maildir.path("cur")).unwrap();
    maildir.failure().await;
}

#[tokio::test]
async fn a_maildir_that_is_a_link_is_followed() {
    let maildir = Maildir::with(&[("new/1.a", b"a\n")]);
    let links = tempfile::tempdir().unwrap();
    symlink(maildir.path(""), links.path().join("mrose")).unwrap();
    let template = PathTemplate::new(links.path().join("{user}"));
    let store = MaildirStore::new(template);
    let maildrop =
        store.open(&Identity::for_test("mrose"), &CancellationToken::default()).await.unwrap();
    assert_eq!(unique_ids(&maildrop), ["1.a"]);
}

/// The Maildir is removed while the session lasts.
#[tokio::test]
async fn a_maildir_that_vanishes_leaves_errors_behind() {
    let maildir = Maildir::with(&[("new/1.a", b"a\n")]);
    drop(maildir.open().await);
    let maildrop = maildir.open().await;
    fs::remove_dir_all(maildir.path("")).unwrap();
    assert!(read(&maildrop, 0).await.is_err());
    drop(maildrop);
    maildir.failure().await;
    assert!(!maildir.path("").exists());
}

#[tokio::test]
async fn a_user_without_a_domain_is_told_from_a_missing_maildir() {
    let store = MaildirStore::new(PathTemplate::new("/m/{domain}/{local}"));
    match store.open(&Identity::for_test("mrose"), &CancellationToken::default()).await {
        Err(OpenError::Unavailable(failure)) => assert!(failure.to_string().contains("{domain}")),
        other => panic!("{other:?}"),
    }
}

/// One session at a time.
#[tokio::test]
async fn a_second_session_is_told_since_when() {
    let maildir = Maildir::with(&[("new/1.a", b"a\n")]);
    let first = maildir.open().await;
    let (store, start) = (maildir.store(), Instant::now());
    let (identity, wait) = (Identity::for_test("mrose"), Duration::from_millis(120));
    let Err(OpenError::InUse { since: Some(since) }) =
        store.open_within(&identity, &CancellationToken::default(), wait, || {}).await
    else {
        panic!("two sessions at once");
    };
    assert!(start.elapsed() >= Duration::from_millis(120), "it did not wait");
    assert!(since.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() > 1_700_000_000);
    assert_eq!(read(&first, 0).await.unwrap(), b"a\n");
    drop(first);
    drop(maildir.open().await);
}

#[tokio::test]
async fn a_second_session_waits_for_the_first_to_end() {
    let maildir = Maildir::with(&[("new/1.a", b"a\n")]);
    let first = maildir.open().await;
    let ending = async {
        tokio::time::sleep(Duration::from_millis(80)).await;
        drop(first);
    };
    let (second, ()) = tokio::join!(maildir.try_open(), ending);
    assert_eq!(unique_ids(&second.unwrap()), ["1.a"]);
}

/// A single thread for mail; work waits for it up to `wait`.
fn one_thread(wait: Duration) -> &'static ByFileSystem {
    let bounds = Bounds { most: 1, queued: 9, wait };
    Box::leak(Box::new(ByFileSystem::new("test", bounds)))
}

/// Keeps a thread busy until the returned sender is dropped.
fn keep_busy(threads: &ByFileSystem, maildir: &Maildir) -> Sender<()> {
    let (release, released) = channel::<()>();
    let busy = move || assert!(released.recv().is_err());
    threads.of(&maildir.path("")).start(busy).unwrap();
    release
}

#[tokio::test]
async fn an_abandoned_login_gives_the_lock_back_and_keeps_what_it_counted() {
    let maildir = Maildir::new();
    for message in 0..300 {
        maildir.put(format!("new/{message}.m"), b"x\n");
    }
    let threads = one_thread(Duration::from_secs(60));
    let release = keep_busy(threads, &maildir);
    let store = MaildirStore { threads, ..maildir.store() };
    let identity = Identity::for_test("mrose");
    assert!(
        timeout(Duration::ZERO, store.open(&identity, &CancellationToken::default()))
            .await
            .is_err()
    );
    drop(release);
    maildir.wait_for_index();
    let maildrop = maildir.open().await;
    assert_eq!((maildrop.count(), maildrop.stats().opened), (300, 0));
}

/// A file of terabytes would be counted for hours.
#[tokio::test]
async fn a_long_count_is_given_up_when_no_login_waits() {
    let large = [b"x".repeat(200_000), b"\n".to_vec()].concat();
    let maildir = Maildir::with(&[("new/1.a", b"a\n"), ("new/2.b", &large)]);
    for is_wanted in [false, true] {
        let cancellation = CancellationToken::default();
        let waiting = cancellation.clone().drop_guard();
        let _waiting = is_wanted.then_some(waiting);
        let limit = TimeLimit::until_cancelled(cancellation.clone()).within(Duration::ZERO);
        let mut result = None;
        let store = MaildirStore::new(PathTemplate::new(maildir.path("")));
        let identity = Identity::for_test("mrose");
        let terms = store.terms((&identity).into(), maildir.path("")).unwrap();
        OpenMaildrop::open(&terms, &limit, |opened| {
            result = Some(opened);
        });
        match result.unwrap() {
            Ok(opened) => {
                assert!(is_wanted);
                assert_eq!(unique_ids(&MaildirMaildrop::new(opened)), ["1.a", "2.b"]);
            }
            // No listing omits the message, and no index is written that other sessions would use.
            Err(OpenError::Unavailable(failure)) => {
                assert!(!is_wanted);
                assert_eq!(failure.source().kind(), io::ErrorKind::TimedOut, "{failure}");
                assert!(!maildir.exists("restante.index"));
            }
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// Only one login waits for a Maildir that does not answer.
#[tokio::test]
async fn a_login_meanwhile_needs_no_thread() {
    let maildir = Maildir::with(&[("new/1.a", b"a\n")]);
    let threads = one_thread(Duration::from_secs(60));
    let release = keep_busy(threads, &maildir);
    let store = MaildirStore { threads, ..maildir.store() };
    let identity = Identity::for_test("mrose");
    let cancellation = CancellationToken::default();
    let mut first = Box::pin(store.open(&identity, &cancellation));
    assert!(timeout(Duration::ZERO, &mut first).await.is_err());
    for _ in 0..20 {
        let second = store.open(&identity, &cancellation).await;
        assert!(matches!(second, Err(OpenError::InUse { since: Some(_) })), "{second:?}");
    }
    drop(release);
    let maildrop = first.await.unwrap();
    assert_eq!(unique_ids(&maildrop), ["1.a"]);
}

/// A removal that was refused is not done later, and releases the lock.
#[tokio::test]
async fn a_removal_that_is_refused_removes_nothing_later() {
    let maildir = Maildir::with(&[("new/1.a", b"a\n"), ("new/2.b", b"b\n")]);
    let threads = one_thread(Duration::from_millis(20));
    let store = MaildirStore { threads, ..maildir.store() };
    let identity = Identity::for_test("mrose");
    // On a busy machine a login may wait too long for the thread, too.
    let maildrop = loop {
        if let Ok(maildrop) = store.open(&identity, &CancellationToken::default()).await {
            break maildrop;
        }
    };
    let release = keep_busy(threads, &maildir);
    let error = maildrop.remove(vec![Position(0), Position(1)], None).await.unwrap_err();
    assert_eq!(error.remaining, 2);
    assert!(error.cause.to_string().contains("busy"), "{}", error.cause);
    // The lock is free, and the store with its own threads lists both.
    drop(maildir.open().await);
    drop(release);
    while threads.of(&maildir.path("")).run(|| ()).await.is_err() {}
    assert_eq!(unique_ids(&maildir.open().await), ["1.a", "2.b"]);
}

#[tokio::test]
async fn the_lock_lasts_as_long_as_the_removal() {
    let maildir = Maildir::new();
    for message in 0..300 {
        maildir.put(format!("new/{message}.m"), b"x\n");
    }
    let maildrop = maildir.open().await;
    let removal = tokio::spawn(maildrop.remove((0..300).map(Position).collect(), None));
    // The removal begins when this task waits.
    // The second session lists exactly what the first has left.
    assert_eq!(maildir.open().await.count(), 0);
    removal.await.unwrap().unwrap();
}

/// The file system has no space for the lock file and the index.
#[tokio::test]
async fn without_room_for_files_of_our_own_a_session_works() {
    let maildir = Maildir::with(&[("new/1.a", b"a\n"), ("new/2.b", b"b\n")]);
    for name in ["restante.lock", "restante.index.new"] {
        fs::create_dir(maildir.path(name)).unwrap();
    }
    let maildrop = maildir.open().await;
    let second =
        maildir.store().open(&Identity::for_test("mrose"), &CancellationToken::default()).await;
    assert!(matches!(second, Err(OpenError::InUse { since: Some(_) })), "{second:?}");
    assert_eq!(read(&maildrop, 1).await.unwrap(), b"b\n");
    maildrop.remove(vec![Position(0)], None).await.unwrap();
    assert_eq!(unique_ids(&maildir.open().await), ["2.b"]);
}

/// A file with the name of the index may be a message under another name.
#[tokio::test]
async fn writing_the_index_empties_no_other_file() {
    let maildir = Maildir::with(&[("new/1.a", b"a\n")]);
    fs::hard_link(maildir.path("new/1.a"), maildir.path("restante.index.new")).unwrap();
    let maildrop = maildir.open().await;
    assert_eq!(read(&maildrop, 0).await.unwrap(), b"a\n");
    drop(maildrop);
    let maildrop = maildir.open().await;
    assert_eq!((maildrop.stats().opened, maildrop.octets(Position(0))), (0, 3));
    assert_eq!(fs::read(maildir.path("new/1.a")).unwrap(), b"a\n");
}

/// A message that cannot be opened is left out, the others are not.
#[tokio::test]
async fn a_message_that_cannot_be_opened_is_left_out() {
    let maildir = Maildir::with(&[("new/1.a", b"a\n"), ("new/2.b", b"b\n")]);
    let superuser = !forbid(&maildir, "new/1.a");
    for login in 0..2 {
        let maildrop = maildir.open().await;
        if superuser {
            assert_eq!(unique_ids(&maildrop), ["1.a", "2.b"]);
        } else {
            assert_eq!(unique_ids(&maildrop), ["2.b"]);
            let stats = maildrop.stats();
            assert_eq!((stats.left_out, stats.opened), (1, 1 - login));
        }
    }
}

/// The message is in the index; nevertheless the next login leaves it out.
#[tokio::test]
async fn a_message_that_becomes_unreadable_is_left_out_next_time() {
    let maildir = Maildir::with(&[("new/1.a", b"a\n"), ("new/2.b", b"b\n")]);
    let maildrop = maildir.open().await;
    let superuser = !forbid(&maildir, "new/1.a");
    let result = read(&maildrop, 0).await;
    assert_eq!(unique_ids(&maildrop), ["1.a", "2.b"]);
    drop(maildrop);
    if superuser {
        assert_eq!(result.unwrap(), b"a\n");
    } else {
        assert!(matches!(result, Err(MessageError::Unreadable(_))), "{result:?}");
        assert_eq!(unique_ids(&maildir.open().await), ["2.b"]);
    }
}

/// Removes all permissions. Returns whether this process can no longer read the file; the superuser
/// still can.
fn forbid(maildir: &Maildir, name: &str) -> bool {
    let path = maildir.path(name);
    fs::set_permissions(&path, PermissionsExt::from_mode(0o000)).unwrap();
    File::open(&path).is_err()
}

/// A server that does not run as the superuser.
#[tokio::test]
async fn folders_without_permission_are_never_taken_for_empty_ones() {
    let maildir = Maildir::with(&[("new/1.a", b"a\n"), ("cur/2.b:2,", b"b\n")]);
    let folder = maildir.path("new");
    let mode = |mode| fs::set_permissions(&folder, PermissionsExt::from_mode(mode)).unwrap();
    mode(0o000);
    let superuser = fs::read_dir(&folder).is_ok();
    if !superuser {
        let failure = maildir.failure().await;
        assert!(failure.to_string().contains(&folder.display().to_string()), "{failure}");
    }
    mode(0o500);
    let result = maildir.open().await.remove(vec![Position(0), Position(1)], None).await;
    mode(0o700);
    assert!(!maildir.exists("cur/2.b:2,"));
    if superuser {
        result.unwrap();
    } else {
        assert_eq!(result.unwrap_err().remaining, 1);
        assert_eq!(unique_ids(&maildir.open().await), ["1.a"]);
    }
}
