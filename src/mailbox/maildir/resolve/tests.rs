//! Tests of `resolve`.

use std::fs;
use std::os::unix::fs::{MetadataExt, lchown, symlink};

use super::*;

/// A server whose user owns no file here.
const SERVER: u32 = 4_000_000_000;

fn open(path: &Path) -> io::Result<OwnedFd> {
    open_directory_for(SERVER, path, OFlags::RDONLY, Wait::IfNeedBe)
}

fn inode(directory: &OwnedFd) -> u64 {
    fstat(directory).unwrap().st_ino
}

/// Files of two users: the one that runs the tests and root; root makes a second user.
struct Users {
    dir: tempfile::TempDir,
    /// A directory of another user than the owner of the links.
    theirs: PathBuf,
}

impl Users {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let theirs = dir.path().join("theirs");
        fs::create_dir(&theirs).unwrap();
        let theirs = if lchown(&theirs, Some(4712), None).is_ok() { theirs } else { "/usr".into() };
        Self { dir, theirs }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A directory of the user of the tests.
    fn directory(&self, name: &str) -> PathBuf {
        fs::create_dir(self.path(name)).unwrap();
        self.belongs_to_us(name)
    }

    /// A symbolic link of the user of the tests.
    fn link(&self, to: impl AsRef<Path>, name: &str) -> PathBuf {
        symlink(to, self.path(name)).unwrap();
        self.belongs_to_us(name)
    }

    fn belongs_to_us(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        // Links of root are always followed.
        if fs::symlink_metadata(&path).unwrap().uid() == ROOT {
            lchown(&path, Some(4711), None).unwrap();
        }
        path
    }
}

#[test]
fn links_of_root_the_server_and_the_owner_of_the_target_are_trusted() {
    for (owner, owner_of_target, server, expected) in [
        (1001, 1001, 999, true),
        (1001, 1002, 999, false),
        (1001, 0, 999, false),
        (1001, 999, 999, false),
        (0, 1002, 999, true),
        (999, 1002, 999, true),
        (OVERFLOW_USER, OVERFLOW_USER, 999, false),
        (OVERFLOW_USER, OVERFLOW_USER, OVERFLOW_USER, true),
    ] {
        let found = is_link_trusted(owner, owner_of_target, server);
        assert_eq!(found, expected, "{owner} {owner_of_target} {server}");
    }
}

#[test]
fn a_link_to_what_belongs_to_another_user_is_not_followed() {
    let users = Users::new();
    users.link(&users.theirs, "Maildir");
    users.link(users.path("Maildir"), "twice");
    users.directory("home");
    users.link("../Maildir", "home/relative");
    users.link(users.theirs.parent().unwrap(), "above");
    let name = users.theirs.file_name().unwrap().to_str().unwrap();
    for path in ["Maildir", "twice", "home/relative", "home/../Maildir/.", "./Maildir/"] {
        let path = users.path(path);
        let refused = open(&path).unwrap_err().to_string();
        let link = format!("{} is not followed", users.path("Maildir").display());
        assert!(refused.contains(&link) && refused.contains("chown -h"), "{refused}");
        assert_eq!(untrusted_link(&path, SERVER), Some(refused));
        let owner = fs::symlink_metadata(users.path("Maildir")).unwrap().uid();
        open_directory_for(owner, &path, OFlags::RDONLY, Wait::IfNeedBe).unwrap();
    }
    // The target of the link counts, not the end of the path.
    let above = fs::metadata(users.path("above")).unwrap().uid();
    let ours = fs::symlink_metadata(users.path("above")).unwrap().uid();
    assert_eq!(open(&users.path("above").join(name)).is_ok(), above == ours);
}

#[test]
fn a_link_to_what_belongs_to_its_owner_is_followed() {
    let users = Users::new();
    let mail = users.directory("mail");
    users.directory("mail/Maildir");
    users.link(&mail, "absolute");
    users.link("mail", "relative");
    users.link("absolute/../relative/./Maildir", "both");
    let expected = fs::metadata(users.path("mail/Maildir")).unwrap().ino();
    for path in ["mail/Maildir", "absolute/Maildir", "relative/Maildir", "both", "both/"] {
        assert_eq!(inode(&open(&users.path(path)).unwrap()), expected, "{path}");
    }
}

#[test]
fn other_errors_are_those_of_the_system() {
    let users = Users::new();
    fs::write(users.path("file"), "").unwrap();
    users.link(users.path("missing"), "dangling");
    users.link("circle", "circle");
    users.link("file", "to-file");
    for (path, expected) in [
        ("missing", Errno::NOENT),
        ("dangling", Errno::NOENT),
        ("file", Errno::NOTDIR),
        ("to-file", Errno::NOTDIR),
        ("file/cur", Errno::NOTDIR),
        ("circle", Errno::LOOP),
    ] {
        let error = open(&users.path(path)).unwrap_err();
        assert_eq!(error.kind(), io::Error::from(expected).kind(), "{path}: {error}");
        assert_eq!(untrusted_link(&users.path(path), SERVER), None, "{path}");
    }
    assert!(open(Path::new("")).is_ok() && open(Path::new("/")).is_ok());
}

/// In a race between two users, the directory that was checked is the one that is opened.
#[test]
fn a_link_that_comes_and_goes_leads_nowhere_else() {
    let users = Users::new();
    let ours = users.directory("ours");
    users.link(&ours, "good");
    users.link(&users.theirs, "bad");
    let path = users.link(&ours, "Maildir");
    let expected = fs::metadata(&ours).unwrap().ino();
    let (mut opened, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            for _ in 0..2000 {
                match open(&path) {
                    Ok(directory) => {
                        assert_eq!(inode(&directory), expected);
                        opened += 1;
                    }
                    Err(_) => refused += 1,
                }
            }
        });
        while !looking.is_finished() {
            for link in ["bad", "good"] {
                fs::hard_link(users.path(link), users.path("next")).unwrap();
                fs::rename(users.path("next"), &path).unwrap();
                // A rename has no effect when both names are those of one file.
                fs::remove_file(users.path("next")).ok();
            }
        }
    });
    assert_eq!(opened + refused, 2000);
}
