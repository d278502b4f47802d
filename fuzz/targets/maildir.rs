//! Maildirs of any content, with any index: listings agree with the sent messages, and an invalid
//! index has no effect.

#![no_main]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use restante::mailbox::maildir::{MaildirStore, PathTemplate};
use restante::session::Security;
use restante_fuzz::{Clock, converse, count_replies, scratch};

#[derive(Arbitrary, Debug)]
struct Input {
    files: Vec<File>,
    index: Option<IndexFile>,
    quota: Option<Vec<u8>>,
}

#[derive(Arbitrary, Debug)]
struct File {
    new: bool,
    name: Vec<u8>,
    content: Vec<u8>,
}

#[derive(Arbitrary, Debug)]
enum IndexFile {
    /// Any octets.
    Any(Vec<u8>),
    /// The name and version of an index, then these octets, and the right checksum.
    Sealed(Vec<u8>),
    /// The index of the server with some changed octets and the right checksum.
    Changed(Vec<(u16, u8)>),
}

fuzz_target!(|input: Input| {
    let maildir = tempfile::tempdir_in(scratch().path()).expect("a directory");
    let path = maildir.path();
    for folder in ["cur", "new", "tmp"] {
        fs::create_dir(path.join(folder)).expect("a folder");
    }
    for File { new, name, content } in input.files.iter().take(8) {
        let name = &name[..name.len().min(200)];
        if name.is_empty()
            || name.contains(&b'/')
            || name.contains(&0)
            || matches!(name, b"." | b"..")
        {
            continue;
        }
        let folder = path.join(if *new { "new" } else { "cur" });
        fs::write(folder.join(OsStr::from_bytes(name)), content).expect("a message");
    }
    if let Some(quota) = &input.quota {
        fs::write(path.join("maildirsize"), quota).expect("a file");
    }
    let without = listings(path);
    assert!(listings(path) == without, "the index has changed the listing");
    let index = path.join("restante.index");
    let sealed = |mut content: Vec<u8>| {
        let checksum = crc32fast::hash(&content);
        content.extend(checksum.to_le_bytes());
        content
    };
    let written = fs::read(&index).unwrap_or_default();
    let content = written.len().checked_sub(4).and_then(|end| written.get(..end));
    match (input.index, content) {
        (Some(IndexFile::Any(octets)), _) => {
            fs::write(&index, octets).expect("an index");
            assert!(listings(path) == without, "what is no index was believed");
        }
        (Some(IndexFile::Sealed(rest)), Some(content)) => {
            let forged = [content.get(..16).unwrap_or_default(), &rest].concat();
            fs::write(&index, sealed(forged)).expect("an index");
            listings(path);
        }
        (Some(IndexFile::Changed(changes)), Some(content)) => {
            let mut forged = content.to_vec();
            for (at, octet) in changes {
                if let Some(place) = forged.get_mut(usize::from(at)) {
                    *place = octet;
                }
            }
            fs::write(&index, sealed(forged)).expect("an index");
            listings(path);
        }
        _ => {}
    }
    remove_one(path);
});

/// LIST, UIDL and the first messages; checks that they agree.
fn listings(path: &Path) -> Vec<u8> {
    let sent =
        b"USER mrose\r\nPASS tanstaaf\r\nLIST\r\nUIDL\r\nRETR 1\r\nRETR 2\r\nRETR 3\r\nQUIT\r\n";
    let output = session(path, sent);
    let text = String::from_utf8_lossy(&output);
    let ids = text.split("unique-ids").nth(1).unwrap_or_default().lines().skip(1);
    let ids = ids.take_while(|line| *line != ".").map(|line| {
        let (_, id) = line.split_once(' ').expect("a number and an id");
        assert!((1..=70).contains(&id.len()) && id.bytes().all(|octet| octet.is_ascii_graphic()));
        id.to_owned()
    });
    let ids = ids.collect::<Vec<_>>();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "an id stands twice");
    output
}

/// Removes the first message, and checks that all others stay.
fn remove_one(path: &Path) {
    let files =
        || ["cur", "new"].map(|folder| fs::read_dir(path.join(folder)).expect("a folder").count());
    let before = files().iter().sum::<usize>();
    let output = session(path, b"USER mrose\r\nPASS tanstaaf\r\nDELE 1\r\nQUIT\r\n");
    let removed = String::from_utf8_lossy(&output).contains("+OK 1 message removed");
    assert!(before - files().iter().sum::<usize>() <= usize::from(removed));
}

fn session(path: &Path, sent: &[u8]) -> Vec<u8> {
    let store = MaildirStore::new(PathTemplate::new(path));
    let (output, _, _) = converse(store, sent, 4096, Security::ImplicitTls, Clock::Real);
    count_replies(sent, &output);
    output
}
