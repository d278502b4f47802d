//! Maildirs with messages that are compressed, encrypted or neither, and files that are replaced.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::FileExt;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::super::compressed::tests::noise;
use super::support::{Maildir, listing, read, rest, unique_ids};
use crate::mailbox::{Maildrop, Message, MessageError, Position};

fn gzip(contents: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(contents).unwrap();
    encoder.finish().unwrap()
}

const ENCRYPTED: &[u8] = b"CRYPTED\x03\x07\x02 and so on";

#[tokio::test]
async fn a_compressed_message_is_listed_and_read_as_what_it_holds() {
    let long = noise(300_000);
    let maildir = Maildir::with(&[
        ("new/1.a", &gzip(b"a\n\nb")),
        ("new/2.b,S=1", &gzip(&long)),
        ("cur/3.c:2,S", b"plain\n"),
        ("new/4.d", &gzip(b"")),
    ]);
    let feeds = long.iter().zip([0].iter().chain(&long)).filter(|pair| *pair.0 == b'\n');
    let feeds = feeds.filter(|pair| *pair.1 != b'\r').count() as u64;
    let octets = 300_000 + feeds + if long.ends_with(b"\n") { 0 } else { 2 };
    for login in 0..2 {
        let maildrop = maildir.open().await;
        let expected = [("1.a", 8), ("2.b", octets), ("3.c", 7), ("4.d", 0)];
        assert_eq!(listing(&maildrop), expected.map(|(id, octets)| (id.to_owned(), octets)));
        assert_eq!(maildrop.stats().opened, if login == 0 { 4 } else { 0 });
        for (at, contents) in (0..).zip([&b"a\n\nb"[..], &long, b"plain\n", b""]) {
            assert!(read(&maildrop, at).await.unwrap() == contents, "message {at}");
            let message = maildrop.message(Position(at)).await.unwrap();
            assert_eq!(message.octets(), maildrop.octets(Position(at)));
        }
        drop(maildrop);
        maildir.come_to_rest();
    }
}

/// The size of a chunk does not depend on the size of the file or of its contents.
#[tokio::test]
async fn memory_does_not_grow_with_what_is_compressed() {
    let maildir = Maildir::with(&[("new/1.big", &gzip(&vec![b'x'; 40 << 20]))]);
    let maildrop = maildir.open().await;
    assert_eq!(maildrop.octets(Position(0)), (40 << 20) + 2);
    let mut message = maildrop.message(Position(0)).await.unwrap();
    let mut total = 0;
    while let length @ 1.. = message.chunk().await.unwrap().len() {
        assert!(length <= 64 << 10);
        total += length;
    }
    assert_eq!(total, 40 << 20);
}

#[tokio::test]
async fn a_message_that_cannot_be_decompressed_is_left_out() {
    let whole = gzip(b"a message\n");
    let maildir = Maildir::with(&[
        ("new/1.cut", &whole[..whole.len() - 1]),
        ("new/2.whole", &whole),
        ("new/3.encrypted", ENCRYPTED),
    ]);
    for _ in 0..2 {
        let maildrop = maildir.open().await;
        assert_eq!(unique_ids(&maildrop), ["2.whole"]);
        // Each login reads it again: a repaired file does not change the stamp of the folder.
        assert_eq!(maildrop.stats().left_out, 2);
        drop(maildrop);
        maildir.come_to_rest();
    }
    maildir.put("new/1.cut", &whole);
    assert_eq!(unique_ids(&maildir.open().await), ["1.cut", "2.whole"]);
}

/// After an empty listing, clients would forget what they have downloaded.
#[tokio::test]
async fn a_maildir_without_a_readable_message_is_not_opened() {
    let maildir = Maildir::with(&[("new/1.a", ENCRYPTED), ("cur/2.b:2,", ENCRYPTED)]);
    let failure = maildir.failure().await.to_string();
    assert!(failure.contains(": encrypted by the mail-crypt plugin"), "{failure}");
}

/// A program compresses an existing message, and keeps its name.
#[tokio::test]
async fn a_message_that_is_compressed_meanwhile_is_the_same_message() {
    let text = b"text ".repeat(100);
    let maildir = Maildir::with(&[("new/1.a", &text), ("new/2.b", &gzip(&text))]);
    let maildrop = maildir.open().await;
    maildir.put("new/1.a", &gzip(&text));
    maildir.put("new/2.b", &text);
    for at in 0..2 {
        assert_eq!(maildrop.message(Position(at)).await.unwrap().octets(), 502);
        assert_eq!(read(&maildrop, at).await.unwrap(), text);
    }
    drop(maildrop);
    maildir.come_to_rest();
    let maildrop = maildir.open().await;
    assert_eq!(maildrop.stats().opened, 2);
    assert_eq!(maildrop.octets(Position(0)), 502);
}

/// The index compares the sizes of files; the first bytes are checked, too.
#[tokio::test]
async fn a_message_of_the_same_size_that_is_stored_otherwise_is_counted_again() {
    let compressed = gzip(b"a message\n");
    let plain = vec![b'x'; compressed.len()];
    let maildir = Maildir::with(&[("new/1.a", &plain), ("new/2.b", &compressed)]);
    let maildrop = maildir.open().await;
    maildir.put("new/1.a", &compressed);
    maildir.put("new/2.b", &plain);
    let message = maildrop.message(Position(0)).await.unwrap();
    assert_eq!(message.octets(), 11);
    assert_eq!(read(&maildrop, 0).await.unwrap(), b"a message\n");
    let message = maildrop.message(Position(1)).await.unwrap();
    assert_eq!(message.octets(), plain.len() as u64 + 2);
    assert_eq!(read(&maildrop, 1).await.unwrap(), plain);
}

#[tokio::test]
async fn a_message_that_is_encrypted_meanwhile_is_not_read_and_left_out_next_time() {
    for stored in [vec![b'x'; ENCRYPTED.len()], gzip(b"a message\n")] {
        let maildir = Maildir::with(&[("new/1.a", &stored), ("new/2.b", b"b\n")]);
        let maildrop = maildir.open().await;
        maildir.put("new/1.a", ENCRYPTED);
        match read(&maildrop, 0).await {
            Err(MessageError::Unreadable(failure)) => {
                assert!(failure.to_string().contains("mail-crypt"), "{failure}");
            }
            other => panic!("{other:?}"),
        }
        drop(maildrop);
        maildir.come_to_rest();
        assert_eq!(unique_ids(&maildir.open().await), ["2.b"]);
    }
}

/// Its size has not changed: without the record of this session the next login would list it again.
#[tokio::test]
async fn a_message_that_turns_out_to_be_damaged_is_left_out_next_time() {
    let contents = noise(200_000);
    let maildir = Maildir::with(&[("new/1.a", &gzip(&contents)), ("new/2.b", b"b\n")]);
    let maildrop = maildir.open().await;
    let file = OpenOptions::new().write(true).open(maildir.path("new/1.a")).unwrap();
    let middle = file.metadata().unwrap().len() / 2;
    file.write_all_at(&[0; 1000], middle).unwrap();
    let mut message = maildrop.message(Position(0)).await.unwrap();
    let error = rest(&mut message).await.unwrap_err();
    assert!(error.to_string().contains("new/1.a: damaged gzip"), "{error}");
    rest(&mut message).await.unwrap_err();
    drop(message);
    drop(maildrop);
    maildir.come_to_rest();
    assert_eq!(unique_ids(&maildir.open().await), ["2.b"]);
}
