//! Removing messages: all marked ones, and no others.

use std::fs;
use std::io::Write as _;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use tokio::time::timeout;

use super::super::file_system::FileSystem;
use super::support::{Maildir, read, unique_ids};
use crate::mailbox::{Maildrop, MessageError, Position, RemovalObserver, RemovedMessage};

#[tokio::test]
async fn marked_messages_are_removed_and_no_others() {
    let maildir = Maildir::with(&[
        ("new/1.a", b"a\n"),
        ("cur/2.b:2,S", b"b\n"),
        ("new/3.c", b"c\n"),
        ("tmp/4.d", b"d\n"),
    ]);
    let maildrop = maildir.open().await;
    maildrop.remove(vec![Position(1), Position(0), Position(1)], None).await.unwrap();
    let maildrop = maildir.open().await;
    assert_eq!(unique_ids(&maildrop), ["3.c"]);
    assert!(!maildrop.stats().index_is_stale, "the index has forgotten what was removed");
    assert!(maildir.exists("tmp/4.d"));
}

#[tokio::test]
async fn without_a_mark_nothing_is_removed() {
    let maildir = Maildir::with(&[("new/1.a", b"a\n")]);
    maildir.open().await.remove(Vec::new(), None).await.unwrap();
    drop(maildir.open().await);
    assert!(maildir.exists("new/1.a"));
}

/// Renamed and removed by others between login and QUIT.
#[tokio::test]
async fn messages_are_removed_wherever_they_are_by_now() {
    let maildir =
        Maildir::with(&[("new/1.a", b"a\n"), ("cur/2.b:2,", b"b\n"), ("new/3.c", b"c\n")]);
    let maildrop = maildir.open().await;
    maildir.rename("new/1.a", "cur/1.a:2,S");
    maildir.rename("cur/2.b:2,", "cur/2.b,S=2,W=3:2,RS");
    maildir.remove("new/3.c");
    maildrop.remove((0..3).map(Position).collect(), None).await.unwrap();
    maildir.come_to_rest();
    assert_eq!(maildir.tree(), ["/restante.index", "/restante.lock"]);
}

/// One that cannot be removed does not keep the others.
#[tokio::test]
async fn messages_that_cannot_be_removed_are_counted_and_the_others_are_removed() {
    let maildir = Maildir::with(&[("new/1.a", b"a\n"), ("new/2.b", b"b\n"), ("new/3.c", b"c\n")]);
    let maildrop = maildir.open().await;
    // Not even the superuser can unlink a directory.
    maildir.remove("new/2.b");
    fs::create_dir(maildir.path("new/2.b")).unwrap();
    let error = maildrop.remove((0..3).map(Position).collect(), None).await.unwrap_err();
    assert_eq!(error.remaining, 1);
    assert!(error.cause.to_string().contains("new/2.b"), "{}", error.cause);
    maildir.come_to_rest();
    assert_eq!(maildir.tree(), ["/restante.index", "/restante.lock", "new/2.b"]);
}

/// The removal goes on although the caller no longer waits.
#[tokio::test]
async fn a_removal_is_finished_even_if_no_caller_waits() {
    let maildir = Maildir::new();
    for message in 0..200 {
        maildir.put(format!("new/{message}.m"), b"x\n");
    }
    let maildrop = maildir.open().await;
    let removal = maildrop.remove((0..200).map(Position).collect(), None);
    drop(timeout(Duration::ZERO, removal).await);
    // The lock is released only when the removal is done.
    assert_eq!(maildir.open().await.count(), 0);
}

/// One DELE never removes two messages.
#[tokio::test]
async fn of_two_files_of_one_unique_name_only_the_marked_one_is_removed() {
    for (marked, left, contents) in
        [(0, "new/1.a", &b"in new\n"[..]), (1, "cur/1.a:2,S", b"in cur\n")]
    {
        let maildir = Maildir::with(&[("new/1.a", b"in new\n"), ("cur/1.a:2,S", b"in cur\n")]);
        let maildrop = maildir.open().await;
        let ids = unique_ids(&maildrop);
        maildrop.remove(vec![Position(marked)], None).await.unwrap();
        assert_eq!(fs::read(maildir.path(left)).unwrap(), contents);
        assert_eq!(unique_ids(&maildir.open().await), ids[usize::from(marked == 0)..][..1]);
    }
}

