//! Indexes that are complete, damaged, of another owner, or too large.

use std::fs;
use std::os::unix::fs::chown;

use proptest::prelude::*;

use super::super::super::Position;
use super::super::entry::{Form, Namesake, Sizes};
use super::super::folder::Folder;
use super::super::listing::Builder;
use super::super::lock::TryLock;
use super::super::name;
use super::super::own_file::OWN_USER;
use super::*;

fn root(path: &Path) -> Root {
    match Root::try_lock(path).unwrap() {
        TryLock::Locked(root) => root,
        TryLock::InUse(_) => panic!("in use"),
    }
}

fn listing(messages: &[(&str, u64)]) -> Listing {
    let mut builder = Builder::default();
    for &(name, physical) in messages {
        let sizes = Sizes { physical, octets: physical + 1, form: Form::Plain };
        builder.push((Folder::New, name.as_bytes()), None, Namesake::None, sizes).unwrap();
    }
    builder.finish()
}

/// The bytes of an index.
fn written(messages: &[(&str, u64)]) -> Vec<u8> {
    let maildir = tempfile::tempdir().unwrap();
    write(&root(maildir.path()), &listing(messages), None, None).unwrap();
    fs::read(maildir.path().join(INDEX_FILE)).unwrap()
}

fn key(name: &str) -> Key<'_> {
    Key::new(name::unique(name.as_bytes(), Separator::Colon))
}

/// The sizes of a message that shares its unique name with no other.
fn found(cursor: &mut Cursor<'_>, name: &str) -> Option<Sizes> {
    cursor.find(&key(name)).next().map(|entry| entry.sizes)
}

#[test]
fn entries_are_found_in_order() {
    let maildir = tempfile::tempdir().unwrap();
    let root = root(maildir.path());
    let listing = listing(&[("1.a", 10), ("2.b", 20), ("3.c", 1 << 40), ("odd", 0)]);
    write(&root, &listing.without(&BTreeSet::from([Position(1)])), None, None).unwrap();
    let index = Index::read(&root);
    let mut cursor = index.cursor();
    let mut find = |name| found(&mut cursor, name).map(|sizes| sizes.physical);
    assert_eq!(find("0.before"), None);
    assert_eq!(find("1.a:2,S"), Some(10));
    assert_eq!(find("1.a"), None, "found only once");
    assert_eq!(find("2.b"), None);
    assert_eq!(find("3.c,S=5"), Some(1 << 40));
    assert_eq!(find("odd"), Some(0));
    let mut cursor = index.cursor();
    assert_eq!(found(&mut cursor, "3.c").map(|sizes| sizes.octets), Some((1 << 40) + 1));
}

#[test]
fn sizes_that_cannot_be_make_an_index_unsound() {
    let maildir = tempfile::tempdir().unwrap();
    let root = root(maildir.path());
    for (octets, form, sound) in [
        (10, Form::Plain, true),
        (21, Form::Plain, true),
        (22, Form::Plain, false),
        (0, Form::Compressed, true),
        (1 << 40, Form::Compressed, true),
    ] {
        let mut builder = Builder::default();
        let sizes = Sizes { physical: 10, octets, form };
        builder.push((Folder::New, b"1.a"), None, Namesake::None, sizes).unwrap();
        write(&root, &builder.finish(), None, None).unwrap();
        let index = Index::read(&root);
        assert_eq!(found(&mut index.cursor(), "1.a").is_some(), sound, "{octets} {form:?}");
    }
}

/// Version 2 lists compressed messages with the octets of their files, and the mark in version 6 has
/// no checksum.
#[test]
fn an_index_of_an_earlier_version_is_not_used() {
    let mut bytes = written(&[("1.a", 10)]);
    assert!(!is_of_another_kind(&bytes, Separator::Colon));
    for version in [b'2', b'6'] {
        bytes[15] = version;
        assert!(is_of_another_kind(&bytes, Separator::Colon));
        assert!(Index::parse(bytes.clone(), Separator::Colon).is_none());
    }
    assert!(!is_of_another_kind(b"nonsense", Separator::Colon));
}

#[test]
fn an_index_for_names_with_another_separator_is_not_used() {
    let maildir = tempfile::tempdir().unwrap();
    let root = root(maildir.path()).with_separator(Separator::Semicolon);
    write(&root, &listing(&[("1.a", 10)]), None, None).unwrap();
    let bytes = fs::read(maildir.path().join(INDEX_FILE)).unwrap();
    assert!(bytes.starts_with(b"restante index;5"));
    for separator in Separator::ALL {
        let fits = separator == Separator::Semicolon;
        assert_eq!(is_of_another_kind(&bytes, separator), !fits);
        assert_eq!(Index::parse(bytes.clone(), separator).is_some(), fits);
    }
    assert_eq!(Index::read(&root).listing.count(), 1);
    assert_eq!(Index::read(&root.with_separator(Separator::Colon)).listing.count(), 0);
}

