//! Lists that the real servers have read (`tests/fixtures/continuity/export`), and arbitrary ones,
//! which the readers of this server read.

use std::num::NonZeroU32;

use proptest::prelude::*;

use super::super::tests::{answer, base_names_of_fixture, courier, dovecot, fixture, format};
use super::super::{CourierList, DovecotList, DovecotSource, Source, UidlFormat, take_over};
use super::*;
use crate::config::{Duplicates, NewMailOrder};

const DEFAULT: &str = "%08Xu%08Xv";
const NOW: NonZeroU32 = NonZeroU32::new(1_800_000_000).unwrap();

fn listed<'a>(id: &'a str, base_name: &'a [u8]) -> Listed<'a> {
    Listed { id: id.as_bytes(), base_name, octets: 100 }
}

fn source<'a>(list: &'a DovecotList, format: &'a UidlFormat) -> DovecotSource<'a> {
    DovecotSource { list, format, reuse_xuidl: false, duplicates: Duplicates::Allow }
}

/// The unique-ids of a Maildir in the order of its listing, and its base names in the same order.
fn listing(folder: &str, sources: &[Source<'_>]) -> Vec<(String, Vec<u8>)> {
    let names = base_names_of_fixture(folder);
    let slices = names.iter().map(Vec::as_slice).collect::<Vec<_>>();
    let taken = take_over(&slices, sources, NewMailOrder::Number, |_| false, |_| None);
    taken.into_iter().map(|taken| (taken.id.to_string(), names[taken.position].clone())).collect()
}

fn messages(listing: &[(String, Vec<u8>)]) -> Vec<Listed<'_>> {
    listing.iter().map(|(id, name)| listed(id, name)).collect()
}

fn assert_is_fixture(exported: &Exported, file: &str) {
    let expected = fixture(&format!("export/{file}"));
    assert_eq!(exported.text.escape_ascii().to_string(), expected.escape_ascii().to_string());
}

fn text(exported: &Exported) -> &str {
    str::from_utf8(&exported.text).unwrap()
}

/// A list that served the unique-ids is written again.
#[test]
fn the_list_of_dovecot_comes_back() {
    for (folder, ids, text) in [
        ("dovecot-small", "2.3-default", DEFAULT),
        ("dovecot-small", "2.3-f", "%f"),
        ("dovecot-P-and-O", "2.3-default", DEFAULT),
    ] {
        let (list, format) =
            (dovecot(&fixture(&format!("{folder}/dovecot-uidlist"))), format(text));
        let source = source(&list, &format);
        let shown = listing(folder, &[Source::Dovecot(source)]);
        let ids = answer(&format!("{folder}/{ids}.uidl"));
        assert!(shown.iter().map(|(id, _)| id).eq(&ids));
        let exported = dovecot_list(&source, &messages(&shown), []);
        assert_eq!((exported.messages, exported.moved), (shown.len(), 0));
        assert_eq!(exported.omitted, []);
        let again = DovecotList::read(exported.text.as_slice(), |_| true).unwrap();
        assert_eq!(again.records.len(), list.records.len());
        assert_eq!((again.uid_validity, again.next_uid), (list.uid_validity, list.next_uid));
        for (name, record) in &list.records {
            let again = &again.records[name];
            assert_eq!((again.uid, &again.guid), (record.uid, &record.guid));
        }
        // Also to a Dovecot with another format.
        let other = super::super::tests::format("%v-%u");
        let source = DovecotSource { list: &again, format: &other, ..source };
        assert_eq!(listing(folder, &[Source::Dovecot(source)]), shown);
    }
}

/// Unique-ids that Dovecot did not give, and another order than that of UIDs.
#[test]
fn lists_that_dovecot_has_read() {
    let small = dovecot(&fixture("dovecot-small/dovecot-uidlist"));
    let none = DovecotList::new(NOW);
    let format = format(DEFAULT);
    let courier = courier(&fixture("courier-v3/courierpop3dsizelist"));
    let by_name = listing("dovecot-small", &[Source::Name]);
    let mut reversed = listing("dovecot-small", &[Source::BaseName]);
    reversed.reverse();
    let of_courier = listing("courier-v3", &[Source::Courier(&courier)]);
    for (list, shown, file) in [
        (&small, &by_name, "dovecot-by-name"),
        (&small, &reversed, "dovecot-reversed"),
        (&none, &reversed, "dovecot-without-list"),
        (&none, &of_courier, "dovecot-from-courier"),
    ] {
        let exported = dovecot_list(&source(list, &format), &messages(shown), []);
        assert_eq!((exported.messages, exported.omitted.len()), (shown.len(), 0), "{file}");
        assert_is_fixture(&exported, file);
    }
}