#[tokio::test]
async fn of_two_renamed_namesakes_only_the_marked_one_is_removed() {
    let maildir = Maildir::with(&[("cur/1.a:2,", b"first\n"), ("cur/1.a:2,S", b"second\n")]);
    let maildrop = maildir.open().await;
    // They exchange their names.
    maildir.rename("cur/1.a:2,", "cur/1.a:2,F");
    maildir.rename("cur/1.a:2,S", "cur/1.a:2,");
    maildir.rename("cur/1.a:2,F", "cur/1.a:2,S");
    maildrop.remove(vec![Position(0)], None).await.unwrap();
    assert!(!maildir.exists("cur/1.a:2,S"));
    assert_eq!(fs::read(maildir.path("cur/1.a:2,")).unwrap(), b"second\n");
}

#[tokio::test]
async fn both_names_of_one_message_are_removed() {
    let maildir = Maildir::with(&[("new/1.a", b"a\n"), ("new/2.b", b"b\n")]);
    fs::hard_link(maildir.path("new/1.a"), maildir.path("cur/1.a:2,S")).unwrap();
    let maildrop = maildir.open().await;
    maildrop.remove(vec![Position(0)], None).await.unwrap();
    assert_eq!(unique_ids(&maildir.open().await), ["2.b"]);
}

#[tokio::test]
async fn a_copy_under_another_unique_name_stays() {
    let maildir = Maildir::with(&[("new/1.a", b"a\n")]);
    fs::hard_link(maildir.path("new/1.a"), maildir.path("new/2.b")).unwrap();
    maildir.open().await.remove(vec![Position(0)], None).await.unwrap();
    let maildrop = maildir.open().await;
    assert_eq!(unique_ids(&maildrop), ["2.b"]);
    assert_eq!(read(&maildrop, 0).await.unwrap(), b"a\n");
}

#[tokio::test]
async fn if_a_second_file_has_got_the_name_meanwhile_neither_is_removed() {
    let maildir = Maildir::with(&[("new/1.a", b"listed\n")]);
    let maildrop = maildir.open().await;
    maildir.rename("new/1.a", "cur/1.a:2,S");
    maildir.put("cur/1.a:2,", b"not listed\n");
    let error = maildrop.remove(vec![Position(0)], None).await.unwrap_err();
    assert_eq!(error.remaining, 1);
    assert!(maildir.exists("cur/1.a:2,S") && maildir.exists("cur/1.a:2,"));
}

/// Mail that arrives after the listing is never taken for one of its messages.
#[tokio::test]
async fn new_mail_survives_an_old_session() {
    let maildir = Maildir::with(&[("cur/2.old:2,S", b"old\n")]);
    let maildrop = maildir.open().await;
    maildir.remove("cur/2.old:2,S");
    maildir.deliver("1.earlier", b"new\n");
    maildir.deliver("2.olde", b"new\n");
    maildir.deliver("3.later", b"new\n");
    maildrop.remove(vec![Position(0)], None).await.unwrap();
    assert_eq!(unique_ids(&maildir.open().await), ["1.earlier", "2.olde", "3.later"]);
}

fn gzip(contents: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(contents).unwrap();
    encoder.finish().unwrap()
}

/// An observer that sends on unique-id, octets and Message-ID.
fn observer() -> (RemovalObserver, Receiver<(String, u64, Option<String>)>) {
    let (tell, told) = mpsc::channel();
    let see = move |gone: &RemovedMessage<'_>| {
        let message_id = gone.message_id.map(str::to_owned);
        tell.send((gone.unique_id.to_owned(), gone.octets, message_id)).unwrap();
    };
    (RemovalObserver::new(see), told)
}

