//! Listings: order, unique-ids, octets, the index, and Maildirs that change meanwhile.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, FileType, Mode};

use super::support::{Maildir, listing, read, runtime, unique_ids};
use crate::mailbox::Maildrop;

#[tokio::test]
async fn an_empty_maildir_has_an_empty_listing() {
    let maildir = Maildir::new();
    assert_eq!(maildir.open().await.count(), 0);
}

#[tokio::test]
async fn messages_are_ordered_by_number_then_name() {
    let maildir = Maildir::with(&[
        ("new/1700000010.b", b"x\n"),
        ("cur/1700000009.z:2,S", b""),
        ("cur/1700000010.a,S=2,W=3:2,FS", b"\n\n"),
        ("new/odd", b"no line end"),
        ("cur/900.x:1,odd", b"a\r\nb\n"),
    ]);
    let maildrop = maildir.open().await;
    let expected =
        [("900.x", 6), ("1700000009.z", 0), ("1700000010.a", 4), ("1700000010.b", 3), ("odd", 13)];
    assert_eq!(listing(&maildrop), expected.map(|(id, octets)| (id.to_owned(), octets)));
}

#[tokio::test]
async fn unique_ids_outlive_flags_moves_sizes_and_the_index() {
    let maildir = Maildir::with(&[("new/1.a", b"x\n"), ("cur/2.b c:2,", b"x\n")]);
    let before = unique_ids(&maildir.open().await);
    maildir.rename("new/1.a", "cur/1.a,S=2,W=3:2,S");
    maildir.rename("cur/2.b c:2,", "new/2.b c,W=3");
    let maildrop = maildir.open().await;
    assert_eq!(unique_ids(&maildrop), before);
    drop(maildrop);
    let maildrop = maildir.open().await;
    maildir.remove("restante.index");
    drop(maildrop);
    assert_eq!(unique_ids(&maildir.open().await), before);
}

/// Times and names of every kind.
#[tokio::test]
async fn odd_names_and_times_are_listed_in_a_stable_order_with_legal_ids() {
    let long = format!("cur/1700000000.{}:2,S", "x".repeat(230));
    let maildir = Maildir::with(&[
        ("new/1700000002.future", b"a\n"),
        ("new/1700000001.past", b"b\n"),
        (&long, b"c\n"),
        ("new/18446744073709551616.huge", b"d\n"),
        ("cur/with space", b"e\n"),
        ("cur/:2,S", b"f\n"),
        ("cur/,S=2", b"g\n"),
    ]);
    let odd = std::ffi::OsStr::new("new").to_owned();
    let odd = [odd.as_encoded_bytes(), b"/\xff\xfe\r\x1b[2J"].concat();
    let odd: std::ffi::OsString = std::os::unix::ffi::OsStringExt::from_vec(odd);
    maildir.put(&odd, b"h\n");
    let far = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
    let set = |name, time| File::open(maildir.path(name)).unwrap().set_modified(time).unwrap();
    set("new/1700000002.future", far);
    set("new/1700000001.past", SystemTime::UNIX_EPOCH);

    let maildrop = maildir.open().await;
    let ids = unique_ids(&maildrop);
    assert_eq!(ids.len(), 8);
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 8);
    let mut letters = Vec::new();
    for at in 0..8 {
        letters.extend(read(&maildrop, at).await.unwrap());
    }
    assert_eq!(letters.escape_ascii().to_string(), r"c\nb\na\nd\ng\nf\ne\nh\n");
    drop(maildrop);
    assert_eq!(unique_ids(&maildir.open().await), ids);
}

/// Several files of one unique name.
#[tokio::test]
async fn namesakes_are_messages_of_their_own() {
    let maildir = Maildir::with(&[
        ("new/1.a", b"delivered again\n"),
        ("cur/1.a:2,", b"first\n"),
        ("cur/1.a:2,S", b"second\n"),
        ("cur/2.b:2,", b"alone\n"),
    ]);
    let first_session = maildir.open().await;
    let ids = unique_ids(&first_session);
    assert!(ids[..3].iter().all(|id| id.len() == 64) && ids[3] == "2.b", "{ids:?}");
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 4);
    assert_eq!(read(&first_session, 0).await.unwrap(), b"first\n");
    assert_eq!(read(&first_session, 1).await.unwrap(), b"second\n");
    assert_eq!(read(&first_session, 2).await.unwrap(), b"delivered again\n");
    drop(first_session);
    let second_session = maildir.open().await;
    assert_eq!(unique_ids(&second_session), ids);
    assert_eq!(second_session.stats().opened, 0);
}

