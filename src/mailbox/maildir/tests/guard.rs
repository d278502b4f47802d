//! The guard: which changes of a Maildir keep clients out, and which do not.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::thread;
use std::time::{Duration, SystemTime};

use super::super::{MaildirStore, Objection};
use super::continuity::{COURIER, DOVECOT, fixture, open, section, store};
use super::identity::has_stable_inodes;
use super::support::{Maildir, unique_ids};
use crate::config::{Dovecot, Guard, GuardMode, Maildir as Section, UidlSource};
use crate::login::Identity;
use crate::mailbox::{Maildrop, OpenError, Position};

pub(super) fn store_with(maildir: &Maildir, section: &Section, mode: GuardMode) -> MaildirStore {
    let guard = Guard { mode, ..Guard::default() };
    maildir.store().with_unique_ids(section, &guard).unwrap()
}

/// The unique-ids that a login lists, or why it is refused.
pub(super) async fn login(store: &MaildirStore) -> Result<Vec<String>, String> {
    match open(store).await {
        Ok(maildrop) => Ok(unique_ids(&maildrop)),
        Err(OpenError::Guarded(failure)) => Err(failure.to_string()),
        Err(error) => panic!("{error}"),
    }
}

/// Checks that logins are refused until the operator accepts the change, and what they say.
pub(super) async fn refused(maildir: &Maildir, store: &MaildirStore, expected: &str) {
    maildir.come_to_rest();
    let before = maildir.tree();
    let state = fs::read(maildir.path("restante.uids")).ok();
    for _ in 0..2 {
        let refusal = login(store).await.unwrap_err();
        assert!(refusal.contains(expected), "{refusal}");
    }
    let identity = Identity::for_test("mrose");
    maildir.come_to_rest();
    let preview = store.preview((&identity).into()).unwrap().unwrap();
    assert!(preview.objection().unwrap().to_string().contains(expected));
    let previewed = preview.messages().map(|message| message.id.to_owned()).collect::<Vec<_>>();
    drop(preview);
    assert_eq!(maildir.tree(), before);
    assert_eq!(fs::read(maildir.path("restante.uids")).ok(), state);
    maildir.come_to_rest();
    let messages = store.accept((&identity).into()).unwrap().unwrap();
    let listed = login(store).await.unwrap();
    assert_eq!(listed.len(), messages as usize);
    assert_eq!(listed, previewed);
    maildir.come_to_rest();
    let preview = store.preview((&identity).into()).unwrap().unwrap();
    assert_eq!(preview.objection(), None);
}

/// A Maildir of messages with different octets, which has been listed.
pub(super) async fn listed(
    store_of: impl Fn(&Maildir) -> MaildirStore,
    messages: usize,
) -> Maildir {
    let maildir = Maildir::new();
    for message in 0..messages {
        let name = format!("cur/{}.a:2,", 1000 + message);
        maildir.put(name, format!("{}\n", "x".repeat(message)).as_bytes());
    }
    // The clock of the file system is coarse.
    thread::park_timeout(Duration::from_millis(20));
    login(&store_of(&maildir)).await.unwrap();
    maildir.come_to_rest();
    maildir
}

fn by_name(maildir: &Maildir) -> MaildirStore {
    store(maildir, &section(&[]))
}

pub(super) fn by_state(maildir: &Maildir) -> MaildirStore {
    store(maildir, &section(&[UidlSource::BaseName]))
}

/// The files in `cur`, in the order of their names.
pub(super) fn files(maildir: &Maildir) -> Vec<String> {
    let entries = fs::read_dir(maildir.path("cur")).unwrap();
    let mut names =
        entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>();
    names.sort();
    names
}

/// Renames these files, so that each has another unique name.
fn rename(maildir: &Maildir, files: &[String]) {
    for name in files {
        maildir.rename(&format!("cur/{name}"), &format!("cur/9{name}"));
    }
}

