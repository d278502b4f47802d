//! Tests of `uids`: the format, the rules of `reconcile`, and the file in a Maildir.

mod faults;
mod histories;
mod on_disk;

use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::line::{Header, LONGEST_LINE, Line, is_id};
use super::reconcile::{Reconciled, seconds};
use super::*;
use crate::uidl::by_name;

/// A message: its unique name, and the unique-ids that are proposed for it.
type Given<'a> = (&'a str, &'a [&'a str]);

/// Days after the first login of a test.
fn day(days: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + days * 24 * 60 * 60)
}

fn reconcile<'a>(state: &State, present: &[Given<'a>], now: SystemTime) -> Reconciled<'a> {
    let given = present
        .iter()
        .map(|(name, proposals)| (name.as_bytes(), proposals.iter().map(|id| id.as_bytes())));
    state.reconcile(given, now)
}

/// The file in memory, and the mark of the last session.
#[derive(Clone, Default)]
struct Disk(Option<Vec<u8>>, Option<Mark>);

impl Disk {
    fn read(&self) -> Result<State, Error> {
        match &self.0 {
            Some(bytes) => State::parse(|| &bytes[..], self.1),
            None => Ok(State { origin: b"map,base name".to_vec(), ..State::default() }),
        }
    }

    /// Writes what `reconciled` has added to `state`, as far as `write` lets it.
    ///
    /// Returns the unique-ids in the order of the listing.
    fn save(
        &mut self,
        mut state: State,
        reconciled: &Reconciled<'_>,
        now: SystemTime,
        write: impl FnOnce(&[u8]) -> &[u8],
    ) -> Vec<String> {
        let now = seconds(now);
        let (batch, added) = reconciled.apply(&mut state).unwrap();
        if !batch.is_empty() {
            match (&mut self.0, state.end) {
                (Some(bytes), Some(end)) if !state.is_rewrite_due(&batch, now) => {
                    let (text, _) = batch.after(end);
                    bytes.truncate(usize::try_from(end.octets).unwrap());
                    bytes.extend_from_slice(write(&text));
                }
                _ => {
                    let mut bytes = Vec::new();
                    state.generation += 1;
                    state.write_to(&mut bytes, now).unwrap();
                    if write(&bytes).len() == bytes.len() {
                        self.0 = Some(bytes);
                    }
                }
            }
        }
        let messages = reconciled.known.iter().chain(&added);
        messages.map(|message| text(state.id(message.record))).collect()
    }

