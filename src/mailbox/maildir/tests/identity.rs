//! The identity of messages: if another file takes the name of a message, it gets neither its
//! unique-id nor its sizes, and is not removed in its place.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, symlink};
use std::time::SystemTime;

use super::super::MaildirMaildrop;
use super::super::file_system::FileSystem;
use super::support::{Maildir, listing, read, rest, unique_ids};
use crate::mailbox::{Maildrop, Message, MessageError, Position};

/// Whether the file system of the tests distinguishes files that have had the same name.
pub(super) fn has_stable_inodes(maildir: &Maildir) -> bool {
    FileSystem::of(File::open(maildir.path("new")).unwrap()).has_stable_inodes()
}

/// Delivers a message through `tmp` once the clock has advanced, so that it is newer than all others.
fn deliver_later(maildir: &Maildir, to: &str, contents: &[u8]) {
    let now = SystemTime::now();
    loop {
        maildir.put("tmp/later", contents);
        let made = fs::metadata(maildir.path("tmp/later")).unwrap().created();
        if made.map_or(true, |made| made > now) {
            return maildir.rename("tmp/later", to);
        }
        maildir.remove("tmp/later");
    }
}

#[tokio::test]
async fn a_file_that_took_the_name_of_a_marked_one_is_not_removed() {
    type Take = fn(&Maildir) -> &'static str;
    let ways: [Take; 5] = [
        |maildir| {
            // Most likely it has the inode number of the other, too.
            maildir.remove("new/2.b");
            deliver_later(maildir, "new/2.b", b"not seen\n");
            "new/2.b"
        },
        |maildir| {
            maildir.remove("new/2.b");
            deliver_later(maildir, "cur/2.b:2,", b"not seen\n");
            "cur/2.b:2,"
        },
        |maildir| {
            maildir.put("tmp/2.b", b"not seen\n");
            maildir.rename("tmp/2.b", "new/2.b");
            "new/2.b"
        },
        |maildir| {
            maildir.put("tmp/2.b", b"not seen\n");
            maildir.rename("new/2.b", "cur/2.b:2,S");
            maildir.rename("tmp/2.b", "new/2.b");
            "new/2.b"
        },
        |maildir| {
            maildir.put("tmp/2.b", b"not seen\n");
            maildir.remove("new/2.b");
            maildir.rename("tmp/2.b", "cur/2.b,S=9:2,S");
            "cur/2.b,S=9:2,S"
        },
    ];
    for (nth, taken) in ways.into_iter().enumerate() {
        let maildir =
            Maildir::with(&[("new/1.a", b"a\n"), ("new/2.b", b"b\n"), ("new/3.c", b"c\n")]);
        if !has_stable_inodes(&maildir) {
            return;
        }
        let maildrop = maildir.open().await;
        let location = taken(&maildir);
        let error = maildrop.remove((0..3).map(Position).collect(), None).await.unwrap_err();
        assert_eq!(error.remaining, 1, "way {nth}");
        assert!(error.cause.to_string().contains("another file"), "way {nth}: {}", error.cause);
        assert_eq!(fs::read(maildir.path(location)).unwrap(), b"not seen\n", "way {nth}");
        // The marked file is found, too.
        assert!(unique_ids(&maildir.open().await).contains(&"2.b".to_owned()), "way {nth}");
    }
}

/// With fewer descriptors than messages, the others are checked by their names.
#[tokio::test]
async fn of_many_marked_messages_only_listed_files_are_removed() {
    let maildir = Maildir::new();
    for message in 0..1_100 {
        maildir.put(format!("new/{message}.m"), b"x\n");
    }
    let maildrop = maildir.open().await;
    for message in (0..1_100).step_by(7) {
        maildir.put("tmp/other", b"not seen\n");
        maildir.rename("tmp/other", &format!("new/{message}.m"));
    }
    let others = (0..1_100).step_by(7).count();
    let removed = maildrop.remove((0..1_100).map(Position).collect(), None).await;
    maildir.come_to_rest();
    if has_stable_inodes(&maildir) {
        assert_eq!(removed.unwrap_err().remaining as usize, others);
        assert_eq!(fs::read_dir(maildir.path("new")).unwrap().count(), others);
    }
}

#[tokio::test]
async fn a_name_that_is_no_longer_a_file_is_not_removed() {
    let maildir = Maildir::with(&[("new/1.a", b"a\n"), ("elsewhere", b"precious\n")]);
    let maildrop = maildir.open().await;
    maildir.remove("new/1.a");
    symlink(maildir.path("elsewhere"), maildir.path("new/1.a")).unwrap();
    let removed = maildrop.remove(vec![Position(0)], None).await;
    if has_stable_inodes(&maildir) {
        assert_eq!(removed.unwrap_err().remaining, 1);
        assert!(maildir.exists("new/1.a"));
    }
    assert!(maildir.exists("elsewhere"));
}

