//! Lists and answers of real servers (`tests/fixtures/continuity`), tables of what they make of
//! damaged lists and odd fields, and arbitrary lists.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::lines::base_name;
use super::*;
use crate::config::{Duplicates, NewMailOrder};

const DEFAULT_2_3: &str = "%08Xu%08Xv";
const DEFAULT_2_4: &str = "%{uid | hex(8)}%{uidvalidity | hex(8)}";

pub(super) fn fixture(file: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::read(root.join("tests/fixtures/continuity").join(file)).unwrap()
}

pub(super) fn base_names_of_fixture(folder: &str) -> Vec<Vec<u8>> {
    let names = fixture(&format!("{folder}/names"));
    let lines = names.split(|octet| *octet == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| base_name(line).to_vec()).collect()
}

/// The unique-ids of an answer to UIDL.
pub(super) fn answer(file: &str) -> Vec<String> {
    let text = String::from_utf8(fixture(file)).unwrap();
    let ids = text.lines().enumerate().map(|(index, line)| {
        let (number, id) = line.split_once(' ').unwrap();
        assert_eq!(number, (index + 1).to_string());
        id.to_owned()
    });
    ids.collect()
}

pub(super) fn dovecot(list: &[u8]) -> DovecotList {
    DovecotList::read(list, |_| true).unwrap()
}

pub(super) fn courier(list: &[u8]) -> CourierList {
    CourierList::read(list, |_| true).unwrap()
}

pub(super) fn format(text: &str) -> UidlFormat {
    UidlFormat::parse(text).unwrap()
}

fn from_dovecot<'a>(list: &'a DovecotList, format: &'a UidlFormat) -> DovecotSource<'a> {
    DovecotSource { list, format, reuse_xuidl: false, duplicates: Duplicates::Allow }
}

