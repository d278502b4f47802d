//! Maildirs that other servers have served (`tests/fixtures/continuity`): clients see the same
//! unique-ids in the same order, at the first login and at each later one.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use super::super::compressed::Format;
use super::super::compressed::tests::encoded;
use super::super::{MaildirMaildrop, MaildirStore};
use super::identity::has_stable_inodes;
use super::support::{Maildir, listing, positions, read, unique_ids};
use crate::config::{self, Dovecot, Duplicates, NewMailOrder, UidlSource};
use crate::login::Identity;
use crate::mailbox::{Mailbox, Maildrop, OpenError, Position};

/// `[maildir]` with these sources.
pub(super) fn section(sources: &[UidlSource]) -> config::Maildir {
    config::Maildir {
        path: PathBuf::new(),
        create: false,
        flag_separator: config::FlagSeparator::Colon,
        lock_wait: Duration::ZERO,
        yield_idle: Duration::ZERO,
        uidl: (!sources.is_empty()).then(|| sources.to_vec()),
        order: NewMailOrder::Number,
        dovecot: Dovecot::default(),
        map: None,
    }
}

pub(super) const DOVECOT: &[UidlSource] = &[UidlSource::Dovecot, UidlSource::BaseName];
pub(super) const COURIER: &[UidlSource] = &[UidlSource::Courier, UidlSource::BaseName];

pub(super) fn store(maildir: &Maildir, section: &config::Maildir) -> MaildirStore {
    maildir.store().with_unique_ids(section, &config::Guard::default()).unwrap()
}

pub(super) async fn open(store: &MaildirStore) -> Result<MaildirMaildrop, OpenError> {
    let (wait, cancellation) = (Duration::from_secs(30), CancellationToken::default());
    store.open_within(&Identity::for_test("mrose"), &cancellation, wait, || {}).await
}

/// The unique-ids that a login lists.
async fn login(store: &MaildirStore) -> Vec<String> {
    unique_ids(&open(store).await.unwrap())
}

fn text(file: &str) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(root.join("tests/fixtures/continuity").join(file)).unwrap()
}

/// A Maildir of the fixtures: the files in `cur`, and the list of the server.
pub(super) fn fixture(folder: &str) -> Maildir {
    let maildir = Maildir::new();
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    for (number, name) in (1..).zip(text(&format!("{folder}/names")).lines()) {
        let path = maildir.path("cur").join(name);
        fs::write(&path, "x".repeat(number) + "\n").unwrap();
        let modified = start + Duration::from_secs(60 * number as u64);
        File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
    }
    for list in LISTS {
        let from = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/continuity");
        drop(fs::copy(from.join(folder).join(list), maildir.path(list)));
    }
    maildir
}

const LISTS: [&str; 2] = ["dovecot-uidlist", "courierpop3dsizelist"];

/// What the other server answered to UIDL.
fn answer(file: &str) -> Vec<String> {
    let ids = text(file);
    ids.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
}