/// Flags decide the order of namesakes in a listing, but not their unique-ids.
#[tokio::test]
async fn namesakes_keep_their_unique_ids_whatever_their_flags() {
    let maildir = Maildir::with(&[
        ("cur/1.a:2,", b"first\n"),
        ("cur/1.a:2,S", b"second\n"),
        ("new/1.a", b"third\n"),
    ]);
    let mut before = None;
    for (from, to) in [
        ("", ""),
        ("cur/1.a:2,", "cur/1.a:2,T"),
        ("new/1.a", "cur/1.a:2,"),
        ("cur/1.a:2,S", "cur/1.a,S=7:2,RS"),
    ] {
        if !from.is_empty() {
            maildir.rename(from, to);
        }
        let maildrop = maildir.open().await;
        let mut messages = Vec::new();
        for (at, unique_id) in (0..).zip(unique_ids(&maildrop)) {
            messages.push((read(&maildrop, at).await.unwrap(), unique_id));
        }
        messages.sort();
        assert_eq!(before.get_or_insert_with(|| messages.clone()), &messages, "{to}");
    }
}

#[tokio::test]
async fn a_file_with_two_names_of_one_unique_name_is_one_message() {
    let maildir = Maildir::with(&[("new/1.a", b"x\n")]);
    fs::hard_link(maildir.path("new/1.a"), maildir.path("cur/1.a:2,S")).unwrap();
    assert_eq!(unique_ids(&maildir.open().await), ["1.a"]);
}

#[tokio::test]
async fn a_copy_under_another_unique_name_is_another_message() {
    let maildir = Maildir::with(&[("new/1.a", b"x\n")]);
    fs::hard_link(maildir.path("new/1.a"), maildir.path("new/2.b")).unwrap();
    assert_eq!(unique_ids(&maildir.open().await), ["1.a", "2.b"]);
}

/// Only a regular file is a message; a login does not wait for any other kind.
#[tokio::test]
async fn only_regular_files_are_messages() {
    let maildir = Maildir::with(&[("new/1.a", b"x\n"), ("new/.2.hidden", b"x\n")]);
    maildir.put("new/3.line\nfeed", b"x\n");
    fs::create_dir(maildir.path("cur/4.directory")).unwrap();
    symlink("/dev/zero", maildir.path("new/5.link")).unwrap();
    symlink(maildir.path("new/1.a"), maildir.path("cur/6.link:2,S")).unwrap();
    let mode = Mode::RUSR | Mode::WUSR;
    rustix::fs::mkfifoat(CWD, maildir.path("new/7.fifo"), mode).unwrap();
    rustix::fs::mknodat(CWD, maildir.path("cur/8.socket"), FileType::Socket, mode, 0).unwrap();
    let maildrop = maildir.open().await;
    assert_eq!(unique_ids(&maildrop), ["1.a"]);
}

/// A wrong size in a name is ignored.
#[tokio::test]
async fn sizes_in_names_are_not_believed() {
    let maildir = Maildir::with(&[
        ("new/1.a,S=0,W=0", b"one\n"),
        ("new/2.b,S=-1,W=99999999999999999999", b"two\n"),
        ("cur/3.c,W=9223372036854775808:2,S", b"three"),
    ]);
    let expected = [("1.a", 5), ("2.b", 5), ("3.c", 7)];
    let maildrop = maildir.open().await;
    assert_eq!(listing(&maildrop), expected.map(|(id, octets)| (id.to_owned(), octets)));
    assert_eq!(read(&maildrop, 2).await.unwrap(), b"three");
}