/// The listing, and the source of each of its ids.
fn listing(names: &[Vec<u8>], sources: &[Source<'_>]) -> Vec<(String, Option<usize>)> {
    let names = names.iter().map(Vec::as_slice).collect::<Vec<_>>();
    let taken = take_over(&names, sources, NewMailOrder::Number, |_| false, |_| None);
    taken.into_iter().map(|taken| (taken.id.to_string(), taken.source)).collect()
}

fn ids(names: &[Vec<u8>], sources: &[Source<'_>]) -> Vec<String> {
    listing(names, sources).into_iter().map(|(id, _)| id).collect()
}

#[test]
fn listings_of_dovecot() {
    for (folder, file, text) in [
        ("dovecot-small", "2.3-default", DEFAULT_2_3),
        ("dovecot-small", "2.3-v-u", "%v-%u"),
        ("dovecot-small", "2.3-f", "%f"),
        ("dovecot-small", "2.3-UID-courier", "UID%u-%v"),
        ("dovecot-small", "2.4-default", DEFAULT_2_4),
        ("dovecot-small", "2.4-f", "%{filename}"),
        ("dovecot-P-and-O", "2.3-default", DEFAULT_2_3),
        ("dovecot-P-and-O", "2.3-f", "%f"),
        ("dovecot-v1", "2.3-default", DEFAULT_2_3),
    ] {
        let list = dovecot(&fixture(&format!("{folder}/dovecot-uidlist")));
        assert_eq!(list.damage, None);
        let (names, format) = (base_names_of_fixture(folder), format(text));
        let sources = [Source::Dovecot(from_dovecot(&list, &format)), Source::BaseName];
        let expected = answer(&format!("{folder}/{file}.uidl"));
        let expected = expected.into_iter().map(|id| (id, Some(0))).collect::<Vec<_>>();
        assert_eq!(listing(&names, &sources), expected, "{folder} {file}");
    }
}

/// Copies of a message have the GUID of their original: the first UID keeps it, the others have
/// their base names.
#[test]
fn doubled_guids_of_dovecot() {
    let list = dovecot(&fixture("dovecot-small/dovecot-uidlist"));
    let (names, format) = (base_names_of_fixture("dovecot-small"), format("%g"));
    let sources = [Source::Dovecot(from_dovecot(&list, &format)), Source::BaseName];
    let answers =
        answer("dovecot-small/2.3-g.uidl").into_iter().zip(answer("dovecot-small/2.3-f.uidl"));
    let mut seen = HashSet::new();
    let expected =
        answers.map(
            |(guid, base_name)| {
                if seen.insert(guid.clone()) { (guid, Some(0)) } else { (base_name, Some(1)) }
            },
        );
    let expected = expected.collect::<Vec<_>>();
    assert_eq!(listing(&names, &sources), expected);
    assert_eq!(expected.iter().filter(|(_, source)| *source == Some(1)).count(), 5);
}

#[test]
fn listings_of_courier() {
    for folder in ["courier-v3", "courier-v2", "courier-n0"] {
        let list = courier(&fixture(&format!("{folder}/courierpop3dsizelist")));
        assert_eq!(list.ignored_lines, 0);
        let sources = [Source::Courier(&list), Source::BaseName];
        let expected = answer(&format!("{folder}/courier.uidl"));
        let expected = expected.into_iter().map(|id| (id, Some(0))).collect::<Vec<_>>();
        assert_eq!(listing(&base_names_of_fixture(folder), &sources), expected, "{folder}");
    }
}

#[test]
fn listing_of_qmail() {
    let names = base_names_of_fixture("qmail-pop3d");
    assert_eq!(ids(&names, &[Source::BaseName]), answer("qmail-pop3d/qmail.uidl"));
}

/// Names in the manner of Dovecot's tests: six messages, `1.a` to `6.a`.
fn six_names() -> Vec<Vec<u8>> {
    (1..=6).map(|number| format!("{number}.a").into_bytes()).collect()
}

fn six_records() -> String {
    let records = (1..=6).map(|number| format!("{number} W432 :{number}.a\n"));
    format!("3 V1795743602 N7 Ga2abeb1772df086b3e78000083ecc375\n{}", records.collect::<String>())
}

/// The list of six messages with other fields, as Dovecot 2.3.19 and 2.4.1 list it.
#[test]
fn fields_of_dovecot() {
    let allow = Duplicates::Allow;
    for (records, text, duplicates, expected) in [
        // P, O and G: an empty P is the base name. The second "one" is refused here.
        (FIELDS, "%u", allow, ["2.a", "4", "one", "two:with:colon", "5.a", "6"]),
        (FIELDS, "%u", Duplicates::Rename, ["2.a", "4", "one", "two:with:colon", "one-2", "6"]),
        (FIELDS, "%g", allow, ["2.a", "4.a", "one", "two:with:colon", "5.a", "0123"]),
        (
            "1 Pone O3 :1.a\n2 :2.a\n3 Pone O2 :3.a\n4 Pone O1 :4.a\n5 :5.a\n6 :6.a\n",
            "%u",
            Duplicates::Rename,
            ["one-3", "one-2", "one", "2", "5", "6"],
        ),
        // The same O twice; O that is no number; P and O twice; unknown keys.
        (
            "1 O5 :1.a\n2 O5 :2.a\n3 O5 :3.a\n4 :4.a\n5 :5.a\n6 :6.a\n",
            "%u",
            allow,
            ["1", "2", "3", "4", "5", "6"],
        ),
        (
            "1 Ox :1.a\n2 O2 :2.a\n3 O1 :3.a\n4 O :4.a\n5 O-1 :5.a\n6 O4294967295 :6.a\n",
            "%u",
            allow,
            ["3", "2", "1", "4", "5", "6"],
        ),
        (
            "1 Pa Pb Ox O1 :1.a\n2 Z9 :2.a\n3 x1 :3.a\n4 9 :4.a\n5   O2   :5.a\n6 :6.a\n",
            "%u",
            allow,
            ["5", "a", "2", "3", "4", "6"],
        ),
        // What cannot be listed is left to the next source.
        (
            "1 Pk\u{e4}se :1.a\n2 P\x7fx :2.a\n3 P\tx :3.a\n4 P2.a :4.a\n5 G :5.a\n6 :6.a\n",
            "%u",
            allow,
            ["1.a", BASE_NAME_IS_USED, "3.a", "2.a", "5", "6"],
        ),
    ] {
        let list = dovecot(format!("3 V7 N7\n{records}").as_bytes());
        let format = format(text);
        let source = DovecotSource { duplicates, ..from_dovecot(&list, &format) };
        let ids = ids(&six_names(), &[Source::Dovecot(source), Source::BaseName]);
        assert_eq!(ids, expected, "{records}");
    }
}

const FIELDS: &str = "1 Pone O3 W432 :1.a\n2 P O1 W175 :2.a\n3 Ptwo:with:colon W376 :3.a\n\
                      4 O2 W348 :4.a\n5 Pone W432 :5.a\n6 G0123 W7 S5 :6.a\n";
/// SHA-256 of `2.a`, a NUL and `2`.
const BASE_NAME_IS_USED: &str = "21521bfdd04592c54a71a12887a461fd4ac3ed507f8ea938d5630e566776fcb2";

#[test]
fn x_uidl_is_reused() {
    let list = dovecot(six_records().replace("4 W432", "4 Pp").as_bytes());
    let format = format("%u");
    let names = six_names();
    let names = names.iter().map(Vec::as_slice).collect::<Vec<_>>();
    let header = |position: usize| {
        [Some("x"), None, Some("x"), Some("unused"), Some("two words"), Some("")]
            .get(position)
            .copied()
            .flatten()
            .map(|id: &str| id.as_bytes().to_vec())
    };
    for (duplicates, expected) in [
        (Duplicates::Allow, ["x", "2", "3.a", "p", "5.a", "6.a"]),
        (Duplicates::Rename, ["x", "2", "x-2", "p", "5.a", "6.a"]),
    ] {
        let source = DovecotSource { duplicates, ..from_dovecot(&list, &format) };
        let source = DovecotSource { reuse_xuidl: true, ..source };
        let sources = [Source::Dovecot(source), Source::BaseName];
        let taken = take_over(&names, &sources, NewMailOrder::Number, |_| false, header);
        let ids = taken.iter().map(|taken| taken.id.as_str()).collect::<Vec<_>>();
        assert_eq!(ids, expected, "{duplicates:?}");
    }
}

#[test]
fn new_mail_is_last() {
    let names =
        ["5.M10P1.a", "5.M9P1.a", "2.a,S=4", "1.a", "3.a"].map(|name| name.as_bytes().to_vec());
    let (dovecot, format) = (dovecot(b"3 V7 N7\n1 :3.a\n2 :1.a\n"), format("%v-%u"));
    let from_dovecot = Source::Dovecot(from_dovecot(&dovecot, &format));
    let courier = courier(b"/3 3 9\n3.a:2, 5 1:9:0\n2.a,S=4:2, 5 2:9:0\n");
    let map = IdMap::read(&b"2.a\tmapped\n"[..], base_name).unwrap();
    let (courier, map) = (Source::Courier(&courier), Source::Map(&map));
    let base_name = Source::BaseName;
    for (sources, expected) in [
        (&[from_dovecot, base_name][..], ["7-1", "7-2", "2.a,S=4", "5.M9P1.a", "5.M10P1.a"]),
        (&[courier, base_name], ["UID2-9", "UID1-9", "1.a", "5.M10P1.a", "5.M9P1.a"]),
        (&[from_dovecot, courier], ["7-1", "7-2", "UID2-9", "5.M9P1.a", "5.M10P1.a"]),
        (&[courier, from_dovecot], ["UID2-9", "UID1-9", "7-2", "5.M10P1.a", "5.M9P1.a"]),
        (&[map, base_name], ["5.M10P1.a", "5.M9P1.a", "mapped", "1.a", "3.a"]),
        (&[Source::Name], ["5.M10P1.a", "5.M9P1.a", "2.a", "1.a", "3.a"]),
        (&[], ["5.M10P1.a", "5.M9P1.a", "2.a", "1.a", "3.a"]),
    ] {
        assert_eq!(ids(&names, sources), expected);
    }
}

/// By the time of modification, new mail is in the order in which it is given.
#[test]
fn new_mail_has_the_order_of_the_names_or_that_in_which_it_is_given() {
    let list = dovecot(b"3 V7 N7\n1 :3.a\n");
    let format = format("%u");
    let sources = [Source::Dovecot(from_dovecot(&list, &format)), Source::BaseName];
    let names = ["9.a", "3.a", "1.a", "5.a"].map(str::as_bytes);
    for (order, expected) in [
        (NewMailOrder::Number, ["1", "1.a", "5.a", "9.a"]),
        (NewMailOrder::Modified, ["1", "9.a", "1.a", "5.a"]),
    ] {
        let taken = take_over(&names, &sources, order, |_| false, |_| None);
        let ids = taken.iter().map(|taken| taken.id.as_str()).collect::<Vec<_>>();
        assert_eq!(ids, expected);
    }
}

/// The next source is asked, and at last a hash is made.
#[test]
fn an_id_that_is_in_use_is_not_given_again() {
    let list = dovecot(b"3 V7 N7\n1 :1.a\n2 :2.b\n");
    let format = format("%u");
    let sources = [Source::Dovecot(from_dovecot(&list, &format)), Source::BaseName];
    let names = ["1.a", "2.b"].map(str::as_bytes);
    let used = ["1", "2", "2.b"];
    let is_used = |id: &TakenId| used.contains(&id.as_str());
    let taken = take_over(&names, &sources, NewMailOrder::Number, is_used, |_| None);
    assert_eq!(taken[0].id.as_str(), "1.a");
    assert_eq!((taken[1].source, taken[1].id.as_str().len()), (None, 64));
}

/// An id that an earlier source gives to a later message is not given to an earlier one.
#[test]
fn no_id_is_listed_twice() {
    let list = dovecot(b"3 V7 N7\n1 Pb :a\n2 Pa :b\n3 Pa :c\n");
    let format = format("%u");
    let names = ["a", "b", "c", "d", "d", "d,S=1"].map(|name| name.as_bytes().to_vec());
    let listed = listing(&names, &[Source::Dovecot(from_dovecot(&list, &format)), Source::Name]);
    let unique = listed.iter().map(|(id, _)| id).collect::<BTreeSet<_>>();
    assert_eq!(unique.len(), names.len());
    let sources = listed.iter().map(|(_, source)| *source).collect::<Vec<_>>();
    assert_eq!(sources, [Some(0), Some(0), Some(1), Some(1), None, None]);
}

/// Lines of a list, more or less.
fn lines() -> impl Strategy<Value = Vec<u8>> {
    let record = "[1-9]{1,2} (P[ab]? |O[0-9x]? |G[ab] |x )?:[a-c]\\.[a-c](,S=1)?(:2,S)?";
    let courier = "[a-c]\\.[a-c]:2, 5 [0-3]:[0-1](:0)?";
    let map = "[a-c]\\.[a-c]\t[a-c]";
    let any = proptest::collection::vec(any::<u8>(), 0..20);
    let line = prop_oneof![
        8 => record.prop_map(String::into_bytes),
        4 => courier.prop_map(String::into_bytes),
        2 => map.prop_map(String::into_bytes),
        1 => any,
    ];
    let header =
        prop_oneof![Just("3 V7 N7"), Just("1 7 99"), Just("/3 7 7"), Just("/1 7"), Just("")];
    (header, proptest::collection::vec(line, 0..12)).prop_map(|(header, lines)| {
        let lines = std::iter::once(header.as_bytes().to_vec()).chain(lines);
        lines.flat_map(|line| [line, b"\n".to_vec()].concat()).collect()
    })
}

proptest! {
    #[test]
    fn any_octets_are_a_list_or_an_error(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
        check_readers(&octets);
    }

    #[test]
    fn any_lines_are_a_list_or_an_error(octets in lines()) {
        check_readers(&octets);
    }

    #[test]
    fn any_text_is_a_format_or_an_error(text in "(%[-.0-9]{0,6}[A-Z]?[uvfgm%]|%\\{[a-z0-9 |()]*\\}|\\PC)*") {
        if let Ok(format) = UidlFormat::parse(&text) {
            let values = UidlValues { uid: 1, uid_validity: 2, base_name: b"\xff", guid: b"" };
            format.expand(&values);
        }
    }

    /// Each message is listed once, with an id of its own, in an order that depends on the lists.
    #[test]
    fn each_message_is_listed_once(
        dovecot in lines(),
        courier in lines(),
        map in lines(),
        names in proptest::collection::btree_set("[a-c]?\\.M?[a-c]?(,S=1)?", 0..12),
        choice in proptest::collection::vec(0..5_usize, 0..6),
        rename in any::<bool>(),
        text in prop_oneof![Just(DEFAULT_2_3), Just("%f"), Just("%g"), Just("%1g")],
    ) {
        let (dovecot, courier, map) = (
            DovecotList::read(dovecot.as_slice(), |_| true).ok(),
            CourierList::read(courier.as_slice(), |_| true).ok(),
            IdMap::read(map.as_slice(), base_name).ok(),
        );
        let format = format(text);
        let duplicates = if rename { Duplicates::Rename } else { Duplicates::Allow };
        let sources = choice.into_iter().filter_map(|choice| match choice {
            0 => dovecot.as_ref().map(|list| {
                Source::Dovecot(DovecotSource { duplicates, ..from_dovecot(list, &format) })
            }),
            1 => courier.as_ref().map(Source::Courier),
            2 => map.as_ref().map(Source::Map),
            3 => Some(Source::BaseName),
            _ => Some(Source::Name),
        });
        let sources = sources.collect::<Vec<_>>();
        let names = names.into_iter().map(String::into_bytes).collect::<Vec<_>>();
        let listed = ids(&names, &sources);
        prop_assert_eq!(listed.iter().collect::<BTreeSet<_>>().len(), names.len());
        prop_assert_eq!(listed.len(), names.len());
        if sources.iter().any(|source| matches!(source, Source::Dovecot(_) | Source::Courier(_))) {
            let reversed = names.iter().rev().cloned().collect::<Vec<_>>();
            prop_assert_eq!(ids(&reversed, &sources), listed);
        }
    }
}

fn check_readers(octets: &[u8]) {
    if let Ok(list) = DovecotList::read(octets, |_| true) {
        let uids = list.records.values().map(|record| record.uid).collect::<BTreeSet<_>>();
        assert_eq!(uids.len(), list.records.len());
        assert!(uids.iter().all(|uid| (1..list.next_uid).contains(uid)));
    }
    if let Ok(list) = CourierList::read(octets, |_| true) {
        assert!(list.ids.keys().all(|name| !name.is_empty()));
    }
    drop(IdMap::read(octets, base_name));
}