#[test]
fn lists_that_courier_has_read() {
    for (folder, moved) in [("courier-v3", 0), ("courier-n0", 0)] {
        let list = courier(&fixture(&format!("{folder}/courierpop3dsizelist")));
        let shown = listing(folder, &[Source::Courier(&list)]);
        let exported = courier_list(None, NOW, &messages(&shown), []);
        assert_eq!((exported.messages, exported.moved), (shown.len(), moved), "{folder}");
        assert_is_fixture(&exported, folder);
        let again = courier_list(Some(&list), NOW, &messages(&shown), []);
        let lines = |list: &[u8]| list.iter().filter(|octet| **octet == b'\n').count();
        assert_eq!(lines(&again.text), shown.len() + 1);
    }
}

#[test]
fn fields_of_dovecot_records() {
    let list = "3 V7 N9 G0123456789abcdef0123456789abcdef\n1 G1 Pold W3 :1.a\n2 O1 S2 W3 :2.a\n\
                3 Pseven :3.a\n4 Phidden :4.a\n";
    let list = dovecot(list.as_bytes());
    let format = format("%u.%v");
    let shown = [
        listed("seven", b"5.a"),
        listed("2.7", b"2.a"),
        listed("1.a", b"1.a"),
        listed("six", b"6.a"),
    ];
    let header = "3 V7 N13 G0123456789abcdef0123456789abcdef\n";
    let expected = format!(
        "{header}1 G1 P W3 :1.a\n2 P2.7 O2 S2 W3 :2.a\n3 :3.a\n4 Phidden :4.a\n11 Pseven O1 :5.a\n\
         12 Psix :6.a\n"
    );
    // The format would make this id for UID 10.
    let removed: [&[u8]; 3] = [b"10.7", b"99.8", b"4294967295.7"];
    let exported = dovecot_list(&source(&list, &format), &shown, removed);
    assert_eq!(text(&exported), expected);
}

#[test]
fn another_format_gives_no_id_again() {
    let (list, format) = (dovecot(b"3 V7 N2\n"), format("%f"));
    for id in ["40", "7.40", "7-40", "0000002800000007", "0000000700000028"] {
        let exported = dovecot_list(&source(&list, &format), &[], [id.as_bytes()]);
        assert_eq!(text(&exported), "3 V7 N41\n", "{id}");
    }
}

#[test]
fn names_that_dovecot_cannot_list() {
    let (list, format) = (dovecot(b"3 V7 N4294967294\n"), format("%u"));
    let shown =
        [listed("1", b"1\n.a"), listed("2", b"2.a"), listed("3", b"2.a"), listed("4", b"4.a")];
    let exported = dovecot_list(&source(&list, &format), &shown, []);
    let expected = [(0, Reason::LineBreak), (2, Reason::SameName), (3, Reason::NoUidLeft)];
    assert_eq!(exported.omitted, expected.map(|(position, reason)| Omitted { position, reason }));
    assert_eq!(text(&exported), "3 V7 N4294967295\n4294967294 P2 :2.a\n");
}

#[test]
fn what_courier_can_say() {
    let shown = [
        ("UID7-1700000000", "2.a,S=4"),
        ("1.k+E4se", "1.k\u{e4}se"),
        ("UID3", "3.a b"),
        ("UID07-1", "4.a"),
        ("UID0-1", "5.a"),
        ("UID1-0", "6.a"),
        ("UID1-1-1", "7.a"),
        ("UID9223372036854775807-1", "8.a"),
        ("9", "9.a"),
        ("UID8-1700000000", "10.\r"),
        ("UID9-1700000001", "11.a"),
    ];
    let latin1 = |name: &str| name.chars().map(|c| u8::try_from(c).unwrap()).collect::<Vec<_>>();
    let names = shown.map(|(_, name)| latin1(name));
    let shown =
        shown.iter().zip(&names).map(|((id, _), name)| listed(id, name)).collect::<Vec<_>>();
    let removed: [&[u8]; 2] = [b"UID20-1700000000", b"UID30-1"];
    let exported = courier_list(None, NOW, &shown, removed);
    let expected = "/3 21 1700000000\n1.k\\xe4se:2, 100 0:1700000000:0\n\
                    2.a,S=4:2, 100 7:1700000000:0\n3.a b:2, 100 3:0:0\n\
                    11.a:2, 100 9:1700000001:0\n";
    let escaped = exported.text.escape_ascii().to_string().replace("\\n", "\n");
    assert_eq!(escaped, expected);
    assert_eq!((exported.messages, exported.moved), (4, 1));
    let positions = exported.omitted.iter().map(|omitted| (omitted.position, omitted.reason));
    let not_of_courier = (3..9).map(|position| (position, Reason::NotOfCourier));
    assert!(positions.eq(not_of_courier.chain([(9, Reason::LineBreak)])));
}

