//! The file in a Maildir: made, appended to, rewritten, and refused.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::Path;
use std::thread;

use rustix::fs::{CWD, Mode};
use rustix::process::Uid;
use rustix::thread::set_thread_res_uid;

use super::super::super::lock::{Root, TryLock};
use super::super::super::own_file::OWN_USER;
use super::super::reconcile::Assigned;
use super::*;

struct Maildir(tempfile::TempDir);

impl Maildir {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn root(&self) -> Root {
        root(self.0.path())
    }

    fn login(&self, present: &[Given<'_>]) -> Assigned {
        login(&self.root(), present).unwrap()
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path(STATE_FILE)).unwrap()
    }

    fn inode(&self) -> u64 {
        fs::metadata(self.path(STATE_FILE)).unwrap().ino()
    }
}

pub(super) fn root(path: &Path) -> Root {
    // A process that another test has just started may have the lock for a moment.
    for _ in 0..1000 {
        if let TryLock::Locked(root) = Root::try_lock(path).unwrap() {
            return root;
        }
        thread::park_timeout(Duration::from_millis(10));
    }
    panic!("in use");
}

pub(super) fn login(root: &Root, present: &[Given<'_>]) -> Result<Assigned, Error> {
    let state = State::read(root, "map", None)?;
    let reconciled = reconcile(&state, present, day(0));
    reconciled.save(state, root)
}

/// The listing of a login in which nothing failed.
fn whole(assigned: &Assigned) -> Vec<(usize, String)> {
    assert!(assigned.error.is_none(), "{:?}", assigned.error);
    listing(assigned)
}

pub(super) fn listing(assigned: &Assigned) -> Vec<(usize, String)> {
    assigned.listing().map(|(given, id)| (given, text(id))).collect()
}

fn row(given: usize, id: &str) -> (usize, String) {
    (given, id.to_owned())
}

#[test]
fn the_file_is_made_and_appended_to_and_then_replaced() {
    let maildir = Maildir::new();
    assert_eq!(whole(&maildir.login(&[])), []);
    assert!(!maildir.path(STATE_FILE).exists(), "there is nothing to remember");
    let first = maildir.login(&[("1.a", &["A"]), ("2.b", &["B"])]);
    assert_eq!(whole(&first), [row(0, "A"), row(1, "B")]);
    let metadata = fs::metadata(maildir.path(STATE_FILE)).unwrap();
    assert_eq!((metadata.mode() & 0o777, metadata.nlink()), (0o600, 1));
    let (inode, text) = (maildir.inode(), maildir.text());
    let second = maildir.login(&[("0.n", &["N"]), ("2.b", &["X"])]);
    assert_eq!(whole(&second), [row(1, "B"), row(0, "N")]);
    assert_eq!(maildir.inode(), inode);
    assert!(maildir.text().starts_with(&text));
    assert!(State::read(&maildir.root(), "", first.mark()).unwrap().continues_last());
    assert_eq!(second.mark(), Some(State::read(&maildir.root(), "", None).unwrap().mark()));
    for number in 0..10 {
        let name = format!("3.{number}");
        let both = maildir.login(&[("2.b", &[]), (&name, &[])]);
        assert_eq!(whole(&both)[0], row(0, "B"));
        assert_eq!(both.mark(), Some(State::read(&maildir.root(), "", None).unwrap().mark()));
    }
    assert_ne!(maildir.inode(), inode);
    assert!(maildir.text().starts_with("restante uids 1 2 map\n"), "{}", maildir.text());
    assert!(!maildir.path("restante.uids.new").exists());
}

#[test]
fn a_file_of_another_owner_or_kind_is_refused() {
    type Obstacle = fn(&Path) -> bool;
    let obstacles: [Obstacle; 4] = [
        |path| fs::create_dir(path).is_ok(),
        |path| symlink("elsewhere", path).is_ok(),
        |path| rustix::fs::mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR).is_ok(),
        // Only the superuser can give a file away.
        |path| fs::write(path, "").is_ok() && chown(path, Some(*OWN_USER + 1), None).is_ok(),
    ];
    for obstacle in obstacles {
        let maildir = Maildir::new();
        if obstacle(&maildir.path(STATE_FILE)) {
            let error = login(&maildir.root(), &[("1.a", &["A"])]).unwrap_err();
            assert!(matches!(error, Error::Open(_)), "{error}");
            assert!(error.to_string().starts_with("cannot open restante.uids: "), "{error}");
        }
    }
}

/// A file system may give all files to one user. After a start of the server, it is unknown to whom.
#[test]
fn the_owner_that_the_file_system_gives_is_found_out() {
    let maildir = Maildir::new();
    let _owners = own_file::TESTING.lock().unwrap();
    let other = Uid::from_raw(*OWN_USER + 3);
    // Only the superuser can make files of other users.
    if chown(maildir.path(""), Some(other.as_raw()), None).is_err() {
        return;
    }
    let path = maildir.path("");
    let logins = thread::spawn(move || {
        set_thread_res_uid(None, Some(other), None).unwrap();
        for ids in [["A"], ["B"]] {
            own_file::forget_owners();
            assert_eq!(whole(&login(&root(&path), &[("1.a", &ids)]).unwrap()), [row(0, "A")]);
        }
    });
    logins.join().unwrap();
    assert_eq!(fs::metadata(maildir.path(STATE_FILE)).unwrap().uid(), other.as_raw());
    assert!(!maildir.path("restante.uids.new").exists());
    own_file::forget_owners();
}