/// A program rewrites a message: the new file is the same message, with other octets.
#[tokio::test]
async fn a_message_that_is_rewritten_is_sent_and_removed_as_it_is() {
    for in_memory in [true, false] {
        let maildir = Maildir::with(&[("new/1.a", b"a\r\nb\r\n"), ("cur/2.b:2,", b"b\n")]);
        if !has_stable_inodes(&maildir) {
            return;
        }
        drop(maildir.open().await);
        let maildrop = maildir.open().await;
        assert_eq!(maildrop.octets(Position(0)), 6);
        // The same size, but with other line ends.
        maildir.put("tmp/1.a", b"a\nb\nc\n");
        maildir.rename("tmp/1.a", if in_memory { "new/1.a" } else { "cur/1.a:2,S" });
        if !in_memory {
            maildir.remove("new/1.a");
        }
        for _ in 0..2 {
            let mut message = maildrop.message(Position(0)).await.unwrap();
            assert_eq!(message.octets(), 9);
            assert_eq!(rest(&mut message).await.unwrap(), b"a\nb\nc\n");
        }
        maildrop.remove(vec![Position(0)], None).await.unwrap();
        assert_eq!(unique_ids(&maildir.open().await), ["2.b"]);
    }
}

#[tokio::test]
async fn a_message_whose_name_several_others_have_taken_is_gone() {
    let maildir = Maildir::with(&[("new/1.a", b"listed\n")]);
    let maildrop = maildir.open().await;
    maildir.put("new/other", b"other\n");
    maildir.put("cur/1.a:2,", b"another\n");
    maildir.rename("new/other", "new/1.a");
    if has_stable_inodes(&maildir) {
        assert!(matches!(read(&maildrop, 0).await, Err(MessageError::Gone)));
    }
}

/// The index has sizes of other files with the same names and numbers of bytes.
#[tokio::test]
async fn sizes_in_the_index_are_those_of_a_file_and_not_of_its_name() {
    type Change = fn(&Maildir);
    let changes: [Change; 3] = [
        // A program that rewrites by renaming.
        |maildir| {
            maildir.put("tmp/1.a", b"a\nb\nc\n");
            maildir.rename("tmp/1.a", "new/1.a");
        },
        // An index from elsewhere, for the same names.
        |maildir| {
            let other = Maildir::with(&[("new/1.a", b"a\nb\nc\n")]);
            let index = fs::read(maildir.path("restante.index")).unwrap();
            fs::remove_dir_all(maildir.path("new")).unwrap();
            fs::rename(other.path("new"), maildir.path("new")).unwrap();
            maildir.put("restante.index", &index);
        },
        // A restored backup. Both files exist for a while, so their inode numbers differ.
        |maildir| {
            maildir.rename("new", "old");
            fs::create_dir(maildir.path("new")).unwrap();
            maildir.put("new/1.a", b"a\nb\nc\n");
        },
    ];
    for (nth, change) in changes.into_iter().enumerate() {
        let maildir = Maildir::with(&[("new/1.a", b"a\r\nb\r\n")]);
        if !has_stable_inodes(&maildir) {
            return;
        }
        let before = listing(&maildir.open().await);
        assert_eq!(before, [("1.a".to_owned(), 6)]);
        maildir.come_to_rest();
        let inode = fs::metadata(maildir.path("new/1.a")).unwrap().ino();
        change(&maildir);
        assert_ne!(fs::metadata(maildir.path("new/1.a")).unwrap().ino(), inode);
        let maildrop = maildir.open().await;
        assert_eq!((listing(&maildrop), maildrop.stats().opened), (vec![("1.a".to_owned(), 9)], 1));
        drop(maildrop);
        assert_eq!(maildir.open().await.stats().opened, 0, "change {nth}");
    }
}

#[tokio::test]
async fn renaming_costs_no_count() {
    let maildir = Maildir::with(&[("new/1.a", b"a\n"), ("cur/2.b:2,", b"b\n")]);
    drop(maildir.open().await);
    maildir.rename("new/1.a", "cur/1.a,S=2:2,S");
    maildir.rename("cur/2.b:2,", "new/2.b");
    let maildrop = maildir.open().await;
    assert_eq!(maildrop.stats().opened, 0);
    maildrop.remove(vec![Position(0), Position(1)], None).await.unwrap();
    assert_eq!(maildir.open().await.count(), 0);
}

/// Each message with its unique-id, in the order of their contents.
async fn owners(maildrop: &MaildirMaildrop) -> Vec<(String, String)> {
    let mut owners = Vec::new();
    for (at, unique_id) in (0..).zip(unique_ids(maildrop)) {
        let contents = String::from_utf8(read(maildrop, at).await.unwrap()).unwrap();
        owners.push((contents.trim_end().to_owned(), unique_id));
    }
    owners.sort();
    owners
}