#[test]
fn numbers_of_courier_are_not_given_again() {
    let removed: [&[u8]; 3] = [b"UID20-7", b"UID30-8", b"UID40"];
    for (list, expected) in [
        (None, "/3 31 8\n"),
        (Some("/3 5 8\n"), "/3 31 8\n"),
        (Some("/3 50 7\n"), "/3 50 7\n"),
        (Some("/1 50\n"), "/3 31 8\n"),
        (Some("a 3\n"), "/3 31 8\n"),
    ] {
        let list = list.map(|list| courier(list.as_bytes()));
        let exported = courier_list(list.as_ref(), NOW, &[], removed);
        assert_eq!(text(&exported), expected);
    }
}

proptest! {
    /// What Dovecot's list says is read back, in the same order, whatever Dovecot had before.
    #[test]
    fn dovecot_reads_what_was_written(
        known in proptest::collection::vec(("[a-e]", "( O[1-9])?( P[a-e1-9]?)?( G[ab])?"), 0..6),
        shown in proptest::collection::hash_map("[a-h]", "[a-h]|[1-9]|[!-~]{1,20}", 0..8),
        text in prop_oneof![Just("%u"), Just(DEFAULT), Just("%f"), Just("%g")],
    ) {
        let lines = known.iter().enumerate();
        let lines = lines.map(|(index, (name, fields))| format!("{}{fields} :{name}\n", index + 1));
        let list = dovecot(format!("3 V7 N2\n{}", lines.collect::<String>()).as_bytes());
        let mut ids = HashSet::new();
        let shown = shown.into_iter().filter(|(_, id)| ids.insert(id.clone()));
        let shown = shown.map(|(name, id)| (id, name.into_bytes())).collect::<Vec<_>>();
        let format = format(text);
        let exported = dovecot_list(&source(&list, &format), &messages(&shown), []);
        prop_assert_eq!(&exported.omitted, &[]);
        let again = DovecotList::read(exported.text.as_slice(), |_| true).unwrap();
        prop_assert_eq!(&again.damage, &None);
        let names = shown.iter().map(|(_, name)| name.as_slice()).rev().collect::<Vec<_>>();
        let sources = [Source::Dovecot(source(&again, &format))];
        let taken = take_over(&names, &sources, NewMailOrder::Number, |_| false, |_| None);
        let taken = taken.iter().map(|taken| taken.id.as_str()).collect::<Vec<_>>();
        prop_assert_eq!(taken, shown.iter().map(|(id, _)| id).collect::<Vec<_>>());
        // New mail gets an id that no message has.
        let next = format!("{}", again.next_uid);
        prop_assert!(text != "%u" || shown.iter().all(|(id, _)| *id != next));
    }

    /// Courier's list has what it can express, and nothing else.
    #[test]
    fn courier_reads_what_was_written(
        shown in proptest::collection::hash_map("[ -~]{1,4}", "UID[0-9]{1,2}(-[0-9])?|[!-~]{1,4}", 0..8),
    ) {
        let shown = shown.into_iter().filter(|(name, _)| !name.contains([':', '/']));
        let shown = shown.map(|(name, id)| (id, name.into_bytes())).collect::<Vec<_>>();
        let exported = courier_list(None, NOW, &messages(&shown), []);
        let again = CourierList::read(exported.text.as_slice(), |_| true).unwrap();
        prop_assert_eq!(again.ignored_lines, 0);
        prop_assert_eq!(again.ids.len(), exported.messages);
        let omitted = exported.omitted.iter().map(|omitted| omitted.position).collect::<HashSet<_>>();
        for (position, (id, name)) in shown.iter().enumerate() {
            let read = again.ids.get(name.as_slice()).map(|id| id.text(name));
            let expected = (!omitted.contains(&position)).then(|| id.as_bytes().to_vec());
            prop_assert_eq!(read, expected);
        }
    }
}