    /// A login that succeeds; the unique-ids in the order of the listing.
    fn login(&mut self, present: &[Given<'_>], now: SystemTime) -> Vec<String> {
        let state = self.read().unwrap();
        let reconciled = reconcile(&state, present, now);
        self.save(state, &reconciled, now, |text| text)
    }

    fn text(&self) -> String {
        text(self.0.as_deref().unwrap())
    }
}

fn text(octets: &[u8]) -> String {
    String::from_utf8(octets.to_vec()).unwrap()
}

#[test]
fn the_file_is_text() {
    let mut disk = Disk::default();
    disk.login(&[("1.a", &["UID1"]), ("2.b c%\u{e9}", &["UID2"]), ("", &["UID3"])], day(0));
    disk.login(&[("1.a", &["other"]), ("3.c", &["UID4"])], day(1));
    let expected = "restante uids 1 1 map,base%20name\n\
                    + UID1 1.a\n\
                    + UID2 2.b%20c%25%C3%A9\n\
                    + UID3 \n\
                    = 3 CHECKSUM\n\
                    - UID2 2.b%20c%25%C3%A9 1800086400\n\
                    - UID3  1800086400\n\
                    + UID4 3.c\n\
                    = 3 CHECKSUM\n";
    let found = disk.text();
    let lines = found.lines().map(|line| match line.strip_prefix("= 3 ") {
        Some(checksum) => line.replace(checksum, "CHECKSUM"),
        None => line.to_owned(),
    });
    assert_eq!(lines.map(|line| line + "\n").collect::<String>(), expected);
    let (first, _) = found.split_once("= 3 ").unwrap();
    let checksum = crc32fast::hash(first.as_bytes());
    assert!(found.contains(&format!("\n= 3 {checksum:08x}\n")), "{checksum:08x}");
    let state = disk.read().unwrap();
    assert_eq!(state.origin(), b"map,base name");
    let messages = state.messages().map(|message| (text(message.id), message.removed));
    let removed = Some(day(1));
    assert_eq!(
        messages.collect::<Vec<_>>(),
        [("UID1", None), ("UID2", removed), ("UID3", removed), ("UID4", None)]
            .map(|(id, removed)| (id.to_owned(), removed))
    );
    assert_eq!(state.by_name(b"1.a").unwrap().id, b"UID1");
    assert_eq!(state.by_name(b""), None);
    assert_eq!(state.by_id(b"UID2").unwrap().name, "2.b c%\u{e9}".as_bytes());
    assert_eq!(state.by_id(b"UID"), None);
    assert_eq!(state.by_id(b"UID5"), None);
}

#[test]
fn names_are_found_in_any_order() {
    let mut disk = Disk::default();
    disk.login(&[("3.c", &["UID1"]), ("1.a", &["UID2"]), ("2.b", &["UID3"])], day(0));
    let state = disk.read().unwrap();
    let queries =
        ["1.a", "2.b", "3.c", "3.c", "0", "2.b", "2.c", "3.c", "4.d", "1.a", "1.a", "2.b"];
    let mut search = state.search();
    let found = queries.map(|name| search.find(name.as_bytes()).map(|at| text(state.id(at))));
    let expected = queries.map(|name| state.by_name(name.as_bytes()).map(|found| text(found.id)));
    assert_eq!(found, expected);
    let ids = ["UID2", "UID3", "UID1"].map(|id| Some(id.to_owned()));
    assert_eq!(found[..3], ids);
}

#[test]
fn lines_give_back_what_was_put_in() {
    let every_octet = (0..=255).collect::<Vec<_>>();
    let long = "x".repeat(255);
    for name in [&b"1.a"[..], b"", b"a b", b"%41", b"\n\r", &every_octet, &[0xff; 300]] {
        let (id, at) = (long.as_bytes(), NonZeroU32::MAX);
        for line in [
            Line::Added { id, name: name.into() },
            Line::Removed { id, name: name.into(), at },
            Line::End { count: u64::MAX, checksum: 7 },
        ] {
            let mut text = Vec::new();
            line.append_to(&mut text);
            assert!((text.len() as u64) < LONGEST_LINE);
            let (end, line_text) = text.split_last().unwrap();
            assert_eq!((*end, Line::parse(line_text)), (b'\n', Some(line)));
        }
        let header = Header { generation: u64::MAX, origin: name.to_vec() };
        let mut text = Vec::new();
        header.append_to(&mut text);
        assert_eq!(Header::parse(text.strip_suffix(b"\n").unwrap()).unwrap(), header);
    }
}

#[test]
fn lines_that_are_not_of_the_file_are_refused() {
    let (too_long, id) = (format!("+ {} 1.a", "x".repeat(256)), "x".repeat(255));
    assert!(Line::parse(format!("+ {id} 1.a").as_bytes()).is_some());
    for line in [
        "",
        "+",
        "+ ",
        "+ a",
        "+  1.a",
        "+ a 1.a ",
        "+ a 1.a b",
        "+ \u{e9} 1.a",
        "- a 1.a",
        "- a 1.a 0",
        "- a 1.a 4294967296",
        "- a 1.a -1",
        "* a 1.a",
        "= 1",
        "= x 00000000",
        "= 1 g",
        "+ a %",
        "+ a %4",
        "+ a %4g",
        "++ a 1.a",
        &too_long,
    ] {
        assert_eq!(Line::parse(line.as_bytes()), None, "{line}");
    }
    assert!(!is_id(b"") && !is_id(b"a b") && !is_id(b"\x7f") && is_id(b"!~"));
    for (header, is_unknown) in [
        ("restante uids 2 1 x y z", true),
        ("restante uids ", true),
        ("restante uids 1 x y", false),
        ("restante uids 1 1", false),
        ("restante uids 1 1 a b", false),
        ("restante index", false),
        ("", false),
    ] {
        let error = Header::parse(header.as_bytes()).unwrap_err();
        assert_eq!(matches!(error, Error::UnknownVersion), is_unknown, "{header}: {error}");
    }
}

#[test]
fn the_first_listing_decides() {
    let mut disk = Disk::default();
    assert_eq!(disk.login(&[("2.b", &["B"]), ("1.a", &["A"])], day(0)), ["B", "A"]);
    // Other proposals, and another order.
    assert_eq!(disk.login(&[("1.a", &["B"]), ("2.b", &["C"])], day(1)), ["B", "A"]);
    // New messages are last, wherever the sources have them.
    let present: [Given<'_>; 4] =
        [("0.n", &["N"]), ("1.a", &["A"]), ("1.n", &["M"]), ("2.b", &["B"])];
    assert_eq!(disk.login(&present, day(2)), ["B", "A", "N", "M"]);
    let before = disk.text();
    assert_eq!(disk.login(&present, day(3)), ["B", "A", "N", "M"]);
    assert_eq!(disk.text(), before, "nothing has changed");
}

#[test]
fn a_unique_id_is_given_once() {
    let mut disk = Disk::default();
    let long = "x".repeat(256);
    let hash = |name: &str, number| text(&by_name::hash(format!("{name}/{number}").as_bytes()));
    let present: [Given<'_>; 6] = [
        ("1.a", &["A"]),
        ("2.b", &["A", "", "b b", "B"]),
        ("3.c", &["A", "B"]),
        ("4.d", &[&long, "\u{e9}"]),
        ("5.e", &[]),
        ("1.a", &["again"]),
    ];
    let expected = ["A", "B", &hash("3.c", 1), &hash("4.d", 1), &hash("5.e", 1)];
    assert_eq!(disk.login(&present, day(0)), expected);
    // The same names and proposals, after the messages were removed.
    assert_eq!(disk.login(&[], day(1)), <[&str; 0]>::default());
    let listed = disk.login(&present[..3], day(2));
    assert_eq!(listed, [hash("1.a", 1), hash("2.b", 1), hash("3.c", 2)]);
    // Another message with the unique-id of one that is present, and of one that is gone.
    let listed = disk.login(&[("1.a", &[]), ("6.f", &[&hash("1.a", 1), "A", "F"])], day(3));
    assert_eq!(listed, [&hash("1.a", 1), "F"]);
}

#[test]
fn removed_messages_are_remembered_for_ninety_days() {
    let mut disk = Disk::default();
    let kept: [Given<'_>; 1] = [("0.k", &["K"])];
    let names = (0..20).map(|number| format!("1.{number}")).collect::<Vec<_>>();
    let with_all = kept.into_iter().chain(names.iter().map(|name| (name.as_str(), &[][..])));
    let all = with_all.collect::<Vec<_>>();
    let first = disk.login(&all, day(0));
    disk.login(&kept, day(1));
    let all_again = disk.login(&all, day(90));
    assert_eq!(all_again[0], "K");
    assert!(all_again[1..].iter().all(|id| !first.contains(id)));
    disk.login(&kept, day(91));
    // The next batch makes the file be rewritten.
    disk.login(&[kept[0], ("2.x", &["X"])], day(92));
    let state = disk.read().unwrap();
    assert_eq!(state.mark().generation, 2, "{}", disk.text());
    assert!(state.by_id(first[1].as_bytes()).is_none(), "it was removed 91 days ago");
    assert!(state.by_id(all_again[1].as_bytes()).is_some(), "it was removed yesterday");
    assert_eq!(state.messages().count(), 22);
    assert_eq!(disk.login(&[kept[0], ("2.x", &[])], day(93)), ["K", "X"]);
}

/// A clock that is set back forgets nothing.
#[test]
fn the_clock_may_be_anything() {
    for now in [SystemTime::UNIX_EPOCH, day(0), day(1 << 20)] {
        let mut disk = Disk::default();
        assert_eq!(disk.login(&[("1.a", &["A"])], now), ["A"]);
        disk.login(&[], now);
        disk.login(&[], day(0));
        assert_ne!(disk.login(&[("1.a", &["A"])], day(1)), ["A"]);
    }
}

/// The file after each of some logins.
fn files() -> Vec<Disk> {
    let mut disk = Disk::default();
    let names = (0..40).map(|number| format!("1.{number}")).collect::<Vec<_>>();
    let login = |pair: &[String]| {
        let present: Vec<Given<'_>> = pair.iter().map(|name| (name.as_str(), &[][..])).collect();
        disk.login(&present, day(0));
        disk.clone()
    };
    names.windows(2).map(login).collect()
}

fn continues(file: &Disk, last: Mark) -> bool {
    Disk(file.0.clone(), Some(last)).read().unwrap().continues_last()
}

#[test]
fn later_files_continue_earlier_ones() {
    let files = files();
    assert!(files.last().unwrap().read().unwrap().generation > 1);
    for (nth, file) in files.iter().enumerate() {
        let last = file.read().unwrap().mark();
        for (other, file) in files.iter().enumerate() {
            assert_eq!(continues(file, last), other >= nth, "{other} after {nth}");
        }
        let none = Disk(None, Some(last)).read().unwrap();
        assert!(!none.continues_last());
        assert!(!file.read().unwrap().continues_last(), "there is no mark");
    }
}

/// It may be as long as the file of the last session, or longer.
#[test]
fn an_old_copy_that_was_appended_to_elsewhere_continues_nothing() {
    let mut disk = Disk::default();
    disk.login(&[("1.a", &["A"])], day(0));
    let mut copy = disk.clone();
    disk.login(&[("1.a", &[]), ("2.b", &["B"])], day(1));
    let last = disk.read().unwrap().mark();
    assert!(!continues(&copy, last));
    copy.login(&[("1.a", &[]), ("2.b", &["X"])], day(1));
    assert_eq!(copy.read().unwrap().mark().octets, last.octets);
    assert!(!continues(&copy, last));
    for name in ["3.c", "4.d"] {
        copy.login(&[("1.a", &[]), ("2.b", &[]), (name, &[])], day(2));
        assert!(!continues(&copy, last));
    }
    assert!(continues(&disk, last));
    disk.login(&[("1.a", &[]), ("2.b", &[]), ("3.c", &[])], day(2));
    assert!(continues(&disk, last));
}

/// The file of some logins, and its length after each.
fn written() -> (Disk, Vec<usize>) {
    let mut disk = Disk::default();
    let mut ends = Vec::new();
    let presents: [&[Given<'_>]; 4] = [
        &[("1.a", &["A"]), ("2.b", &["B"])],
        &[("1.a", &[]), ("2.b", &[]), ("3.c", &["C"])],
        &[("1.a", &[]), ("3.c", &[])],
        &[("1.a", &[]), ("3.c", &[]), ("4.d", &["D"]), ("5.e", &["E"])],
    ];
    for present in presents {
        disk.login(present, day(0));
        ends.push(disk.0.as_ref().unwrap().len());
    }
    (disk, ends)
}

#[test]
fn a_file_that_is_cut_is_read_to_its_last_sound_end() {
    let (disk, ends) = written();
    let whole = disk.0.unwrap();
    let known = [&["A", "B"][..], &["A", "B", "C"], &["A", "C"], &["A", "C", "D", "E"]];
    for length in 0..=whole.len() {
        let mut cut = Disk(Some(whole[..length].to_vec()), None);
        let batches = ends.iter().filter(|end| **end <= length).count();
        let Some(last) = batches.checked_sub(1) else {
            assert!(matches!(cut.read(), Err(Error::Damaged { .. })), "{length}");
            continue;
        };
        let state = cut.read().unwrap();
        let present = state.messages().filter(|message| message.removed.is_none());
        assert_eq!(present.map(|message| text(message.id)).collect::<Vec<_>>(), known[last]);
        // What follows is cut off before the next batch.
        let all: [Given<'_>; 4] =
            [("1.a", &["X"]), ("2.b", &["Y"]), ("3.c", &["Z"]), ("9.i", &["I"])];
        let listed = cut.login(&all, day(1));
        assert_eq!(cut.login(&all, day(2)), listed);
        let kept = known[last].iter().filter(|id| ["A", "B", "C"].contains(id));
        assert!(kept.zip(&listed).all(|(id, listed)| id == listed), "{length}: {listed:?}");
    }
}

/// Only the damage of the last batch looks like a cut.
#[test]
fn damage_before_the_last_batch_is_noticed() {
    let (disk, ends) = written();
    let whole = disk.0.unwrap();
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << bit;
            let read = Disk(Some(damaged), None).read();
            // The last end of the two before it may still be sound.
            match read {
                Err(Error::Damaged { .. } | Error::UnknownVersion) => assert!(at < ends[2]),
                Err(error) => panic!("{at}: {error}"),
                Ok(state) => assert!(at >= ends[1] && state.end.unwrap().octets <= at as u64),
            }
        }
    }
}

/// A file in which the end of a batch is sound, but not what it says.
#[test]
fn contradictions_are_refused() {
    let with = |lines: &str| {
        let mut text = format!("restante uids 1 1 map\n{lines}").into_bytes();
        let end =
            Line::End { count: lines.lines().count() as u64, checksum: crc32fast::hash(&text) };
        end.append_to(&mut text);
        Disk(Some(text), None)
    };
    assert!(with("").read().is_ok());
    assert!(with("+ A 1.a\n- A 1.a 7\n").read().is_ok());
    assert!(with("- A 1.a 7\n+ B 1.a\n").read().is_ok());
    for (lines, twice) in [
        ("+ A 1.a\n+ A 2.b\n", "A"),
        ("+ A 1.a\n- A 2.b 7\n", "A"),
        ("- A 1.a 7\n+ A 1.a\n", "A"),
        ("- A 1.a 7\n- A 1.a 7\n", "A"),
        ("+ A 1.a\n- A 1.a 7\n+ A 1.a\n", "A"),
        ("+ A 1.a\n+ B 1.a\n", "1.a"),
        ("+ A 1%20\n+ B 1%20\n", "1 "),
    ] {
        let error = with(lines).read().unwrap_err();
        assert!(matches!(&error, Error::Doubled(what) if what == twice.as_bytes()), "{error}");
    }
    let error = with("+ A 1.a\nnonsense\n").read().unwrap_err();
    assert!(matches!(error, Error::Damaged { line: 3 }), "{error}");
}

#[test]
fn a_message_takes_little_memory() {
    let mut disk = Disk::default();
    let names = (0..10_000).map(|n| format!("17000{n:05}.Vfd00I1a2b3cM393923.mail"));
    let ids = (0..10_000).map(|uid| format!("{uid:08x}6b08e042"));
    let (names, ids) = (names.collect::<Vec<_>>(), ids.collect::<Vec<_>>());
    let ids = ids.iter().map(|id| [id.as_str()]).collect::<Vec<_>>();
    let present = names.iter().zip(&ids).map(|(name, id)| (name.as_str(), &id[..]));
    assert_eq!(disk.login(&present.collect::<Vec<_>>(), day(0)).len(), 10_000);
    let memory = disk.read().unwrap().memory();
    assert!(memory <= 80 * 10_000, "{memory}");
}

proptest! {
    #[test]
    fn any_bytes_can_be_read(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Disk(Some(bytes), None).read().is_err());
    }

    /// Whatever sound batches say, no unique-id is of two messages.
    #[test]
    fn any_lines_can_be_read(
        lines in proptest::collection::vec("[+=-]? ?[AB]? ?[ab%2]{0,3} ?[0-9]{0,2}", 0..6),
    ) {
        let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        let mut file = format!("restante uids 1 1 map\n{text}").into_bytes();
        let checksum = crc32fast::hash(&file);
        Line::End { count: lines.len() as u64, checksum }.append_to(&mut file);
        if let Ok(state) = Disk(Some(file), None).read() {
            let mut ids = state.messages().map(|message| message.id).collect::<Vec<_>>();
            let count = ids.len();
            ids.sort_unstable();
            ids.dedup();
            prop_assert_eq!(ids.len(), count);
        }
    }
}
