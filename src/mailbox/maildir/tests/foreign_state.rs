//! A `restante.uids` that is not that of the Maildir, without an index that could tell: when logins
//! are refused, and when not. And one that is damaged.

use std::fs::{self, File};
use std::thread;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::super::Separator;
use super::super::file_system::FileSystem;
use super::continuity::open;
use super::guard::{by_state, files, harmless_changes, listed, login, refused, store_with};
use super::support::{Maildir, runtime};
use crate::config::{GuardMode, UidlSource};
use crate::mailbox::{Maildrop, OpenError, Position};

/// Lets the clock of the file system advance.
fn wait() {
    thread::park_timeout(Duration::from_millis(20));
}

/// Makes `maildir` have the state of `other`, and no index.
fn give_state(other: &Maildir, maildir: &Maildir) {
    maildir.come_to_rest();
    wait();
    fs::copy(other.path("restante.uids"), maildir.path("restante.uids")).unwrap();
    lose_index(maildir);
}

fn lose_index(maildir: &Maildir) {
    maildir.come_to_rest();
    maildir.remove("restante.index");
}

/// A Maildir that has been listed, with other messages than [`listed`] gives.
async fn other(messages: usize) -> Maildir {
    let other = Maildir::new();
    for message in 0..messages {
        other.put(format!("cur/{message}.other:2,"), b"x\n");
    }
    login(&by_state(&other)).await.unwrap();
    other.come_to_rest();
    other
}

/// Whether the ctimes of messages are used.
fn has_reliable_ctime(maildir: &Maildir) -> bool {
    FileSystem::of(File::open(maildir.path("cur")).unwrap()).has_reliable_ctime()
}

fn with_time(maildir: &Maildir, name: &str, time: SystemTime) {
    File::options().write(true).open(maildir.path(name)).unwrap().set_modified(time).unwrap();
}

#[tokio::test]
async fn the_state_of_another_maildir() {
    let other = other(300).await;
    for (mode, is_refused) in
        [(GuardMode::Refuse, true), (GuardMode::Warn, false), (GuardMode::Off, false)]
    {
        let maildir = listed(by_state, 20).await;
        give_state(&other, &maildir);
        let section = super::continuity::section(&[UidlSource::BaseName]);
        let store = store_with(&maildir, &section, mode);
        if is_refused && has_reliable_ctime(&maildir) {
            refused(&maildir, &store, "20 of 20 messages are older than restante.uids").await;
        } else {
            assert_eq!(login(&store).await.unwrap().len(), 20);
        }
    }
}

