//! Logins that read no directory, because the index proves that nothing has changed: that they
//! happen, and that the index is not used after a change.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::thread;
use std::time::Duration;

use proptest::prelude::*;

use super::support::{Maildir, listing, read, runtime, unique_ids};
use crate::mailbox::maildir::MaildirMaildrop;
use crate::mailbox::{Maildrop, Position};

/// Opens it again while the clock advances, until the index is used.
async fn open_at_rest(maildir: &Maildir) -> MaildirMaildrop {
    for _ in 0..1000 {
        let maildrop = maildir.open().await;
        if maildrop.stats().passes == 0 {
            return maildrop;
        }
        drop(maildrop);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("a Maildir at rest is read again and again");
}

/// The unique names and contents in the folders, for files with names like `1.a:2,S`.
fn present(maildir: &Maildir) -> BTreeSet<String> {
    let names = ["new", "cur"].iter().flat_map(|folder| {
        fs::read_dir(maildir.path(folder)).unwrap().map(|entry| entry.unwrap().file_name())
    });
    let unique = |name: String| name.split([':', ',']).next().unwrap_or_default().to_owned();
    names.map(|name| unique(name.into_string().unwrap())).collect()
}

fn listed(maildrop: &MaildirMaildrop) -> BTreeSet<String> {
    unique_ids(maildrop).into_iter().collect()
}

/// Replaces a word in the basis of the index, and corrects the checksum.
fn forge(maildir: &Maildir, word: usize, value: impl FnOnce(u64) -> u64) {
    let path = maildir.path("restante.index");
    let mut bytes = fs::read(&path).unwrap();
    bytes.truncate(bytes.len() - 4);
    let word = &mut bytes[16 + 8 * word..][..8];
    let forged = value(u64::from_le_bytes(word.try_into().unwrap()));
    word.copy_from_slice(&forged.to_le_bytes());
    let checksum = crc32fast::hash(&bytes).to_le_bytes();
    fs::write(path, [&bytes[..], &checksum].concat()).unwrap();
}

#[tokio::test]
async fn an_unchanged_maildir_is_not_read() {
    let maildir = Maildir::with(&[
        ("new/1.a", b"one\n"),
        ("cur/2.b:2,S", b"two\r\n"),
        ("cur/2.b:2,", b"another\n"),
        ("cur/no unique-id", b""),
    ]);
    let first = maildir.open().await;
    let expected = listing(&first);
    assert!(first.stats().passes > 0);
    drop(first);
    let second = open_at_rest(&maildir).await;
    assert_eq!(listing(&second), expected);
    assert_eq!(read(&second, 0).await.unwrap(), b"one\n");
    assert_eq!(read(&second, 1).await.unwrap(), b"another\n");
    assert_eq!(read(&second, 2).await.unwrap(), b"two\r\n");
    second.remove(vec![Position(1)], None).await.unwrap();
    maildir.come_to_rest();
    assert!(maildir.exists("cur/2.b:2,S") && !maildir.exists("cur/2.b:2,"));
}

/// Changes in the same tick of the clock as the last login or the last change.
#[tokio::test]
async fn changes_in_the_same_tick_are_seen() {
    let maildir = Maildir::with(&[("new/0.m", b"x\n")]);
    for message in 1..300 {
        let name = format!("{message}.m");
        maildir.deliver(&name, b"x\n");
        assert!(listed(&maildir.open().await).contains(&name), "{name} was delivered");
        match message % 3 {
            0 => maildir.remove(&format!("new/{name}")),
            1 => maildir.rename(&format!("new/{name}"), &format!("cur/{name}:2,S")),
            _ => {}
        }
        if message % 7 == 0 {
            drop(open_at_rest(&maildir).await);
        }
        let maildrop = maildir.open().await;
        assert_eq!(listed(&maildrop), present(&maildir), "after {name}");
        let last = Position(maildrop.count() - 1);
        assert_eq!(read(&maildrop, last.0).await.unwrap(), b"x\n");
    }
}

/// The same from another thread, which does not wait for the logins.
#[test]
fn deliveries_at_any_moment_are_in_the_next_listing() {
    const MESSAGES: usize = 2_000;
    let maildir = Maildir::new();
    let runtime = runtime();
    thread::scope(|scope| {
        let delivery = scope.spawn(|| {
            for message in 0..MESSAGES {
                maildir.deliver(&format!("{message}.m"), b"x\n");
                // Sometimes long enough for a login to find it unchanged.
                if message % 100 == 0 {
                    thread::park_timeout(Duration::from_millis(12));
                }
            }
        });
        while !delivery.is_finished() {
            let before = present(&maildir).len();
            let count = runtime.block_on(async { maildir.open().await.count() });
            assert!(count as usize >= before, "{count} listed, {before} delivered before");
        }
    });
    let count = runtime.block_on(async { maildir.open().await.count() });
    assert_eq!(count as usize, MESSAGES);
}

#[tokio::test]
async fn a_clock_that_is_set_back_is_not_believed() {
    const CLOCK: usize = 6;
    let maildir = Maildir::with(&[("new/1.a", b"one\n")]);
    drop(open_at_rest(&maildir).await);
    // As if the index had been written an hour from now.
    forge(&maildir, CLOCK, |clock| clock + 3_600_000_000_000);
    assert!(maildir.open().await.stats().passes > 0, "believed");
    // That login has corrected the index.
    drop(open_at_rest(&maildir).await);
}

/// Backups restore the time stamps of directories, and any program can set them.
#[tokio::test]
async fn time_stamps_that_were_set_are_not_believed() {
    let maildir = Maildir::with(&[("new/1.a", b"one\n")]);
    drop(open_at_rest(&maildir).await);
    for (number, name) in ["2.b", "3.c"].into_iter().enumerate() {
        let folder = File::open(maildir.path("new")).unwrap();
        let before = folder.metadata().unwrap().modified().unwrap();
        maildir.deliver(name, b"more\n");
        folder.set_modified(before).unwrap();
        let maildrop = maildir.open().await;
        assert_eq!(maildrop.count() as usize, number + 2);
        drop(maildrop);
        drop(open_at_rest(&maildir).await);
    }
}

/// A Maildir that replaces another, with the index of an earlier time.
#[tokio::test]
async fn a_restored_maildir_is_read() {
    let maildir = Maildir::with(&[("new/1.a", b"one\n"), ("cur/2.b:2,S", b"two\n")]);
    drop(open_at_rest(&maildir).await);
    let index = fs::read(maildir.path("restante.index")).unwrap();
    let restored = |folder: &str, files: &[(&str, &[u8])]| {
        let modified = fs::metadata(maildir.path(folder)).unwrap().modified().unwrap();
        fs::rename(maildir.path(folder), maildir.path(format!("{folder}.old"))).unwrap();
        fs::create_dir(maildir.path(folder)).unwrap();
        for (name, contents) in files {
            maildir.put(name, contents);
        }
        File::open(maildir.path(folder)).unwrap().set_modified(modified).unwrap();
    };
    restored("new", &[("new/1.a", b"one\n"), ("new/3.c", b"three\n")]);
    maildir.put("restante.index", &index);
    assert_eq!(unique_ids(&maildir.open().await), ["1.a", "2.b", "3.c"]);
    restored("cur", &[]);
    maildir.put("restante.index", &index);
    assert_eq!(unique_ids(&maildir.open().await), ["1.a", "3.c"]);
}

#[tokio::test]
async fn an_index_of_another_maildir_is_not_believed() {
    let maildir = Maildir::with(&[("new/1.a", b"one\n")]);
    let other = Maildir::with(&[("new/8.x", b"a stranger's\n"), ("new/9.y", b"\n")]);
    for maildir in [&maildir, &other] {
        drop(open_at_rest(maildir).await);
    }
    fs::copy(other.path("restante.index"), maildir.path("restante.index")).unwrap();
    let maildrop = maildir.open().await;
    assert_eq!(listing(&maildrop), [("1.a".to_owned(), 5)]);
    assert!(maildrop.stats().passes > 0);
}

/// An index that cannot be replaced only becomes outdated.
#[tokio::test]
async fn an_index_that_cannot_be_written_any_more_is_not_believed() {
    let maildir = Maildir::with(&[("new/1.a", b"one\n")]);
    drop(open_at_rest(&maildir).await);
    fs::create_dir(maildir.path("restante.index.new")).unwrap();
    maildir.deliver("2.b", b"two\n");
    for _ in 0..2 {
        assert_eq!(unique_ids(&maildir.open().await), ["1.a", "2.b"]);
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    maildir.remove("new/1.a");
    assert_eq!(unique_ids(&maildir.open().await), ["2.b"]);
}

/// Without a lock file there is no clock to compare the stamps with.
#[tokio::test]
async fn without_a_clock_the_folders_are_read() {
    let maildir = Maildir::with(&[("new/1.a", b"one\n")]);
    fs::create_dir(maildir.path("restante.lock")).unwrap();
    for _ in 0..3 {
        let maildrop = maildir.open().await;
        assert_eq!(unique_ids(&maildrop), ["1.a"]);
        assert!(maildrop.stats().passes > 1);
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
}

/// Polling causes no writes.
#[tokio::test]
async fn a_login_to_an_unchanged_maildir_writes_no_file() {
    let maildir = Maildir::with(&[("new/1.a", b"one\n")]);
    drop(open_at_rest(&maildir).await);
    let files = ["", "restante.lock", "restante.index", "new", "cur"];
    let changed = || {
        files.map(|name| {
            let metadata = fs::metadata(maildir.path(name)).unwrap();
            (metadata.ino(), metadata.ctime(), metadata.ctime_nsec())
        })
    };
    let before = changed();
    tokio::time::sleep(Duration::from_millis(15)).await;
    let maildrop = maildir.open().await;
    assert_eq!(maildrop.stats().passes, 0);
    maildrop.remove(Vec::new(), None).await.unwrap();
    maildir.come_to_rest();
    assert_eq!(changed(), before);
}

/// What other programs, other servers and sessions do to a Maildir.
#[derive(Clone, Copy, Debug)]
enum Step {
    Deliver,
    /// By any session, of this server or of another one.
    Flag(usize),
    Remove(usize),
    Rest,
    /// A session that removes a message.
    Dele(usize),
    /// A session that reads one.
    Retr(usize),
    ForgetIndex,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Deliver),
        2 => any::<usize>().prop_map(Step::Flag),
        1 => any::<usize>().prop_map(Step::Remove),
        2 => Just(Step::Rest),
        1 => any::<usize>().prop_map(Step::Dele),
        2 => any::<usize>().prop_map(Step::Retr),
        1 => Just(Step::ForgetIndex),
    ]
}

impl Step {
    async fn done(self, maildir: &Maildir, delivered: &mut u32) {
        let file = |pick: usize| {
            let names = ["new", "cur"].iter().flat_map(|folder| {
                let entries = fs::read_dir(maildir.path(folder)).unwrap();
                entries.map(move |entry| {
                    format!("{folder}/{}", entry.unwrap().file_name().into_string().unwrap())
                })
            });
            let mut names = names.collect::<Vec<_>>();
            names.sort();
            (!names.is_empty()).then(|| names.swap_remove(pick % names.len()))
        };
        match self {
            Self::Deliver => {
                *delivered += 1;
                maildir.deliver(&format!("{delivered}.m"), b"x\n");
            }
            Self::Flag(pick) => {
                if let Some(name) = file(pick) {
                    let unique = name.split(['/', ':']).nth(1).unwrap();
                    maildir.rename(&name, &format!("cur/{unique}:2,{}", ["S", "FS"][pick % 2]));
                }
            }
            Self::Remove(pick) => {
                if let Some(name) = file(pick) {
                    maildir.remove(&name);
                }
            }
            Self::Rest => drop(open_at_rest(maildir).await),
            Self::Dele(pick) => {
                let maildrop = maildir.open().await;
                if let Some(at) = u32::try_from(pick).unwrap_or(7).checked_rem(maildrop.count()) {
                    maildrop.remove(vec![Position(at)], None).await.unwrap();
                }
            }
            Self::Retr(pick) => {
                let maildrop = maildir.open().await;
                if let Some(at) = u32::try_from(pick).unwrap_or(7).checked_rem(maildrop.count()) {
                    assert_eq!(read(&maildrop, at).await.unwrap(), b"x\n");
                }
            }
            Self::ForgetIndex => drop(fs::remove_file(maildir.path("restante.index"))),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// After any history, a login lists the present files.
    #[test]
    fn a_listing_is_what_is_there(steps in proptest::collection::vec(step(), 1..24)) {
        let maildir = Maildir::new();
        let mut delivered = 0;
        runtime().block_on(async {
            for step in steps {
                step.done(&maildir, &mut delivered).await;
                let maildrop = maildir.open().await;
                assert_eq!(listed(&maildrop), present(&maildir), "after {step:?}");
            }
        });
    }
}