/// Checks the first login, and all later ones, whatever happens to the Maildir.
async fn check(maildir: &Maildir, section: &config::Maildir, expected: &[String]) {
    let store = store(maildir, section);
    assert_eq!(login(&store).await, expected);
    assert_eq!(login(&store).await, expected, "at the next login");
    for list in LISTS {
        drop(fs::remove_file(maildir.path(list)));
    }
    assert_eq!(login(&store).await, expected, "without the list");
    maildir.come_to_rest();
    maildir.remove("restante.index");
    assert_eq!(login(&store).await, expected, "without the list and the index");
    assert_eq!(login(&self::store(maildir, &self::section(&[]))).await, expected, "unconfigured");
    for entry in fs::read_dir(maildir.path("cur")).unwrap() {
        let from = entry.unwrap().file_name().into_string().unwrap();
        let to = if from.contains(":2,") { format!("{from}S") } else { format!("{from}:2,S") };
        maildir.rename(&format!("cur/{from}"), &format!("cur/{to}"));
    }
    assert_eq!(login(&store).await, expected, "with other flags");
    maildir.deliver("1.new.host", b"new\n");
    maildir.deliver("2800000000.new.host", b"newer\n");
    let new = ["1.new.host", "2800000000.new.host"].map(str::to_owned);
    let mut expected = [expected, &new].concat();
    assert_eq!(login(&store).await, expected, "with new mail");
    let maildrop = open(&store).await.unwrap();
    let (first, last) = (Position(0), Position(maildrop.count() - 1));
    assert_eq!(read(&maildrop, last.0).await.unwrap(), b"newer\n");
    maildrop.remove(vec![first, last], None).await.unwrap();
    assert!(!maildir.exists("new/2800000000.new.host"));
    expected.remove(0);
    expected.pop();
    assert_eq!(login(&store).await, expected, "after a removal");
    maildir.deliver("2800000000.new.host", b"newer\n");
    let listed = login(&store).await;
    let (last, rest) = listed.split_last().unwrap();
    assert_eq!(rest, expected);
    assert_ne!(last, "2800000000.new.host", "clients would not fetch it");
}

#[tokio::test]
async fn mail_of_dovecot() {
    for (folder, file, format) in [
        ("dovecot-small", "2.3-default", "%08Xu%08Xv"),
        ("dovecot-small", "2.3-v-u", "%v-%u"),
        ("dovecot-small", "2.3-f", "%f"),
        ("dovecot-small", "2.3-UID-courier", "UID%u-%v"),
        ("dovecot-small", "2.4-default", "%{uid | hex(8)}%{uidvalidity | hex(8)}"),
        ("dovecot-small", "2.4-f", "%{filename}"),
        ("dovecot-P-and-O", "2.3-default", "%08Xu%08Xv"),
        ("dovecot-P-and-O", "2.3-f", "%f"),
        ("dovecot-v1", "2.3-default", "%08Xu%08Xv"),
    ] {
        let dovecot = Dovecot { format: format.to_owned(), ..Dovecot::default() };
        let section = config::Maildir { dovecot, ..section(DOVECOT) };
        check(&fixture(folder), &section, &answer(&format!("{folder}/{file}.uidl"))).await;
    }
}

/// Dovecot lists the GUID of a message for its copies, too: the first keeps it.
#[tokio::test]
async fn mail_of_dovecot_with_doubled_unique_ids() {
    let (guids, names) = (answer("dovecot-small/2.3-g.uidl"), answer("dovecot-small/2.3-f.uidl"));
    let mut expected = Vec::<String>::new();
    for (guid, name) in guids.into_iter().zip(names) {
        expected.push(if expected.contains(&guid) { name } else { guid });
    }
    let dovecot = Dovecot { format: "%g".to_owned(), ..Dovecot::default() };
    let section = config::Maildir { dovecot, ..section(DOVECOT) };
    check(&fixture("dovecot-small"), &section, &expected).await;
}

#[tokio::test]
async fn mail_of_courier() {
    for folder in ["courier-v3", "courier-v2", "courier-n0"] {
        let expected = answer(&format!("{folder}/courier.uidl"));
        check(&fixture(folder), &section(COURIER), &expected).await;
    }
}

#[tokio::test]
async fn mail_of_qmail() {
    let modified = NewMailOrder::Modified;
    let section = config::Maildir { order: modified, ..section(&[UidlSource::BaseName]) };
    check(&fixture("qmail-pop3d"), &section, &answer("qmail-pop3d/qmail.uidl")).await;
}

