//! Reading messages that other programs rename, remove, truncate and append to meanwhile.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rustix::fs::{Advice, CWD, Mode, fadvise};

use super::support::{Maildir, listing, read, rest, runtime};
use crate::mailbox::{Maildrop, Message, MessageError, Position};

#[tokio::test]
async fn bytes_come_as_they_are_stored() {
    let long = vec![b'x'; 10 << 20];
    let contents: [&[u8]; 8] = [
        b"",
        b"\n",
        b"no line end",
        b"lone \r and \r\r\n",
        b"\0\xff.\n.\n..\n",
        b"header only: yes\n",
        b".",
        &long,
    ];
    let maildir = Maildir::new();
    for (message, contents) in contents.iter().enumerate() {
        maildir.put(format!("new/{message}.m"), contents);
    }
    let maildrop = maildir.open().await;
    for (at, contents) in (0..).zip(contents) {
        assert!(read(&maildrop, at).await.unwrap() == contents, "message {at}");
        let message = maildrop.message(Position(at)).await.unwrap();
        assert_eq!(message.octets(), maildrop.octets(Position(at)));
    }
}

#[tokio::test]
async fn the_end_stays_the_end() {
    let maildir = Maildir::with(&[("new/1.a", b"x\n")]);
    let maildrop = maildir.open().await;
    let mut message = maildrop.message(Position(0)).await.unwrap();
    assert_eq!(message.chunk().await.unwrap(), b"x\n");
    for _ in 0..3 {
        assert_eq!(message.chunk().await.unwrap(), b"");
    }
}

#[tokio::test]
async fn memory_does_not_grow_with_the_message() {
    let maildir = Maildir::new();
    File::create(maildir.path("new/1.big")).unwrap().set_len(40 << 20).unwrap();
    let maildrop = maildir.open().await;
    let mut message = maildrop.message(Position(0)).await.unwrap();
    let mut total = 0;
    loop {
        let length = message.chunk().await.unwrap().len();
        assert!(length <= 64 << 10);
        total += length;
        if length == 0 {
            break;
        }
    }
    assert_eq!(total, 40 << 20);
}

#[tokio::test]
async fn messages_come_whole_in_any_order_whether_or_not_they_are_in_memory() {
    let contents = |at: u32| format!("message {at}\n").repeat(1 + 500 * at as usize);
    let maildir = Maildir::new();
    let name = |at: u32| format!("new/{}.m", 100 + at);
    for at in 0..40 {
        maildir.put(name(at), contents(at).as_bytes());
    }
    for order in [(0..40).collect::<Vec<_>>(), (0..40).rev().collect(), vec![39, 7, 8, 0, 20]] {
        for at in 0..40 {
            let file = File::open(maildir.path(name(at))).unwrap();
            file.sync_all().unwrap();
            fadvise(&file, 0, None, Advice::DontNeed).unwrap();
        }
        let maildrop = maildir.open().await;
        for at in order {
            assert!(read(&maildrop, at).await.unwrap() == contents(at).as_bytes(), "{at}");
        }
    }
}

/// A file that is read ahead may be gone or no longer a message. That is not an error yet.
#[tokio::test]
async fn reading_ahead_reports_no_errors() {
    let maildir = Maildir::with(&[("new/1.a", b"a\n"), ("new/2.b", b"b\n"), ("new/3.c", b"c\n")]);
    let maildrop = maildir.open().await;
    maildir.remove("new/2.b");
    maildir.rename("new/3.c", "cur/3.c:2,S");
    let file = File::open(maildir.path("new/1.a")).unwrap();
    file.sync_all().unwrap();
    fadvise(&file, 0, None, Advice::DontNeed).unwrap();
    assert_eq!(read(&maildrop, 0).await.unwrap(), b"a\n");
    assert!(matches!(read(&maildrop, 1).await, Err(MessageError::Gone)));
    assert_eq!(read(&maildrop, 2).await.unwrap(), b"c\n");
}