#[test]
fn what_cannot_be_written_is_not_shown() {
    let maildir = Maildir::new();
    let obstacle = maildir.path("restante.uids.new");
    fs::create_dir(&obstacle).unwrap();
    let present: [Given<'_>; 2] = [("1.a", &["A"]), ("2.b", &["B"])];
    let error = login(&maildir.root(), &present[..1]).unwrap_err();
    assert!(matches!(error, Error::Write(_)), "{error}");
    assert!(!maildir.path(STATE_FILE).exists());
    fs::remove_dir(&obstacle).unwrap();
    assert_eq!(whole(&maildir.login(&present[..1])), [row(0, "A")]);
    // Another program replaces the file between the two steps of a login.
    let (root, text) = (maildir.root(), maildir.text());
    let state = State::read(&root, "", None).unwrap();
    let reconciled = reconcile(&state, &present, day(0));
    fs::write(maildir.path("other"), &text).unwrap();
    fs::rename(maildir.path("other"), maildir.path(STATE_FILE)).unwrap();
    let known = reconciled.save(state, &root).unwrap();
    assert_eq!(listing(&known), [row(0, "A")]);
    assert!(matches!(known.error, Some(Error::Changed)));
    drop(root);
    assert_eq!(maildir.text(), text);
    assert_eq!(whole(&maildir.login(&present)), [row(0, "A"), row(1, "B")]);
}

/// A disk may be too full for a second file, but not for a batch.
#[test]
fn a_file_that_cannot_be_rewritten_is_appended_to() {
    let maildir = Maildir::new();
    maildir.login(&[("1.a", &["A"])]);
    fs::create_dir(maildir.path("restante.uids.new")).unwrap();
    let inode = maildir.inode();
    for number in 0..12 {
        let name = format!("3.{number}");
        assert_eq!(whole(&maildir.login(&[("1.a", &[]), (&name, &[])]))[0], row(0, "A"));
    }
    assert_eq!(maildir.inode(), inode);
    fs::remove_dir(maildir.path("restante.uids.new")).unwrap();
    maildir.login(&[("1.a", &[])]);
    assert_ne!(maildir.inode(), inode);
}

#[test]
fn half_a_batch_is_cut_off() {
    let maildir = Maildir::new();
    maildir.login(&[("1.a", &["A"])]);
    let text = maildir.text();
    for rest in ["+ B 2.b", "+ B 2.b\n", "+ B 2.b\n= 1 00000000\n", "\0\0\0\0", "\n\n"] {
        fs::write(maildir.path(STATE_FILE), format!("{text}{rest}")).unwrap();
        let listed = maildir.login(&[("1.a", &[]), ("3.c", &["C"])]);
        assert_eq!(whole(&listed), [row(0, "A"), row(1, "C")], "{rest:?}");
        assert!(maildir.text().starts_with(&format!("{text}+ C 3.c\n= 1 ")), "{rest:?}");
    }
}

/// Say in a backup that is made of links.
#[test]
fn a_file_with_another_name_is_not_written_to() {
    let maildir = Maildir::new();
    maildir.login(&[("1.a", &["A"])]);
    let backup = maildir.path("backup");
    fs::hard_link(maildir.path(STATE_FILE), &backup).unwrap();
    let text = maildir.text();
    let listed = maildir.login(&[("1.a", &[]), ("2.b", &["B"])]);
    assert_eq!(whole(&listed), [row(0, "A"), row(1, "B")]);
    assert_eq!(fs::read_to_string(&backup).unwrap(), text);
    // The backup is sound, and older.
    fs::rename(&backup, maildir.path(STATE_FILE)).unwrap();
    assert!(!State::read(&maildir.root(), "", listed.mark()).unwrap().continues_last());
    let listed = maildir.login(&[("1.a", &["X"]), ("2.b", &["A", "B"])]);
    assert_eq!(whole(&listed), [row(0, "A"), row(1, "B")]);
}

#[test]
fn a_file_from_another_maildir_gives_no_unique_id() {
    let (maildir, other) = (Maildir::new(), Maildir::new());
    other.login(&[("1.a", &["A"]), ("2.b", &["B"])]);
    fs::copy(other.path(STATE_FILE), maildir.path(STATE_FILE)).unwrap();
    let root = maildir.root();
    let state = State::read(&root, "", None).unwrap();
    let reconciled = reconcile(&state, &[("3.c", &["A", "C"]), ("4.d", &["D"])], day(0));
    let counts = [reconciled.known.len(), reconciled.added.len(), reconciled.removed.len()];
    assert_eq!(counts, [0, 2, 2]);
    assert_eq!(whole(&reconciled.save(state, &root).unwrap()), [row(0, "C"), row(1, "D")]);
}

#[test]
fn a_file_that_is_far_too_big_is_not_read() {
    let maildir = Maildir::new();
    fs::File::create(maildir.path(STATE_FILE)).unwrap().set_len(1 << 40).unwrap();
    let error = login(&maildir.root(), &[]).unwrap_err();
    assert!(matches!(error, Error::TooLarge), "{error}");
}