#[tokio::test]
async fn positions_are_those_that_clients_see() {
    let maildir = fixture("dovecot-P-and-O");
    let maildrop = open(&store(&maildir, &section(DOVECOT))).await.unwrap();
    let expected = answer("dovecot-P-and-O/2.3-default.uidl");
    assert_eq!(unique_ids(&maildrop), expected);
    // In the listing they have the order of their names.
    let sent = listing(&maildrop);
    let octets = sent.iter().map(|(_, octets)| *octets).collect::<Vec<_>>();
    assert!(!octets.is_sorted(), "{octets:?}");
    assert_eq!(maildrop.total_octets(), octets.iter().sum::<u64>());
    for (at, octets) in positions(&maildrop).zip(octets) {
        assert_eq!(read(&maildrop, at.0).await.unwrap().len() as u64 + 1, octets);
    }
}

/// Mail that was listed here with unique-ids made of names keeps them.
#[tokio::test]
async fn mail_that_was_listed_by_name_keeps_its_unique_ids() {
    let maildir = fixture("dovecot-v1");
    let by_name = store(&maildir, &section(&[UidlSource::Name]));
    let expected = login(&by_name).await;
    maildir.come_to_rest();
    assert!(!maildir.exists("restante.uids"));
    maildir.put("new/9999999999.new,S=4", b"new\n");
    let listed = login(&store(&maildir, &section(DOVECOT))).await;
    assert_eq!(listed[..expected.len()], expected);
    assert_eq!(listed.last().unwrap(), "9999999999.new,S=4");
    assert!(maildir.exists("restante.uids"));
}

#[tokio::test]
async fn messages_with_the_deleted_flag_are_hidden() {
    let maildir = Maildir::with(&[
        ("cur/1.a:2,", b"a\n"),
        ("cur/2.b:2,Sb", b"b\n"),
        ("cur/3.c:2,", b"c\n"),
        ("dovecot-keywords", b"0 NonJunk\n1 $POP3Deleted\n"),
        ("dovecot-uidlist", b"3 V7 N4\n1 :1.a\n2 :2.b\n3 :3.c\n"),
    ]);
    let deleted_flag = Some("$POP3Deleted".to_owned());
    let dovecot = Dovecot { format: "%u".to_owned(), deleted_flag, ..Dovecot::default() };
    for (sources, expected) in [
        (&[UidlSource::Name][..], [["1.a", "2.b", "3.c"], ["1.a", "3.c", ""]]),
        (DOVECOT, [["1", "2", "3"], ["1", "3", ""]]),
    ] {
        maildir.come_to_rest();
        drop(fs::remove_file(maildir.path("restante.index")));
        let section = config::Maildir { dovecot: dovecot.clone(), ..section(sources) };
        let store = store(&maildir, &section);
        assert_eq!(login(&store).await, expected[1][..2]);
        assert_eq!(login(&store).await, expected[1][..2]);
        maildir.rename("cur/2.b:2,Sb", "cur/2.b:2,S");
        assert_eq!(login(&store).await, expected[0]);
        maildir.rename("cur/2.b:2,S", "cur/2.b:2,Sb");
    }
}

#[tokio::test]
async fn lists_may_be_elsewhere() {
    let maildir = Maildir::with(&[("cur/1.a:2,", b"a\n"), ("cur/2.b,S=2:2,", b"b\n")]);
    let lists = tempfile::tempdir().unwrap();
    fs::create_dir_all(lists.path().join("mrose/.INBOX")).unwrap();
    fs::write(lists.path().join("mrose/.INBOX/dovecot-uidlist"), "3 V7 N4\n2 :1.a\n").unwrap();
    fs::write(lists.path().join("mrose/map"), "2.b,S=2:2,S\tmapped\n").unwrap();
    let control = Some(lists.path().join("{user}/.INBOX"));
    let dovecot = Dovecot { format: "%u".to_owned(), control, ..Dovecot::default() };
    let map = Some(lists.path().join("{user}/map"));
    let sources = [UidlSource::Dovecot, UidlSource::Map];
    let section = config::Maildir { dovecot, map, ..section(&sources) };
    assert_eq!(login(&store(&maildir, &section)).await, ["2", "mapped"]);
}