/// Replaces these files by copies with other names.
fn copy(maildir: &Maildir, files: &[String], name: impl Fn(usize) -> String) {
    for (nth, file) in files.iter().enumerate() {
        let from = maildir.path("cur").join(file);
        let to = maildir.path("cur").join(name(nth));
        fs::copy(&from, &to).unwrap();
        let modified = fs::metadata(&from).unwrap().modified().unwrap();
        File::options().write(true).open(to).unwrap().set_modified(modified).unwrap();
        fs::remove_file(from).unwrap();
    }
}

#[tokio::test]
async fn lists_that_no_source_reads() {
    for (folder, sources, line) in [
        ("dovecot-small", DOVECOT, "uidl = [\"dovecot\", \"base-name\"]"),
        ("courier-v3", COURIER, "uidl = [\"courier\", \"base-name\"]"),
    ] {
        let maildir = fixture(folder);
        refused(&maildir, &by_name(&maildir), line).await;
        let maildir = fixture(folder);
        assert!(login(&by_name(&maildir)).await.is_err());
        login(&store(&maildir, &section(sources))).await.unwrap();
        assert!(maildir.exists("restante.uids"));
        login(&by_name(&maildir)).await.unwrap();
        for (mode, section) in [
            (GuardMode::Warn, section(&[])),
            (GuardMode::Off, section(&[])),
            (GuardMode::Refuse, section(&[UidlSource::Name])),
        ] {
            let maildir = fixture(folder);
            let listed = login(&store_with(&maildir, &section, mode)).await.unwrap();
            maildir.come_to_rest();
            assert!(!maildir.exists("restante.uids"));
            assert_eq!(login(&by_name(&maildir)).await.unwrap(), listed, "{mode:?}");
        }
    }
}

/// The lock file proves nothing: refused logins make it, and commands that show nothing to clients.
#[tokio::test]
async fn an_index_that_cannot_be_used_shows_that_clients_know_names() {
    type Damage = fn(&mut Vec<u8>);
    let damages: [(Damage, bool); 7] = [
        (|index| index.clear(), false),
        (|index| index.fill(0), false),
        (|index| index[40] ^= 1, false),
        (|index| index[15] = b'2', false),
        (|index| index[14] = b';', false),
        (|index| index[15] = b'6', true),
        (|index| index[15] = b'7', true),
    ];
    for (damage, is_refused) in damages {
        let maildir = fixture("dovecot-small");
        let listed = login(&store(&maildir, &section(&[UidlSource::Name]))).await.unwrap();
        maildir.come_to_rest();
        let mut index = fs::read(maildir.path("restante.index")).unwrap();
        damage(&mut index);
        fs::write(maildir.path("restante.index"), index).unwrap();
        if !is_refused {
            assert_eq!(login(&by_name(&maildir)).await.unwrap(), listed);
            maildir.come_to_rest();
            maildir.remove("restante.index");
        }
        assert!(maildir.exists("restante.lock"));
        refused(&maildir, &by_name(&maildir), "dovecot-uidlist").await;
    }
}

/// Clients have seen the names, but it is unknown of which messages.
#[tokio::test]
async fn a_damaged_index_keeps_names_when_other_sources_are_set() {
    let maildir = fixture("dovecot-small");
    let listed = login(&store(&maildir, &section(&[UidlSource::Name]))).await.unwrap();
    maildir.come_to_rest();
    fs::write(maildir.path("restante.index"), b"").unwrap();
    for _ in 0..2 {
        let ids = login(&store(&maildir, &section(DOVECOT))).await.unwrap();
        assert_eq!(BTreeSet::from_iter(ids), BTreeSet::from_iter(listed.clone()));
    }
    assert!(maildir.exists("restante.uids"));
}