#[tokio::test]
async fn an_old_copy_of_the_state() {
    for (later, is_refused) in [(15, true), (10, true), (9, false)] {
        let maildir = listed(by_state, 20).await;
        let before = fs::read(maildir.path("restante.uids")).unwrap();
        for message in 0..later {
            maildir.deliver(&format!("500{message}.new"), b"new\n");
        }
        login(&by_state(&maildir)).await.unwrap();
        lose_index(&maildir);
        wait();
        fs::write(maildir.path("restante.uids"), before).unwrap();
        if is_refused && has_reliable_ctime(&maildir) {
            let expected = format!("{later} of {} messages are older", 20 + later);
            refused(&maildir, &by_state(&maildir), &expected).await;
        } else {
            login(&by_state(&maildir)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn names_that_are_read_with_another_separator() {
    let maildir = listed(by_state, 20).await;
    let expected = login(&by_state(&maildir)).await.unwrap();
    for separator in [Separator::Semicolon, Separator::Underscore] {
        let store = by_state(&maildir).with_separator(separator);
        let refusal = login(&store).await.unwrap_err();
        let way_out = "has 20 of 20 messages by names in which : separates the flags, and clients \
                       would download them again: write flag-separator = \":\" under [maildir]";
        assert!(refusal.contains(way_out), "{refusal}");
        assert_eq!(login(&by_state(&maildir)).await.unwrap(), expected);
        lose_index(&maildir);
        assert!(login(&store).await.is_err());
    }
    let store = by_state(&maildir).with_separator(Separator::Semicolon);
    refused(&maildir, &store, "flag-separator").await;
}

/// Whatever happens to the mail, and even if the index is lost then.
#[tokio::test]
async fn mail_comes_and_goes() {
    for (name, change) in harmless_changes() {
        let maildir = listed(by_state, 40).await;
        change(&maildir);
        lose_index(&maildir);
        login(&by_state(&maildir)).await.unwrap_or_else(|why| panic!("{name}: {why}"));
    }
}

#[tokio::test]
async fn an_emptied_maildrop_gets_old_mail() {
    let maildir = listed(by_state, 40).await;
    let maildrop = open(&by_state(&maildir)).await.unwrap();
    let all = (0..maildrop.count()).map(Position).collect();
    maildrop.remove(all, None).await.unwrap();
    // Moved from another folder.
    for message in 0..40 {
        let name = format!("tmp/{message}.old");
        maildir.put(&name, b"old\n");
        with_time(&maildir, &name, SystemTime::UNIX_EPOCH);
        maildir.rename(&name, &format!("cur/{message}.old:2,S"));
    }
    lose_index(&maildir);
    assert_eq!(login(&by_state(&maildir)).await.unwrap().len(), 40);
}

/// These cannot be told from a maildrop that was emptied. No message is older than the file.
#[tokio::test]
async fn times_that_say_nothing() {
    let other = other(30).await;
    let now = SystemTime::now();
    for time in [SystemTime::UNIX_EPOCH, now + Duration::from_secs(60)] {
        let maildir = listed(by_state, 20).await;
        give_state(&other, &maildir);
        with_time(&maildir, "restante.uids", time);
        assert_eq!(login(&by_state(&maildir)).await.unwrap().len(), 20);
    }
    // The end of a batch is missing.
    let maildir = listed(by_state, 20).await;
    give_state(&other, &maildir);
    let text = fs::read(maildir.path("restante.uids")).unwrap();
    fs::write(maildir.path("restante.uids"), [&text[..], b"+ a"].concat()).unwrap();
    assert_eq!(login(&by_state(&maildir)).await.unwrap().len(), 20);
}

/// An earlier version kept the mark of the state without a checksum.
#[tokio::test]
async fn an_index_of_an_earlier_version() {
    let maildir = Maildir::new();
    for name in ["cur/1.a:2,", "cur/1.a:2,S", "new/1.a", "cur/2.b:2,"] {
        maildir.put(name, b"x\n");
        login(&by_state(&maildir)).await.unwrap();
    }
    let expected = login(&by_state(&maildir)).await.unwrap();
    maildir.come_to_rest();
    let mut index = fs::read(maildir.path("restante.index")).unwrap();
    index[15] = b'6';
    fs::write(maildir.path("restante.index"), index).unwrap();
    for _ in 0..2 {
        assert_eq!(login(&by_state(&maildir)).await.unwrap(), expected);
    }
    assert_eq!(expected.len(), 4);
}

/// The state still shows that the other file has had the name first.
#[tokio::test]
async fn the_last_file_of_a_shared_name() {
    let maildir = Maildir::with(&[("cur/1.a:2,", b"first\n")]);
    login(&by_state(&maildir)).await.unwrap();
    maildir.put("new/1.a", b"second\n");
    let ids = login(&by_state(&maildir)).await.unwrap();
    maildir.remove("cur/1.a:2,");
    lose_index(&maildir);
    for _ in 0..3 {
        assert_eq!(login(&by_state(&maildir)).await.unwrap(), ids[1..]);
        maildir.deliver("2.b", b"third\n");
        maildir.come_to_rest();
        maildir.remove("new/2.b");
    }
}

#[tokio::test]
async fn a_damaged_state_is_not_used() {
    let maildir = listed(by_state, 20).await;
    maildir.deliver("3000.new", b"new\n");
    login(&by_state(&maildir)).await.unwrap();
    maildir.come_to_rest();
    let mut text = fs::read(maildir.path("restante.uids")).unwrap();
    text[60] ^= 1;
    fs::write(maildir.path("restante.uids"), &text).unwrap();
    for lost in [false, true] {
        if lost {
            lose_index(&maildir);
        }
        let Err(OpenError::Unavailable(why)) = open(&by_state(&maildir)).await else {
            panic!("it is used")
        };
        let why = why.to_string();
        assert!(why.contains("damaged in line 2; restore it from a backup"), "{why}");
        assert_eq!(fs::read(maildir.path("restante.uids")).unwrap(), text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The file of another Maildir has some of the messages that are here.
    #[test]
    fn a_foreign_state_is_refused_if_it_lacks_much(here in 1..60_usize, known in 0..60_usize) {
        runtime().block_on(async {
            let maildir = listed(by_state, here).await;
            let other = Maildir::new();
            let known = known.min(here);
            for name in &files(&maildir)[..known] {
                other.put(format!("cur/{name}"), b"x\n");
            }
            other.put("cur/1.other:2,", b"x\n");
            login(&by_state(&other)).await.unwrap();
            other.come_to_rest();
            give_state(&other, &maildir);
            let unknown = here - known;
            let is_much = unknown >= 10 && unknown * 100 >= here * 20;
            let is_refused = is_much && has_reliable_ctime(&maildir);
            assert_eq!(login(&by_state(&maildir)).await.is_err(), is_refused);
        });
    }
}