/// Why a login is refused.
async fn refusal(store: &MaildirStore) -> String {
    match open(store).await {
        Err(OpenError::Unavailable(failure)) => failure.to_string(),
        other => panic!("{other:?}"),
    }
}

/// A path that is mistyped, or not mounted, is not one where no user has a list.
#[tokio::test]
async fn the_place_of_all_lists_must_exist() {
    let maildir = Maildir::with(&[("new/1.a", b"a\n")]);
    let lists = tempfile::tempdir().unwrap();
    let root = lists.path().join("mounted");
    let control = Dovecot { control: Some(root.join("{user}")), ..Dovecot::default() };
    let map = Some(root.join("{user}.map"));
    let flag = Dovecot { deleted_flag: Some("x".to_owned()), ..control.clone() };
    let sections = [
        ("dovecot.control", config::Maildir { dovecot: control.clone(), ..section(DOVECOT) }),
        ("dovecot.control", config::Maildir { dovecot: control, ..section(&[]) }),
        ("dovecot.control", config::Maildir { dovecot: flag, ..section(&[UidlSource::Name]) }),
        ("map.path", config::Maildir { map, ..section(&[UidlSource::Map]) }),
    ];
    for (key, section) in &sections {
        let refusal = refusal(&store(&maildir, section)).await;
        let path = root.to_str().unwrap();
        assert!(refusal.contains(&format!("find {path}, where maildir.{key} ")), "{refusal}");
        assert_eq!(maildir.tree(), ["/restante.lock", "new/1.a"]);
    }
    fs::create_dir(root).unwrap();
    for (_, section) in &sections {
        assert_eq!(login(&store(&maildir, section)).await, ["1.a"]);
        maildir.come_to_rest();
        for file in ["restante.index", "restante.uids"] {
            drop(fs::remove_file(maildir.path(file)));
        }
    }
}

/// Another server may have a list that cannot be looked for.
#[tokio::test]
async fn an_error_is_not_the_absence_of_a_list() {
    let maildir = Maildir::with(&[("new/1.a", b"a\n")]);
    let too_long = maildir.path("{user}".to_owned() + &"x".repeat(300));
    let dovecot = Dovecot { control: Some(too_long), ..Dovecot::default() };
    let section = config::Maildir { dovecot, ..section(&[]) };
    let refusal = refusal(&store(&maildir, &section)).await;
    assert!(refusal.contains("too long"), "{refusal}");
}

#[tokio::test]
async fn lists_are_bounded() {
    let deleted_flag = Some("x".to_owned());
    let flag = Dovecot { deleted_flag, ..Dovecot::default() };
    for (list, most, section) in [
        ("dovecot-uidlist", 1 << 30, section(DOVECOT)),
        ("courierpop3dsizelist", 1 << 30, section(COURIER)),
        ("dovecot-keywords", 64 << 10, config::Maildir { dovecot: flag, ..section(&[]) }),
    ] {
        let maildir = Maildir::with(&[("new/1.a", b"a\n"), (list, b"")]);
        let file = File::options().write(true).open(maildir.path(list)).unwrap();
        if file.set_len(most + 1).is_ok() {
            let refusal = refusal(&store(&maildir, &section)).await;
            assert!(refusal.contains(list) && refusal.contains("larger than"), "{refusal}");
        }
    }
}

