//! Names with another separator before the flags than `:`.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::super::{MaildirMaildrop, Separator};
use super::support::{Maildir, read, unique_ids};
use crate::login::Identity;
use crate::mailbox::{Mailbox, Maildrop, Position};

async fn open(maildir: &Maildir, separator: Separator) -> MaildirMaildrop {
    let store = maildir.store().with_separator(separator);
    let user = Identity::for_test("mrose");
    store
        .open_within(&user, &CancellationToken::default(), Duration::from_secs(30), || {})
        .await
        .unwrap()
}

#[tokio::test]
async fn flags_do_not_change_unique_ids() {
    for separator in Separator::ALL {
        let mark = separator.character();
        let maildir = Maildir::with(&[("new/1.a_b;c!d", b"a\n"), ("new/2.b,S=3", b"bb\n")]);
        let expected = ["1.a_b;c!d", "2.b"];
        let mut maildrop = open(&maildir, separator).await;
        assert_eq!(unique_ids(&maildrop), expected, "{separator:?}");
        let mut names = ["new/1.a_b;c!d".to_owned(), "new/2.b,S=3".to_owned()];
        for flags in ["", "S", "RS", "FRSab"] {
            for (name, base) in names.iter_mut().zip(["1.a_b;c!d", "2.b,S=3"]) {
                let renamed = format!("cur/{base}{mark}2,{flags}");
                maildir.rename(name, &renamed);
                *name = renamed;
            }
            // In the session that listed the old names, and in the next one.
            assert_eq!(read(&maildrop, 1).await.unwrap(), b"bb\n");
            drop(maildrop);
            maildrop = open(&maildir, separator).await;
            assert_eq!(unique_ids(&maildrop), expected, "{separator:?} {flags}");
        }
        let renamed = format!("cur/1.a_b;c!d{mark}2,S");
        maildir.rename(&names[0], &renamed);
        maildrop.remove(vec![Position(0), Position(1)], None).await.unwrap();
        assert!(!maildir.exists(&renamed) && !maildir.exists(&names[1]));
    }
}

/// Namesakes and names that are too long have other unique-ids, but the same unique names.
#[tokio::test]
async fn hashed_unique_ids_are_found_again() {
    let long = format!("3.{}", "x".repeat(100));
    let maildir = Maildir::new();
    maildir.put(format!("new/{long}"), b"long\n");
    let maildrop = open(&maildir, Separator::Semicolon).await;
    let before = unique_ids(&maildrop);
    maildir.rename(&format!("new/{long}"), &format!("cur/{long};2,S"));
    assert_eq!(read(&maildrop, 0).await.unwrap(), b"long\n");
    drop(maildrop);
    let maildrop = open(&maildir, Separator::Semicolon).await;
    assert_eq!(unique_ids(&maildrop), before);
    assert_eq!(maildrop.stats().opened, 0, "its size is known");
}

#[tokio::test]
async fn an_index_for_another_separator_is_not_believed() {
    let maildir = Maildir::with(&[("cur/1.a;2,S", b"a\n")]);
    assert_eq!(unique_ids(&open(&maildir, Separator::Colon).await), ["1.a;2,S"]);
    assert_eq!(unique_ids(&open(&maildir, Separator::Semicolon).await), ["1.a"]);
    assert_eq!(unique_ids(&open(&maildir, Separator::Semicolon).await), ["1.a"]);
    assert_eq!(unique_ids(&open(&maildir, Separator::Colon).await), ["1.a;2,S"]);
}