#[tokio::test]
async fn only_messages_that_were_removed_here_are_reported() {
    let maildir = Maildir::with(&[
        ("new/1.a", b"Message-ID: <1@example.org>\n\na\n"),
        ("new/2.b", b"Subject: renamed\nMessage-ID: <2@example.org>\n\n"),
        ("new/3.c", b"Message-ID: <3@example.org>\n\nremoved by another\n"),
        ("new/4.d", b"Message-ID: <4@example.org>\n\ncannot be removed\n"),
        ("new/5.e", b"Message-ID: <5@example.org>\n\nnot marked\n"),
        ("new/6.f", b"without\n"),
    ]);
    maildir.put("new/7.g", &gzip(b"Message-ID: <7@example.org>\n\n"));
    let maildrop = maildir.open().await;
    maildir.rename("new/2.b", "cur/2.b:2,S");
    maildir.remove("new/3.c");
    maildir.remove("new/4.d");
    fs::create_dir(maildir.path("new/4.d")).unwrap();
    let (observer, told) = observer();
    let marked = [0, 1, 2, 3, 5, 6].map(Position).into();
    assert_eq!(maildrop.remove(marked, Some(observer)).await.unwrap_err().remaining, 1);
    let readable =
        FileSystem::of(fs::File::open(maildir.path("new")).unwrap()).has_reliable_ctime();
    let id = |id: &str| readable.then(|| id.to_owned());
    let expected = [
        ("1.a".to_owned(), 34, id("<1@example.org>")),
        ("2.b".to_owned(), 49, id("<2@example.org>")),
        ("6.f".to_owned(), 9, None),
        ("7.g".to_owned(), 31, id("<7@example.org>")),
    ];
    assert_eq!(told.into_iter().collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn all_of_a_large_removal_is_shown_and_holds_up_no_session() {
    let maildir = Maildir::new();
    for number in 0..600 {
        maildir.put(format!("new/{number}.a"), b"Message-ID: <a>\n\n");
    }
    let maildrop = maildir.open().await;
    let (observer, told) = observer();
    maildrop.remove((0..600).map(Position).collect(), Some(observer)).await.unwrap();
    drop(maildir.open().await);
    assert_eq!(told.into_iter().count(), 600);
}

/// A backup is restored while a session lasts.
#[tokio::test]
async fn nothing_is_removed_from_a_maildir_that_was_replaced() {
    for replaced in ["cur", "new", ""] {
        let maildir = Maildir::with(&[("cur/1.a:2,S", b"a\n"), ("new/2.b", b"b\n")]);
        let maildrop = maildir.open().await;
        // Else `cp` may find a file that is about to be renamed.
        maildir.wait_for_index();
        let path = maildir.path(replaced);
        let path = path.to_str().unwrap().trim_end_matches('/').to_owned();
        let old = format!("{path}.old");
        fs::rename(&path, &old).unwrap();
        let copied = std::process::Command::new("cp").args(["-a", &old, &path]).status().unwrap();
        assert!(copied.success());
        let error = maildrop.remove(vec![Position(0), Position(1)], None).await.unwrap_err();
        assert_eq!(error.remaining, 2);
        assert!(error.cause.to_string().contains(&path), "{}", error.cause);
        assert!(maildir.exists("cur/1.a:2,S") && maildir.exists("new/2.b"), "{replaced}");
        let files = |path: &str| -> usize {
            let inside = |path: &str| fs::read_dir(path).map_or(0, Iterator::count);
            if replaced.is_empty() { inside(&format!("{path}/cur")) } else { inside(path) }
        };
        assert_eq!(files(&old), 1, "{replaced}");
    }
}

/// No folder stays open between two commands, so each command checks it again.
#[tokio::test]
async fn no_message_is_read_from_a_folder_that_was_replaced() {
    for (folder, at) in [("cur", Position(0)), ("new", Position(1))] {
        let maildir = Maildir::with(&[("cur/1.a:2,S", b"a\n"), ("new/2.b", b"b\n")]);
        let maildrop = maildir.open().await;
        maildir.rename(folder, "old");
        let path = maildir.path(folder);
        let copy = [maildir.path("old"), path.clone()];
        let copied = std::process::Command::new("cp").arg("-a").args(copy).status().unwrap();
        assert!(copied.success());
        let Err(MessageError::Unreadable(failure)) = maildrop.message(at).await else {
            panic!("{folder} was read")
        };
        assert!(failure.to_string().contains(path.to_str().unwrap()), "{failure}");
        maildrop.message(Position(1 - at.0)).await.unwrap();
    }
}