/// After a power cut it would hide the unique-ids that have been shown.
#[tokio::test]
async fn an_index_of_names_is_removed_before_others_are_shown() {
    let maildir = Maildir::with(&[("new/1.a", b"a\n")]);
    assert_eq!(login(&store(&maildir, &section(&[UidlSource::Name]))).await, ["1.a"]);
    maildir.come_to_rest();
    maildir.deliver("2.b", b"b\n");
    maildir.put("dovecot-uidlist", b"3 V7 N4\n2 :2.b\n");
    // So it cannot be replaced.
    fs::create_dir_all(maildir.path("restante.index.new/x")).unwrap();
    let dovecot = Dovecot { format: "%u".into(), ..Dovecot::default() };
    let section = config::Maildir { dovecot, ..section(DOVECOT) };
    let expected = ["1.a", "2"];
    let mut listed = login(&store(&maildir, &section)).await;
    listed.sort();
    assert_eq!(listed, expected);
    maildir.come_to_rest();
    assert!(!maildir.exists("restante.index"));
}

#[tokio::test]
async fn x_uidl_and_duplicates_are_as_dovecot_has_them() {
    let maildir = Maildir::with(&[
        ("cur/1.a:2,", b"Subject: a\nX-UIDL: same\n\n"),
        ("cur/2.b:2,", b"x-uidl:  same\n\n"),
        ("cur/3.c:2,", b"Subject: c\n\n"),
        ("dovecot-uidlist", b"3 V7 N4\n1 :1.a\n2 :2.b\n3 :3.c\n"),
    ]);
    let (reuse_xuidl, duplicates) = (true, Duplicates::Rename);
    let dovecot = Dovecot { format: "%u".into(), reuse_xuidl, duplicates, ..Dovecot::default() };
    let section = config::Maildir { dovecot, ..section(DOVECOT) };
    let store = store(&maildir, &section);
    assert_eq!(login(&store).await, ["same", "same-2", "3"]);
    // Dovecot's IMAP goes on beside, and counts the messages that are known here.
    maildir.come_to_rest();
    maildir.put("new/4.d", &encoded(Format::Bzip2, b"X-UIDL: same\n\n"));
    maildir.put("new/5.e", &encoded(Format::Xz, b"X-UIDL: same\n\n"));
    maildir.put("dovecot-uidlist", b"3 V7 N6\n1 :1.a\n2 :2.b\n3 :3.c\n4 :4.d\n5 :5.e\n");
    assert_eq!(login(&store).await, ["same", "same-2", "3", "same-3", "same-4"]);
}

#[tokio::test]
async fn a_list_that_cannot_be_used_is_an_error_while_it_is_needed() {
    for (list, contents, sources, expected) in [
        ("dovecot-uidlist", "2 V7 N4\n", DOVECOT, "version 2 is not supported"),
        ("dovecot-uidlist", "", DOVECOT, "restore the file from a backup"),
        ("courierpop3dsizelist", "/9 1 1\n", COURIER, "version 9 is not supported"),
    ] {
        let maildir = Maildir::with(&[("new/1.a", b"a\n"), (list, contents.as_bytes())]);
        let store = store(&maildir, &section(sources));
        let failure = match open(&store).await {
            Err(OpenError::Unavailable(failure)) => failure.to_string(),
            other => panic!("{other:?}"),
        };
        assert!(failure.contains(expected) && failure.contains(list), "{failure}");
        assert_eq!(maildir.tree(), [format!("/{list}"), "/restante.lock".into(), "new/1.a".into()]);
        maildir.remove(list);
        assert_eq!(login(&store).await, ["1.a"]);
        maildir.put(list, contents.as_bytes());
        assert_eq!(login(&store).await, ["1.a"], "it is not needed any more");
        maildir.come_to_rest();
        maildir.remove(list);
        std::os::unix::fs::symlink("new/1.a", maildir.path(list)).unwrap();
        maildir.deliver("2.b", b"b\n");
        assert!(matches!(open(&store).await, Err(OpenError::Unavailable(_))), "a link");
    }
}

