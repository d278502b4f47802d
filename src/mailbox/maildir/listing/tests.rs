//! Tests of `listing`.

use std::collections::HashSet;

use super::super::entry::Form;
use super::*;
use crate::uidl::by_name::{self, HASH_LENGTH};

const SIZES: Sizes = Sizes { physical: 100, octets: 104, form: Form::Plain };

/// The same listing from its bytes, with something before and after them.
fn parsed(listing: &Listing) -> Option<Listing> {
    let bytes = [b"before", listing.as_bytes(), b"after"].concat();
    let end = bytes.len() - 5;
    Listing::parse(bytes, 6, end)
}

#[test]
fn a_message_takes_at_most_64_bytes() {
    let mut builder = Builder::default();
    for message in 0..10_000_u32 {
        let name = format!("17000{message:05}.Vfd00I1a2b3cM393923.mail:2,S");
        let place = (Folder::Cur, name.as_bytes());
        let inode = Inode::new(u64::from(12_000_000 + message));
        builder.push(place, inode, Namesake::None, SIZES).unwrap();
    }
    let listing = builder.finish();
    assert!(listing.memory() <= 64 * 10_000, "{}", listing.memory());
    let memory = parsed(&listing).unwrap().memory();
    assert!(memory <= 64 * 10_000, "{memory}");
}

#[test]
fn octets_are_added_up_and_never_beyond_what_can_be_counted() {
    let huge = Sizes { physical: 1, octets: u64::MAX >> 1, form: Form::Compressed };
    let mut builder = Builder::default();
    for (name, sizes) in [(b"1.a", SIZES), (b"2.b", huge)] {
        builder.push((Folder::Cur, name), None, Namesake::None, sizes).unwrap();
    }
    let listing = builder.finish();
    assert_eq!(listing.total_octets(), 104 + (u64::MAX >> 1));
    assert_eq!(parsed(&listing).unwrap().total_octets(), listing.total_octets());
    assert_eq!(listing.without(&BTreeSet::from([1].map(Position))).total_octets(), 104);
    let mut builder = Builder::default();
    builder.push((Folder::Cur, b"1.a"), None, Namesake::None, huge).unwrap();
    builder.push((Folder::Cur, b"2.b"), None, Namesake::None, huge).unwrap();
    let one_more = builder.push((Folder::Cur, b"3.c"), None, Namesake::None, SIZES).unwrap_err();
    assert_eq!(one_more.to_string(), "list the messages: more octets than can be counted");
    // As only a forged index can have it.
    let twice = [listing.as_bytes(); 3].concat();
    let end = twice.len();
    assert!(Listing::parse(twice, 0, end).is_none());
}

#[test]
fn rows_give_back_what_was_put_in() {
    let long = format!("5.{}:2,S", "x".repeat(80));
    let names: [(Folder, &[u8]); 5] = [
        (Folder::Cur, b"1.a,S=3:2,S"),
        (Folder::New, b"2.b"),
        (Folder::New, b"3.\xff c"),
        (Folder::Cur, long.as_bytes()),
        (Folder::Cur, b":2,"),
    ];
    let mut builder = Builder::default();
    for place in names {
        builder.push(place, None, Namesake::None, SIZES).unwrap();
    }
    let listing = builder.finish();
    assert_eq!(listing.count(), 5);
    for (at, place) in (0..).zip(names) {
        let entry = listing.entry(Position(at));
        assert_eq!((entry.folder, entry.name), place);
        assert_eq!(entry.sizes, SIZES);
        assert_eq!(entry.telling_inode(), None);
    }
    let ids = (0..5).map(|at| listing.entry(Position(at)).unique_id().as_str()).collect::<Vec<_>>();
    assert_eq!(ids[0], "1.a");
    assert_eq!(ids[1], "2.b");
    assert_eq!(ids[3].as_bytes(), by_name::hash(&long.as_bytes()[..82]));
    assert!(ids[2..].iter().all(|id| id.len() == HASH_LENGTH));
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 5);
}

#[test]
fn a_name_that_is_the_hash_of_another_gets_a_hash_of_its_own() {
    let hash = by_name::hash(b"a b");
    let mut builder = Builder::default();
    for name in [&b"a b"[..], &hash] {
        builder.push((Folder::New, name), None, Namesake::None, SIZES).unwrap();
    }
    let listing = builder.finish();
    assert_eq!(listing.entry(Position(0)).unique_id().as_str().as_bytes(), hash);
    assert_eq!(listing.entry(Position(1)).unique_id().as_str().as_bytes(), by_name::hash(&hash));
}

#[test]
fn bytes_give_the_listing_back() {
    let long = [b'x'; 255];
    let mut builder = Builder::default();
    for (physical, added, name, inode, namesake) in [
        (0, 0, &b"1.a"[..], 0, Namesake::None),
        (127, 1, b"2.b:2,S", 1, Namesake::Itself),
        (128, 128, b"2.b c:2,", 1 << 63, Namesake::First),
        (1 << 62, 1 << 61, b"2.b c", u64::MAX, Namesake::Later),
        (16_383, 16_384, &long, 1 << 62, Namesake::None),
    ] {
        let sizes = Sizes { physical, octets: physical + added, form: Form::Plain };
        builder.push((Folder::New, name), Inode::new(inode), namesake, sizes).unwrap();
    }
    let listing = builder.finish();
    let parsed = parsed(&listing).unwrap();
    assert!(parsed.entries().eq(listing.entries()));
    assert_eq!(parsed.as_bytes(), listing.as_bytes());
    let rest = parsed.without(&BTreeSet::from([0, 3].map(Position)));
    let kept = [1, 2, 4].map(|at| listing.entry(Position(at)));
    assert!(rest.entries().eq(kept));
    assert_eq!(Builder::default().finish().as_bytes(), b"");
}

/// Names in an index are opened and removed, and another user may have written the index.
#[test]
fn a_name_that_leads_elsewhere_is_not_taken_in() {
    for (name, sound) in [
        ("1.a", true),
        ("..", false),
        (".hidden", false),
        ("../../other/cur/1.a", false),
        ("a/b", false),
        ("/etc/passwd", false),
        ("a\0b", false),
        ("a\nb", false),
        ("", false),
        (&"x".repeat(255), true),
        (&"x".repeat(256), false),
    ] {
        let mut builder = Builder::default();
        let place = (Folder::Cur, name.as_bytes());
        builder.push(place, None, Namesake::None, SIZES).unwrap();
        assert_eq!(parsed(&builder.finish()).is_some(), sound, "{name:?}");
    }
}