#[tokio::test]
async fn the_second_login_opens_no_message() {
    let maildir = Maildir::new();
    for message in 0..50 {
        maildir.deliver(&format!("17000000{message:02}.M{message}.host"), b"one\ntwo\n");
    }
    let first = maildir.open().await;
    assert_eq!(first.stats().opened, 50);
    let listed = listing(&first);
    drop(first);

    let second = maildir.open().await;
    assert_eq!(second.stats().opened, 0);
    assert!(!second.stats().index_is_stale);
    assert_eq!(listing(&second), listed);
    drop(second);

    // Only new messages are opened, and only missing ones are forgotten.
    maildir.deliver("1700000099.new.host", b"new\n");
    maildir.rename("new/1700000007.M7.host", "cur/1700000007.M7.host:2,S");
    maildir.remove("new/1700000008.M8.host");
    let third = maildir.open().await;
    assert_eq!(third.stats().opened, 1);
    assert!(third.stats().index_is_stale);
    assert_eq!(third.count(), 50);
    drop(third);
    assert!(!maildir.open().await.stats().index_is_stale);
}

/// The index is a cache: damage to it affects only speed.
#[tokio::test]
async fn a_damaged_index_changes_nothing_but_speed() {
    let maildir = Maildir::with(&[("new/1.a", b"one\n"), ("cur/2.b:2,S", b"two\r\n")]);
    let before = listing(&maildir.open().await);
    drop(maildir.open().await);
    let index = fs::read(maildir.path("restante.index")).unwrap();
    type Damage = fn(&mut Vec<u8>);
    let damages: [Damage; 6] = [
        Vec::clear,
        |index| index.truncate(30),
        |index| index[20] ^= 1,
        |index| index.extend_from_slice(b"more"),
        |index| index[0] = b'R',
        |index| index.splice(0..0, [0; 40]).for_each(drop),
    ];
    for damage in damages {
        let mut damaged = index.clone();
        damage(&mut damaged);
        maildir.put("restante.index", &damaged);
        let maildrop = maildir.open().await;
        assert_eq!((listing(&maildrop), maildrop.stats().opened), (before.clone(), 2));
        drop(maildrop);
        // The same login repairs it.
        let maildrop = maildir.open().await;
        assert_eq!((listing(&maildrop), maildrop.stats().opened), (before.clone(), 0));
    }
}

/// Without a usable index, logins still work.
#[tokio::test]
async fn an_index_that_cannot_be_used_changes_nothing_but_speed() {
    for obstacle in ["restante.index", "restante.index.new"] {
        let maildir = Maildir::with(&[("new/1.a", b"one\n")]);
        fs::create_dir(maildir.path(obstacle)).unwrap();
        for _ in 0..2 {
            let maildrop = maildir.open().await;
            assert_eq!(listing(&maildrop), [("1.a".to_owned(), 5)]);
            assert_eq!(maildrop.stats().opened, 1);
        }
    }
    let maildir = Maildir::with(&[("new/1.a", b"one\n")]);
    maildir.put("elsewhere", b"precious");
    symlink("elsewhere", maildir.path("restante.index")).unwrap();
    symlink("elsewhere", maildir.path("restante.index.new")).unwrap();
    let maildrop = maildir.open().await;
    assert_eq!(unique_ids(&maildrop), ["1.a"]);
    drop(maildrop);
    assert_eq!(unique_ids(&maildir.open().await), ["1.a"]);
    assert_eq!(fs::read(maildir.path("elsewhere")).unwrap(), b"precious");
}

#[tokio::test]
async fn an_index_of_absurd_size_is_not_read() {
    let maildir = Maildir::with(&[("new/1.a", b"one\n")]);
    File::create(maildir.path("restante.index")).unwrap().set_len(1 << 40).unwrap();
    assert_eq!(listing(&maildir.open().await), [("1.a".to_owned(), 5)]);
}

#[tokio::test]
async fn nothing_of_ours_is_left_but_lock_and_index() {
    let maildir = Maildir::with(&[("new/1.a", b"one\n"), ("cur/2.b:2,S", b"two\n")]);
    drop(maildir.open().await);
    let maildrop = maildir.open().await;
    read(&maildrop, 0).await.unwrap();
    assert_eq!(maildir.tree(), ["/restante.index", "/restante.lock", "cur/2.b:2,S", "new/1.a"]);
}

#[tokio::test]
async fn a_delivery_in_the_same_tick_of_the_clock_is_not_missed() {
    let maildir = Maildir::new();
    for delivered in 1..=300 {
        maildir.deliver(&format!("17000000{delivered:03}.M.host"), b"x\n");
        assert_eq!(maildir.open().await.count(), delivered);
    }
}