#[test]
fn an_index_has_the_mark_of_the_state_or_none() {
    let maildir = tempfile::tempdir().unwrap();
    let root = root(maildir.path());
    assert_eq!(Index::read(&root).state, KnownState::Unknown);
    let listing = listing(&[("1.a", 10), ("2.b", 20)]);
    let mark = Mark::from_words([3, 1 << 40, 0xfedc_ba98]).unwrap();
    for (mark, state, version) in
        [(Some(mark), KnownState::Present(mark), b'7'), (None, KnownState::Absent, b'5')]
    {
        write(&root, &listing, None, mark).unwrap();
        let bytes = fs::read(maildir.path().join(INDEX_FILE)).unwrap();
        assert_eq!(bytes[15], version);
        let index = Index::read(&root);
        assert_eq!((index.state, index.listing.count()), (state, 2));
        assert_eq!(index.listed(), index.written);
        assert!(index.written.is_some());
        assert_eq!(Index::read_at_once(&root).map_or(state, |index| index.state), state);
        for at in 0..bytes.len() {
            assert!(Index::parse(bytes[..at].to_vec(), Separator::Colon).is_none());
        }
    }
}

/// Any user who can write to a Maildir can put a file there under the name of the index.
#[test]
fn an_index_of_another_owner_is_not_read() {
    let maildir = tempfile::tempdir().unwrap();
    let root = root(maildir.path());
    write(&root, &listing(&[("1.a", 10)]), None, None).unwrap();
    assert_eq!(Index::read(&root).listing.count(), 1);
    // Only the superuser can give a file away.
    if chown(maildir.path().join(INDEX_FILE), Some(*OWN_USER + 1), None).is_ok() {
        assert_eq!(Index::read(&root).listing.count(), 0);
        assert!(Index::read_at_once(&root).is_none());
    }
}

#[test]
fn an_index_that_cannot_be_as_big_as_it_is_is_not_read() {
    let bytes = written(&[("1.a", 10), ("2.b", 20)]);
    let header = &bytes[..HEADER];
    let fits = |header: &[u8], size| fits(header, size, Separator::Colon);
    assert!(fits(header, bytes.len()));
    for size in [0, HEADER, HEADER + 4, HEADER + 4 + 13, HEADER + 4 + 2 * 400 + 1, 1 << 27] {
        assert!(!fits(header, size), "{size}");
    }
    let mut other = header.to_vec();
    other[HEADER - 1] = 0xff;
    assert!(!fits(&other, bytes.len()));
    other.copy_from_slice(header);
    other[0] = b'R';
    assert!(!fits(&other, bytes.len()));
    assert!(!fits(&header[..20], bytes.len()));
}

/// An index that is written can be read, up to the largest size.
#[test]
fn an_index_that_would_not_be_read_is_not_written() {
    let maildir = tempfile::tempdir().unwrap();
    let root = root(maildir.path());
    let names: Vec<_> = (10_000..).map(|n| format!("{n}.{}", "x".repeat(200))).take(6000).collect();
    let listed = |count| {
        let messages: Vec<_> = names.iter().take(count).map(|name| (name.as_str(), 1)).collect();
        listing(&messages)
    };
    let counts: Vec<_> = (0..=names.len()).collect();
    let most = counts.partition_point(|&count| size_of(&listed(count)) <= LARGEST) - 1;
    for _ in 0..2 {
        write(&root, &listed(most), None, None).unwrap();
        assert_eq!(Index::read(&root).listing.count() as usize, most);
        // An older index would have messages that must be forgotten.
        write(&root, &listed(most + 1), None, None).unwrap();
        assert!(!maildir.path().join(INDEX_FILE).exists());
        assert!(!is_first_time(maildir.path()), "it has been logged");
    }
}

/// An error of one byte is noticed at any position.
#[test]
fn one_wrong_byte_makes_an_index_unsound() {
    let bytes = written(&[("1.a", 10), ("2.b", 20)]);
    assert!(Index::parse(bytes.clone(), Separator::Colon).is_some());
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            assert!(Index::parse(damaged, Separator::Colon).is_none(), "bit {bit} of byte {at}");
        }
        assert!(Index::parse(bytes[..at].to_vec(), Separator::Colon).is_none(), "cut after {at}");
    }
}

proptest! {
    #[test]
    fn any_bytes_can_be_read(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Index::parse(bytes, Separator::Colon).is_none());
    }

    /// Even with the right checksum, parsing any content ends, and returns valid entries only.
    #[test]
    fn any_content_can_be_read(
        content in proptest::collection::vec(any::<u8>(), 0..300),
        splices in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..6),
        valid in any::<bool>(),
    ) {
        let mut bytes = if valid {
            let mut bytes = written(&[("1.a", 10), ("2.b", 20), ("3.c", 30)]);
            bytes.truncate(bytes.len() - 4);
            bytes
        } else {
            [&magic(Separator::Colon, Version::WithoutMark)[..], &[0; 56], &(content.len() as u64 / 20).to_le_bytes(), &content].concat()
        };
        for (at, byte) in splices {
            let length = bytes.len();
            bytes[at % length] = byte;
        }
        let checksum = crc32fast::hash(&bytes).to_le_bytes();
        bytes.extend_from_slice(&checksum);
        let index = Index::parse(bytes, Separator::Colon).unwrap_or_default();
        let mut cursor = index.cursor();
        for name in ["1.a", "2.b", "3.c", "4.d"] {
            if let Some(sizes) = found(&mut cursor, name) {
                let plain = sizes.form == Form::Plain;
                prop_assert!(!plain || sizes.octets >= sizes.physical);
            }
        }
        for entry in index.listing.entries() {
            prop_assert!(!entry.name.contains(&b'/'));
            prop_assert!(!entry.unique_id().as_str().is_empty());
        }
    }
}
