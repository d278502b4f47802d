//! The changes of `maildirsize` by removals.

use std::fs;
use std::os::unix::fs::symlink;

use rustix::fs::{CWD, Mode};

use super::support::Maildir;
use crate::mailbox::{Maildrop, Position};

const SUM: &[u8] = b"10240S\n8158 2\n";

/// Two messages, one with its size in its name, and a file with their sum.
fn maildir() -> Maildir {
    let maildir = Maildir::with(&[("new/1.a,S=4079", b"a\n"), ("cur/2.b:2,S", &[b'b'; 4000])]);
    maildir.put("maildirsize", SUM);
    maildir
}

fn quota(maildir: &Maildir) -> String {
    fs::read_to_string(maildir.path("maildirsize")).unwrap()
}

async fn remove(maildir: &Maildir, positions: &[u32]) {
    let marked = positions.iter().copied().map(Position).collect();
    maildir.open().await.remove(marked, None).await.unwrap();
    maildir.come_to_rest();
}

#[tokio::test]
async fn removed_messages_are_subtracted_by_the_size_in_the_name_or_of_the_file() {
    let maildir = maildir();
    remove(&maildir, &[]).await;
    assert_eq!(quota(&maildir), "10240S\n8158 2\n");
    remove(&maildir, &[1]).await;
    assert_eq!(quota(&maildir), "10240S\n8158 2\n-4000 -1\n");
    remove(&maildir, &[0]).await;
    assert_eq!(quota(&maildir), "10240S\n8158 2\n-4000 -1\n-4079 -1\n");
}

#[tokio::test]
async fn one_line_subtracts_all_messages() {
    let maildir = maildir();
    let maildrop = maildir.open().await;
    // The name by which it is removed counts.
    maildir.rename("cur/2.b:2,S", "cur/2.b,S=4001:2,ST");
    maildrop.remove(vec![Position(0), Position(1)], None).await.unwrap();
    assert_eq!(quota(&maildir), "10240S\n8158 2\n-8080 -2\n");
}

#[tokio::test]
async fn a_message_that_another_program_has_removed_is_not_subtracted() {
    let maildir = maildir();
    let maildrop = maildir.open().await;
    maildir.remove("new/1.a,S=4079");
    maildrop.remove(vec![Position(0), Position(1)], None).await.unwrap();
    assert_eq!(quota(&maildir), "10240S\n8158 2\n-4000 -1\n");
    remove(&maildir, &[]).await;
    let maildrop = maildir.open().await;
    assert_eq!(maildrop.count(), 0);
}

#[tokio::test]
async fn messages_that_cannot_be_removed_are_not_subtracted() {
    let maildir = maildir();
    let maildrop = maildir.open().await;
    // Now two files have one unique name, and neither is removed.
    maildir.rename("cur/2.b:2,S", "cur/2.b:2,");
    maildir.put("cur/2.b:2,RS", b"another\n");
    let error = maildrop.remove(vec![Position(0), Position(1)], None).await.unwrap_err();
    assert_eq!(error.remaining, 1);
    assert_eq!(quota(&maildir), "10240S\n8158 2\n-4079 -1\n");
}

/// A recalculation counts each name of a file.
#[tokio::test]
async fn both_names_of_a_message_are_subtracted() {
    let maildir = maildir();
    fs::hard_link(maildir.path("cur/2.b:2,S"), maildir.path("new/2.b")).unwrap();
    remove(&maildir, &[1]).await;
    assert_eq!(quota(&maildir), "10240S\n8158 2\n-8000 -2\n");
}

#[tokio::test]
async fn without_the_file_none_is_made() {
    let maildir = maildir();
    maildir.remove("maildirsize");
    remove(&maildir, &[0, 1]).await;
    assert!(!maildir.exists("maildirsize"));
}

#[tokio::test]
async fn a_file_that_is_to_be_written_anew_is_left_as_it_is() {
    for (octets, appended) in [(5119, true), (5120, false), (9000, false)] {
        let maildir = maildir();
        let mut lines = SUM.to_vec();
        lines.resize(octets - 1, b' ');
        lines.push(b'\n');
        maildir.put("maildirsize", &lines);
        remove(&maildir, &[0, 1]).await;
        assert_eq!(quota(&maildir).ends_with("\n-8079 -2\n"), appended, "{octets}");
        assert_eq!(quota(&maildir).len() > octets, appended, "{octets}");
    }
}

#[tokio::test]
async fn another_kind_of_file_than_a_quota_file_is_left_alone_and_the_removal_goes_on() {
    type Obstacle = fn(&Maildir, &std::path::Path);
    let obstacles: [Obstacle; 4] = [
        |maildir, path| symlink(maildir.path("other"), path).unwrap(),
        |maildir, path| fs::hard_link(maildir.path("other"), path).unwrap(),
        |_, path| fs::create_dir(path).unwrap(),
        |_, path| rustix::fs::mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR).unwrap(),
    ];
    for obstacle in obstacles {
        let maildir = maildir();
        maildir.remove("maildirsize");
        maildir.put("other", SUM);
        obstacle(&maildir, &maildir.path("maildirsize"));
        remove(&maildir, &[0, 1]).await;
        assert_eq!(maildir.open().await.count(), 0);
        assert_eq!(fs::read(maildir.path("other")).unwrap(), SUM);
    }
}