/// Removes a message, told by its contents.
async fn remove(maildir: &Maildir, contents: &str) {
    let maildrop = maildir.open().await;
    for at in 0..maildrop.count() {
        if read(&maildrop, at).await.unwrap().trim_ascii_end() == contents.as_bytes() {
            return maildrop.remove(vec![Position(at)], None).await.unwrap();
        }
    }
    panic!("no {contents}");
}

fn id_of(owners: &[(String, String)], contents: &str) -> String {
    owners.iter().find(|(other, _)| other == contents).unwrap().1.clone()
}

/// A client that has fetched the first by its unique-id must never take the second for it.
#[tokio::test]
async fn the_unique_id_of_a_removed_message_is_not_that_of_its_namesake() {
    let maildir = Maildir::with(&[("cur/1.x:2,S", b"first\n")]);
    if !has_stable_inodes(&maildir) {
        return;
    }
    assert_eq!(owners(&maildir.open().await).await, [("first".to_owned(), "1.x".to_owned())]);
    maildir.deliver("1.x", b"second\n");
    let both = owners(&maildir.open().await).await;
    assert_eq!(id_of(&both, "first"), "1.x", "the client knows it by that");
    let second = id_of(&both, "second");
    assert_eq!(second.len(), 64);
    assert_eq!(owners(&maildir.open().await).await, both);

    remove(&maildir, "first").await;
    for flags in ["cur/1.x:2,", "cur/1.x:2,FS"] {
        let left = owners(&maildir.open().await).await;
        assert_eq!(left, [("second".to_owned(), second.clone())]);
        let name = maildir.tree().into_iter().find(|name| name.contains("1.x")).unwrap();
        maildir.rename(&name, flags);
    }
    // A third does not get it either, whether or not the second still exists.
    maildir.deliver("1.x", b"third\n");
    let two = owners(&maildir.open().await).await;
    assert_eq!(id_of(&two, "second"), second);
    let third = id_of(&two, "third");
    remove(&maildir, "second").await;
    assert_eq!(owners(&maildir.open().await).await, [("third".to_owned(), third)]);
}

/// Another program may remove the first between two sessions.
#[tokio::test]
async fn a_namesake_keeps_its_unique_id_when_another_program_removes_the_first() {
    for removed in ["cur/1.x:2,S", "new/1.x"] {
        let maildir = Maildir::with(&[("cur/1.x:2,S", b"first\n")]);
        if !has_stable_inodes(&maildir) {
            return;
        }
        drop(maildir.open().await);
        maildir.deliver("1.x", b"second\n");
        let both = owners(&maildir.open().await).await;
        maildir.remove(removed);
        for _ in 0..3 {
            let left = owners(&maildir.open().await).await;
            assert_eq!(left.len(), 1);
            assert!(both.contains(&left[0]), "{left:?}");
        }
    }
}

/// Without the index it is not known which of them a client knows by the name.
#[tokio::test]
async fn without_an_index_all_that_share_a_name_get_hashes() {
    let maildir = Maildir::with(&[("cur/1.x:2,S", b"first\n"), ("new/1.x", b"second\n")]);
    let both = owners(&maildir.open().await).await;
    assert!(both.iter().all(|(_, id)| id.len() == 64) && both[0].1 != both[1].1, "{both:?}");
    maildir.come_to_rest();
    maildir.remove("restante.index");
    assert_eq!(owners(&maildir.open().await).await, both);
    remove(&maildir, "first").await;
    assert_eq!(owners(&maildir.open().await).await, both[1..]);
}

/// A backup: other files with the same names, and the index of the old ones.
#[tokio::test]
async fn restored_namesakes_get_new_unique_ids() {
    let maildir = Maildir::with(&[("cur/1.x:2,S", b"first\n"), ("cur/2.y:2,", b"alone\n")]);
    if !has_stable_inodes(&maildir) {
        return;
    }
    drop(maildir.open().await);
    maildir.deliver("1.x", b"second\n");
    let before = owners(&maildir.open().await).await;
    maildir.come_to_rest();
    let names = ["cur/1.x:2,S", "cur/2.y:2,", "new/1.x"];
    // While they are open, no copy gets the inode number of one of them.
    let _originals = names.map(|name| fs::File::open(maildir.path(name)).unwrap());
    for name in names {
        fs::copy(maildir.path(name), maildir.path("tmp/copy")).unwrap();
        maildir.rename("tmp/copy", name);
    }
    let after = owners(&maildir.open().await).await;
    assert_eq!(id_of(&after, "alone"), "2.y");
    for contents in ["first", "second"] {
        let id = id_of(&after, contents);
        assert!(before.iter().all(|(_, other)| *other != id), "{after:?}");
    }
    assert_eq!(owners(&maildir.open().await).await, after);
}