/// Mail that arrives during a session is not listed in it, and is in the next one.
#[test]
fn deliveries_during_sessions_are_all_seen_later() {
    let maildir = Maildir::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            for message in 0..2_000 {
                maildir.deliver(&format!("1700000000.M{message:06}.host"), b"x\n");
            }
        });
        let runtime = runtime();
        let mut before = BTreeSet::new();
        let mut sessions = 0;
        while before.len() < 2_000 && sessions < 100_000 {
            let maildrop = runtime.block_on(maildir.open());
            let ids = unique_ids(&maildrop);
            let now = ids.iter().cloned().collect::<BTreeSet<_>>();
            assert_eq!(now.len(), ids.len(), "one was seen twice");
            assert!(now.is_superset(&before), "one was lost");
            assert_eq!(unique_ids(&maildrop), ids, "the listing changed within the session");
            before = now;
            sessions += 1;
        }
        assert_eq!(before.len(), 2_000);
    });
}

/// An IMAP server that sets and clears flags all the time never makes a message vanish.
#[test]
fn renames_never_make_the_listing_shrink() {
    const MESSAGES: usize = 100;
    const SCANS: u32 = 400;
    let name = |message: usize| format!("17000{message:05}.M{message}.host");
    let maildir = Maildir::new();
    for message in 0..MESSAGES {
        maildir.put(format!("cur/{}:2,", name(message)), b"x\n");
    }
    let runtime = runtime();
    let expected = runtime.block_on(async { unique_ids(&maildir.open().await) });
    assert_eq!(expected.len(), MESSAGES);
    let stop = AtomicBool::new(false);
    let mut repeated = 0;
    let mut different = None;
    thread::scope(|scope| {
        for flapper in 0..2 {
            let (maildir, stop) = (&maildir, &stop);
            scope.spawn(move || {
                let flags = ["", "S", "RS", "F"];
                for round in 0.. {
                    for message in (flapper..MESSAGES).step_by(2) {
                        let path = |round: usize| {
                            format!("cur/{}:2,{}", name(message), flags[round % flags.len()])
                        };
                        maildir.rename(&path(round), &path(round + 1));
                        // Leaves the scans a share of the processor.
                        thread::park_timeout(Duration::from_micros(20));
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                    }
                }
            });
        }
        for scan in 0..SCANS {
            // Sometimes without the index, which tells the scan of earlier messages.
            if scan % 2 == 0 {
                drop(fs::remove_file(maildir.path("restante.index")));
            }
            let maildrop = runtime.block_on(maildir.open());
            repeated += u32::from(maildrop.stats().passes > 1);
            if unique_ids(&maildrop) != expected {
                different = Some((scan, maildrop.count()));
                break;
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(different, None, "a scan has not found the {MESSAGES} messages");
    assert!(repeated > SCANS / 2, "the Maildir has kept too still: {repeated}");
}

/// Messages that move from `new` to `cur` while they are listed are in every listing.
#[test]
fn moves_never_make_the_listing_shrink() {
    const MESSAGES: usize = 1_000;
    let name = |message: usize| format!("17000{message:05}.M{message}.host");
    let maildir = Maildir::new();
    for message in 0..MESSAGES {
        maildir.put(format!("new/{}", name(message)), b"x\n");
    }
    let runtime = runtime();
    let expected = runtime.block_on(async { unique_ids(&maildir.open().await) });
    let moved = AtomicBool::new(false);
    let mut different = None;
    thread::scope(|scope| {
        scope.spawn(|| {
            for message in 0..MESSAGES {
                let name = name(message);
                maildir.rename(&format!("new/{name}"), &format!("cur/{name}:2,"));
                thread::yield_now();
            }
            moved.store(true, Ordering::Relaxed);
        });
        while !moved.load(Ordering::Relaxed) {
            let maildrop = runtime.block_on(maildir.open());
            if unique_ids(&maildrop) != expected {
                different = Some(maildrop.count());
            }
        }
    });
    assert_eq!(different, None, "a scan has not found the {MESSAGES} messages");
    let maildrop = runtime.block_on(maildir.open());
    assert_eq!((maildrop.stats().opened, unique_ids(&maildrop)), (0, expected));
}