#[tokio::test]
async fn messages_with_other_names() {
    for store_of in [by_name, by_state] {
        for (messages, renamed, is_refused) in
            [(20, 20, true), (20, 16, true), (20, 15, false), (60, 47, false), (60, 48, true)]
        {
            let maildir = listed(store_of, messages).await;
            if !has_stable_inodes(&maildir) {
                return;
            }
            rename(&maildir, &files(&maildir)[..renamed]);
            // The listing may be older than its index: a message may come before that is written.
            let index = File::options().write(true).open(maildir.path("restante.index")).unwrap();
            index.set_modified(SystemTime::UNIX_EPOCH).unwrap();
            if is_refused {
                let expected = format!("{renamed} of the {messages} messages");
                refused(&maildir, &store_of(&maildir), &expected).await;
            } else {
                login(&store_of(&maildir)).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_state_that_is_lost_or_old_or_of_another_maildir() {
    let maildir = listed(by_state, 20).await;
    let first = fs::read(maildir.path("restante.uids")).unwrap();
    let dovecot = Dovecot { format: "%u".into(), ..Dovecot::default() };
    let format = Section { dovecot, ..section(DOVECOT) };
    login(&store(&maildir, &format)).await.unwrap();
    maildir.come_to_rest();
    maildir.remove("restante.uids");
    refused(&maildir, &store(&maildir, &format), "20 of the 20").await;

    let maildir = listed(by_state, 20).await;
    maildir.remove("restante.uids");
    refused(&maildir, &by_name(&maildir), "20 of the 20").await;

    let maildir = listed(by_state, 20).await;
    let before = fs::read(maildir.path("restante.uids")).unwrap();
    assert_eq!(before, first);
    for message in 0..15 {
        maildir.deliver(&format!("5000{message}.new"), b"new\n");
    }
    login(&by_state(&maildir)).await.unwrap();
    maildir.come_to_rest();
    fs::write(maildir.path("restante.uids"), before).unwrap();
    refused(&maildir, &by_state(&maildir), "15 of the 35").await;

    let other = Maildir::new();
    for message in 0..300 {
        other.put(format!("cur/{message}.other:2,"), b"x\n");
    }
    login(&by_state(&other)).await.unwrap();
    other.come_to_rest();
    let maildir = listed(by_state, 20).await;
    fs::copy(other.path("restante.uids"), maildir.path("restante.uids")).unwrap();
    refused(&maildir, &by_state(&maildir), "20 of the 20").await;
}

#[tokio::test]
async fn messages_that_were_copied_without_their_names() {
    for store_of in [by_name, by_state] {
        let maildir = listed(store_of, 40).await;
        copy(&maildir, &files(&maildir), |nth| format!("{}.copy:2,S", 2000 + nth));
        // A few have been removed or delivered meanwhile.
        maildir.remove("cur/2003.copy:2,S");
        maildir.put("new/2007.new", b"new\n");
        refused(&maildir, &store_of(&maildir), "39 of 40 messages have other file names").await;
    }
}

type Change = fn(&Maildir);

/// Programs copy messages in the order in which another server lists them, or in that of their
/// names. The two differ if mail with older names has come later.
#[tokio::test]
async fn messages_that_were_copied_in_the_order_of_clients() {
    for first in [0, 20] {
        let maildir = listed(by_state, 20).await;
        for message in 0..20 {
            let text = format!("{}\n", "y".repeat(100 + message));
            maildir.put(format!("cur/0{}.b:2,", 100 + message), text.as_bytes());
        }
        // The clock of the file system is coarse.
        thread::park_timeout(Duration::from_millis(20));
        login(&by_state(&maildir)).await.unwrap();
        maildir.come_to_rest();
        copy(&maildir, &files(&maildir), |nth| format!("{}.copy:2,S", 2000 + (first + nth) % 40));
        refused(&maildir, &by_state(&maildir), "40 of 40 messages have other file names").await;
    }
}

/// None of these makes clients download anything again that they could have kept.
pub(super) fn harmless_changes() -> [(&'static str, Change); 10] {
    [
        ("nothing", |_| ()),
        ("flags", |maildir| {
            for name in files(maildir) {
                maildir.rename(&format!("cur/{name}"), &format!("cur/{name}RS"));
            }
        }),
        ("sizes in names", |maildir| {
            for name in files(maildir) {
                let to = name.replace(":2,", ",S=1:2,");
                maildir.rename(&format!("cur/{name}"), &format!("cur/{to}"));
            }
        }),
        ("all are gone", |maildir| {
            files(maildir).iter().for_each(|name| maildir.remove(&format!("cur/{name}")));
        }),
        ("others are there", |maildir| {
            files(maildir).iter().for_each(|name| maildir.remove(&format!("cur/{name}")));
            for message in 0..60 {
                let text = format!("{}\n", "y".repeat(200 + message * 7 % 60));
                maildir.deliver(&format!("{}.new", 3000 + message), text.as_bytes());
            }
        }),
        ("others of the same octets, in another order", |maildir| {
            let names = files(maildir);
            copy(maildir, &names, |nth| format!("{}.copy:2,", 2000 + nth * 17 % names.len()));
        }),
        ("much new mail", |maildir| {
            for message in 0..200 {
                maildir.deliver(&format!("{message}.new"), b"new\n");
            }
        }),
        ("the reports of another day", |maildir| {
            for name in files(maildir) {
                let text = fs::read(maildir.path("cur").join(&name)).unwrap();
                maildir.remove(&format!("cur/{name}"));
                maildir.deliver(&format!("2{}", name.replace(":2,", "")), &text);
            }
        }),
        ("moved to another folder and back", |maildir| {
            rename(maildir, &files(maildir)[..30]);
        }),
        ("edited", |maildir| {
            for name in files(maildir) {
                maildir.put("tmp/edited", b"edited\n");
                maildir.rename("tmp/edited", &format!("cur/{name}"));
            }
        }),
    ]
}

#[tokio::test]
async fn mail_comes_and_goes() {
    for store_of in [by_name, by_state] {
        for (name, change) in harmless_changes() {
            let maildir = listed(store_of, 40).await;
            change(&maildir);
            login(&store_of(&maildir)).await.unwrap_or_else(|why| panic!("{name}: {why}"));
        }
    }
}

/// The mail of one program has the same octets again and again.
#[tokio::test]
async fn uniform_mail_is_not_taken_for_a_copy() {
    for store_of in [by_name, by_state] {
        let maildir = Maildir::new();
        for round in 0..3 {
            for message in 0..30 {
                let name = format!("{round}{message}.cron");
                let mut file = File::create_new(maildir.path("new").join(name)).unwrap();
                file.write_all(&b"Subject: disk\n\nfull 99\n"[..21 + message % 2]).unwrap();
            }
            login(&store_of(&maildir)).await.unwrap();
            maildir.come_to_rest();
            fs::remove_dir_all(maildir.path("new")).unwrap();
            fs::create_dir(maildir.path("new")).unwrap();
        }
    }
}

#[tokio::test]
async fn a_client_removes_all_its_mail() {
    for store_of in [by_name, by_state] {
        let maildir = listed(store_of, 40).await;
        let maildrop = open(&store_of(&maildir)).await.unwrap();
        let all = (0..maildrop.count()).map(Position).collect();
        maildrop.remove(all, None).await.unwrap();
        for message in 0..40 {
            let text = format!("{}\n", "x".repeat(message));
            maildir.deliver(&format!("{}.new", 3000 + message), text.as_bytes());
        }
        assert_eq!(login(&store_of(&maildir)).await.unwrap().len(), 40);
    }
}

#[test]
fn objections_name_the_way_out() {
    for (objection, way) in [
        (Objection::Changed { changed: 1, of: 2 }, "restante guard accept USER"),
        (Objection::Replaced { replaced: 1, of: 2 }, "restante guard accept USER"),
        (Objection::ForeignState { unknown: 1, of: 2 }, "restante guard accept USER"),
        (
            Objection::OtherSeparator { known: 1, of: 2, separator: ';' },
            "flag-separator = \";\" under [maildir]",
        ),
    ] {
        assert!(objection.to_string().contains(way), "{objection}");
    }
}