/// Dovecot's IMAP serves the same Maildir, and enters mail in its list after it was listed here.
#[tokio::test]
async fn dovecot_may_go_on_beside() {
    let maildir = Maildir::with(&[
        ("cur/1.a:2,", b"a\n"),
        ("new/2.b", b"b\n"),
        ("dovecot-uidlist", b"3 V7 N2\n1 :1.a\n"),
    ]);
    let dovecot = Dovecot { format: "%u".into(), ..Dovecot::default() };
    let store = store(&maildir, &config::Maildir { dovecot, ..section(DOVECOT) });
    assert_eq!(login(&store).await, ["1", "2.b"]);
    maildir.put("dovecot-uidlist", b"3 V8 N9\n5 :2.b\n6 :1.a\n7 :3.c\n");
    maildir.deliver("3.c", b"c\n");
    maildir.deliver("4.d", b"d\n");
    assert_eq!(login(&store).await, ["1", "2.b", "7", "4.d"]);
}

/// Files that share a unique name keep their unique-ids without the index.
#[tokio::test]
async fn files_of_one_name_keep_their_unique_ids() {
    let maildir = Maildir::with(&[
        ("new/1.a", b"first\n"),
        ("new/2.b", b"b\n"),
        ("dovecot-uidlist", b"3 V7 N4\n1 :1.a\n2 :2.b\n"),
    ]);
    if !has_stable_inodes(&maildir) {
        return;
    }
    let dovecot = Dovecot { format: "%u".into(), ..Dovecot::default() };
    let store = store(&maildir, &config::Maildir { dovecot, ..section(DOVECOT) });
    assert_eq!(login(&store).await, ["1", "2"]);
    maildir.put("cur/1.a:2,S", b"second\n");
    let three = login(&store).await;
    assert_eq!(three[..2], ["1", "2"]);
    for _ in 0..2 {
        let maildrop = open(&store).await.unwrap();
        assert_eq!(unique_ids(&maildrop), three);
        assert_eq!(read(&maildrop, 0).await.unwrap(), b"first\n");
        assert_eq!(read(&maildrop, 2).await.unwrap(), b"second\n");
        drop(maildrop);
        maildir.come_to_rest();
        drop(fs::remove_file(maildir.path("restante.index")));
    }
    assert_eq!(login(&store).await, three);
    assert_eq!(login(&store).await, three);
    maildir.remove("new/1.a");
    assert_eq!(login(&store).await, three[1..]);
    maildir.come_to_rest();
    maildir.remove("restante.index");
    assert_eq!(login(&store).await, three[1..]);
    maildir.put("new/1.a", b"third\n");
    let listed = login(&store).await;
    assert_eq!(listed[..2], three[1..]);
    assert!(!three.contains(&listed[2]));
}

#[tokio::test]
async fn new_mail_is_hidden_while_it_cannot_be_written_down() {
    let maildir = fixture("courier-v3");
    let store = store(&maildir, &section(COURIER));
    let expected = login(&store).await;
    maildir.come_to_rest();
    // A directory in the place of the file: it cannot be opened to be appended to.
    let state = fs::read(maildir.path("restante.uids")).unwrap();
    maildir.deliver("9999999999.new", b"new\n");
    // Another name for it: it must be rewritten, and that fails.
    fs::hard_link(maildir.path("restante.uids"), maildir.path("backup")).unwrap();
    fs::create_dir_all(maildir.path("restante.uids.new/x")).unwrap();
    for _ in 0..2 {
        assert_eq!(login(&store).await, expected);
        maildir.come_to_rest();
    }
    let identity = Identity::for_test("mrose");
    for command in [MaildirStore::apply, MaildirStore::accept] {
        let failure = match command(&store, (&identity).into()) {
            Err(OpenError::Unavailable(failure)) => failure.to_string(),
            other => panic!("{other:?}"),
        };
        assert!(failure.contains("cannot write restante.uids"), "{failure}");
    }
    assert_eq!(fs::read(maildir.path("restante.uids")).unwrap(), state);
    fs::remove_dir_all(maildir.path("restante.uids.new")).unwrap();
    assert_eq!(login(&store).await, [&expected[..], &["9999999999.new".to_owned()]].concat());
}