/// A session yields the thread, however fast its client asks for messages in memory.
#[tokio::test]
async fn other_tasks_have_their_turn_while_messages_are_opened() {
    let maildir = Maildir::with(&[("new/1.a", b"x\n")]);
    let maildrop = maildir.open().await;
    let turns = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&turns);
    tokio::spawn(async move {
        loop {
            counter.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    for _ in 0..1000 {
        drop(maildrop.message(Position(0)).await.unwrap());
    }
    assert!(turns.load(Ordering::Relaxed) >= 7);
}

/// A message that another program has removed.
#[tokio::test]
async fn a_removed_message_is_gone_and_the_others_are_not() {
    let maildir = Maildir::with(&[("new/1.a", b"a\n"), ("new/2.b", b"b\n"), ("new/3.c", b"c\n")]);
    let maildrop = maildir.open().await;
    maildir.remove("new/2.b");
    assert!(matches!(read(&maildrop, 1).await, Err(MessageError::Gone)));
    assert_eq!(maildrop.count(), 3);
    assert_eq!(read(&maildrop, 0).await.unwrap(), b"a\n");
    assert_eq!(read(&maildrop, 2).await.unwrap(), b"c\n");
}

/// A message that has been renamed.
#[tokio::test]
async fn a_renamed_message_is_found() {
    let maildir = Maildir::with(&[("new/1.a", b"a\n"), ("cur/2.b:2,", b"b\n")]);
    let maildrop = maildir.open().await;
    maildir.rename("new/1.a", "cur/1.a,S=2:2,S");
    maildir.rename("cur/2.b:2,", "cur/2.b:2,RS");
    assert_eq!(read(&maildrop, 0).await.unwrap(), b"a\n");
    assert_eq!(read(&maildrop, 1).await.unwrap(), b"b\n");
    maildir.rename("cur/1.a,S=2:2,S", "cur/1.a:2,");
    assert_eq!(read(&maildrop, 0).await.unwrap(), b"a\n");
}

/// The worst case: a message that is renamed all the time.
#[test]
fn a_message_that_is_renamed_all_the_time_is_read() {
    let maildir = Maildir::with(&[("cur/1.a:2,", b"a\n")]);
    let runtime = runtime();
    let maildrop = runtime.block_on(maildir.open());
    let stop = AtomicBool::new(false);
    let mut results = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            let names = ["cur/1.a:2,", "cur/1.a:2,S", "cur/1.a:2,RS"];
            for round in 0.. {
                maildir.rename(names[round % 3], names[(round + 1) % 3]);
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        for _ in 0..300 {
            results.push(runtime.block_on(read(&maildrop, 0)));
        }
        stop.store(true, Ordering::Relaxed);
    });
    for result in results {
        assert_eq!(result.unwrap(), b"a\n");
    }
}

/// A message that is truncated while it is read ends with an error.
#[tokio::test]
async fn a_message_that_is_cut_while_it_is_read_is_an_error() {
    let maildir = Maildir::with(&[("new/1.a", &[b'\n'; 300_000])]);
    let maildrop = maildir.open().await;
    let mut message = maildrop.message(Position(0)).await.unwrap();
    assert!(message.chunk().await.unwrap().len() <= 64 << 10);
    File::options().write(true).open(maildir.path("new/1.a")).unwrap().set_len(100_000).unwrap();
    let error = rest(&mut message).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    assert!(error.to_string().contains("new/1.a"), "{error}");
    assert!(message.chunk().await.is_err(), "an error is not an end");
}

/// Bytes that are appended while a message is read are not sent.
#[tokio::test]
async fn a_message_that_grows_while_it_is_read_ends_where_it_did() {
    let contents = [b'x'; 200_000];
    let maildir = Maildir::with(&[("new/1.a", &contents)]);
    let maildrop = maildir.open().await;
    let mut message = maildrop.message(Position(0)).await.unwrap();
    let mut file = OpenOptions::new().append(true).open(maildir.path("new/1.a")).unwrap();
    file.write_all(&contents).unwrap();
    assert!(rest(&mut message).await.unwrap() == contents);
}

#[tokio::test]
async fn octets_are_counted_anew_when_a_message_has_changed() {
    let maildir = Maildir::with(&[("new/1.a", b"x\n")]);
    drop(maildir.open().await);
    maildir.put("new/1.a", b"longer\nthan before");
    let maildrop = maildir.open().await;
    assert_eq!(maildrop.stats().opened, 0);
    let mut message = maildrop.message(Position(0)).await.unwrap();
    assert_eq!((maildrop.octets(Position(0)), message.octets()), (3, 21));
    assert_eq!(rest(&mut message).await.unwrap(), b"longer\nthan before");
    drop(maildrop);
    // The next login does not take the wrong size from the index.
    assert_eq!(listing(&maildir.open().await), [("1.a".to_owned(), 21)]);
}

#[tokio::test]
async fn a_message_that_is_no_longer_a_file_is_unreadable() {
    let maildir = Maildir::with(&[
        ("new/1.directory", b"x\n"),
        ("new/2.fifo", b"x\n"),
        ("new/3.link", b"x\n"),
    ]);
    let maildrop = maildir.open().await;
    for name in ["new/1.directory", "new/2.fifo", "new/3.link"] {
        maildir.remove(name);
    }
    fs::create_dir(maildir.path("new/1.directory")).unwrap();
    let mode = Mode::RUSR | Mode::WUSR;
    rustix::fs::mkfifoat(CWD, maildir.path("new/2.fifo"), mode).unwrap();
    symlink("/etc/passwd", maildir.path("new/3.link")).unwrap();
    for at in 0..3 {
        match read(&maildrop, at).await {
            Err(MessageError::Unreadable(failure)) => {
                assert!(failure.to_string().contains("/new/"), "{failure}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_namesake_is_never_read_in_place_of_another() {
    let maildir = Maildir::with(&[("cur/1.a:2,", b"first\n"), ("cur/1.a:2,S", b"second\n")]);
    let maildrop = maildir.open().await;
    maildir.remove("cur/1.a:2,");
    maildir.rename("cur/1.a:2,S", "cur/1.a:2,");
    assert!(matches!(read(&maildrop, 0).await, Err(MessageError::Gone)));
    assert_eq!(read(&maildrop, 1).await.unwrap(), b"second\n");
}

/// A size that a session has corrected is kept when it removes another message.
#[tokio::test]
async fn a_size_found_wrong_is_corrected_though_another_message_is_removed() {
    let maildir = Maildir::with(&[("new/1.a", b"a\n"), ("new/2.b", b"b\n")]);
    drop(maildir.open().await);
    let maildrop = maildir.open().await;
    maildir.put("new/1.a", b"longer\n");
    let message = maildrop.message(Position(0)).await.unwrap();
    assert_eq!((maildrop.octets(Position(0)), message.octets()), (3, 8));
    maildrop.remove(vec![Position(1)], None).await.unwrap();
    let maildrop = maildir.open().await;
    assert_eq!(listing(&maildrop), [("1.a".to_owned(), 8)]);
}
