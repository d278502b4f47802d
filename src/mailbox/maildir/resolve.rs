//! Opening a Maildir by its path, following only symbolic links that are trusted.
//!
//! A user who owns the directory above his Maildir can put a symbolic link to another user's in its
//! place, and the server can read both. So a link is followed only if it belongs to root, to the
//! user that the server runs as, or to the owner of what it leads to: the rule of
//! `fs.protected_symlinks` and of Apache's `SymLinksIfOwnerMatch`.
//!
//! - A path without links is opened in one call, in which the kernel follows none. The others are
//!   walked one name at a time, each in the open directory before it: what is checked is what is
//!   opened, even if names change meanwhile.
//! - The target of a link is walked in the same way. A link to a link is judged by its final
//!   target.

use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Statx, StatxFlags};
use rustix::io::Errno;

use super::system::{fstat, fstatvfs, geteuid, openat2, readlinkat, statx};
use super::wait::{Wait, open_at};
use crate::threads;

/// Opens a directory by its path for this process.
///
/// # Errors
/// Those of open(2), and [`UntrustedLink`]. With [`Wait::Never`] also those of [`open_at`].
pub(super) fn open_directory(path: &Path, flags: OFlags, wait: Wait) -> io::Result<OwnedFd> {
    open_directory_for(geteuid().as_raw(), path, flags, wait)
}

/// Opens a directory by its path for a server that runs as the user `server`.
///
/// # Errors
/// Those of [`open_directory`].
pub(super) fn open_directory_for(
    server: u32,
    path: &Path,
    flags: OFlags,
    wait: Wait,
) -> io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let flags = flags | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | wait.resolve_flags();
    match openat2(CWD, path, flags, Mode::empty(), resolve) {
        // There is a link on the way. Or this kernel, or a sandbox, has no such call.
        Err(Errno::LOOP | Errno::NOSYS | Errno::PERM) => {
            let mut walk = Walk { server, wait, at: PathBuf::new(), links: 0 };
            let directory = walk.along(CWD, path)?;
            Ok(open_at(&directory, ".", flags, wait)?)
        }
        result => Ok(result?),
    }
}

/// The error that names the symbolic link which a server that runs as the user `server` does not
/// follow to a directory; `None` if there is no such link.
pub fn untrusted_link(path: &Path, server: u32) -> Option<String> {
    let error = open_directory_for(server, path, OFlags::PATH, Wait::IfNeedBe).err()?;
    Some(error.get_ref()?.downcast_ref::<UntrustedLink>()?.to_string())
}

/// A symbolic link that is not followed, because its owner may have no access to its target.
#[derive(Debug)]
struct UntrustedLink {
    link: PathBuf,
    owner: u32,
    owner_of_target: u32,
}

impl fmt::Display for UntrustedLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { link, owner, owner_of_target } = self;
        write!(
            f,
            "the symbolic link {} is not followed: it belongs to the user {owner}, and what it \
             leads to belongs to the user {owner_of_target}; if that is right, make the link \
             root's (chown -h root), or mount the directory in its place (mount --bind)",
            shown(link)
        )
    }
}

impl Error for UntrustedLink {}

/// A walk along a path.
struct Walk {
    server: u32,
    wait: Wait,
    /// The path so far, for errors.
    at: PathBuf,
    /// How many links have been followed.
    links: u32,
}

impl Walk {
    /// Walks along a path from a directory.
    fn along(&mut self, from: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
        let mut directory = if path.has_root() {
            self.at = PathBuf::from("/");
            open_at(CWD, "/", TO_PASS, self.wait)?
        } else {
            open_at(from, ".", TO_PASS, self.wait)?
        };
        for component in path.components() {
            directory = match component {
                Component::Prefix(_) | Component::RootDir | Component::CurDir => continue,
                Component::ParentDir => {
                    self.up();
                    open_at(&directory, "..", TO_PASS, self.wait).map_err(|e| self.failed(e))?
                }
                Component::Normal(name) => self.step(&directory, name)?,
            };
        }
        Ok(directory)
    }

    fn step(&mut self, directory: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
        self.at.push(name);
        match open_at(directory, name, TO_PASS | OFlags::NOFOLLOW, self.wait) {
            // The error for a symbolic link, too.
            Err(Errno::NOTDIR) => {
                let link = open_at(directory, name, TO_LOOK_AT, self.wait);
                let link = link.map_err(|error| self.failed(error))?;
                let wanted = StatxFlags::TYPE | StatxFlags::UID | StatxFlags::MNT_ID;
                let stat = statx(&link, "", self.wait.statx_flags(), wanted)
                    .map_err(|error| self.failed(error))?;
                if FileType::from_raw_mode(stat.stx_mode.into()) != FileType::Symlink {
                    return Err(self.failed(Errno::NOTDIR));
                }
                self.follow(directory, &link, &stat)
            }
            result => result.map_err(|error| self.failed(error)),
        }
    }

    /// Follows a link in `directory`, if it is trusted.
    fn follow(&mut self, directory: &OwnedFd, link: &OwnedFd, stat: &Statx) -> io::Result<OwnedFd> {
        self.may_read(link, stat).map_err(|error| self.failed(error))?;
        let text = readlinkat(link, "", Vec::new()).map_err(|error| self.failed(error))?;
        let path = self.at.clone();
        self.at.pop();
        let target =
            self.along(directory, &PathBuf::from(OsString::from_vec(text.into_bytes())))?;
        let owner_of_target = fstat(&target).map_err(|error| self.failed(error))?.st_uid;
        if is_link_trusted(stat.stx_uid, owner_of_target, self.server) {
            return Ok(target);
        }
        let refused = UntrustedLink { link: path, owner: stat.stx_uid, owner_of_target };
        Err(io::Error::other(refused))
    }

    /// Checks whether a link can be read without waiting for more than is allowed.
    fn may_read(&mut self, link: &OwnedFd, stat: &Statx) -> Result<(), Errno> {
        self.links += 1;
        let is_forbidden = || Ok(fstatvfs(link)?.f_flag.bits() & NO_SYMLINKS_HERE != 0);
        if self.links > MOST_LINKS || is_forbidden()? {
            return Err(Errno::LOOP);
        }
        // Reading a link asks a file system that is not local.
        if self.wait == Wait::Never && !threads::is_local(stat) {
            return Err(Errno::AGAIN);
        }
        Ok(())
    }

    fn up(&mut self) {
        if self.at.file_name().is_some() {
            self.at.pop();
        } else if !self.at.has_root() {
            self.at.push("..");
        }
    }

    fn failed(&self, error: Errno) -> io::Error {
        let error = io::Error::from(error);
        io::Error::new(error.kind(), format!("{}: {error}", shown(&self.at)))
    }
}

/// A path that a user may have chosen, escaped for a log line.
fn shown(path: &Path) -> impl fmt::Display {
    path.as_os_str().as_bytes().escape_ascii()
}

/// Whether a server that runs as the user `server` follows a symbolic link: one of `owner`, to a
/// directory of `owner_of_target`.
pub fn is_link_trusted(owner: u32, owner_of_target: u32, server: u32) -> bool {
    let is_match = owner == owner_of_target && owner != OVERFLOW_USER;
    is_match || owner == ROOT || owner == server
}

const ROOT: u32 = 0;

/// The user that stands for all users who are not mapped in a user namespace (`PrivateUsers=` in a
/// unit): two files of this user may belong to different users.
const OVERFLOW_USER: u32 = 65534;

/// The limit of the kernel.
const MOST_LINKS: u32 = 40;

/// `ST_NOSYMFOLLOW`: mounted with `nosymfollow`, see mount(8).
const NO_SYMLINKS_HERE: u64 = 0x2000;

/// Passing through a directory needs no permission to read it. `O_DIRECTORY` triggers automounts.
const TO_PASS: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

const TO_LOOK_AT: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

#[cfg(test)]
mod tests {
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
        /// A directory of another user than that of our links.
        theirs: PathBuf,
    }

    impl Users {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let theirs = dir.path().join("theirs");
            fs::create_dir(&theirs).unwrap();
            let theirs =
                if lchown(&theirs, Some(4712), None).is_ok() { theirs } else { "/usr".into() };
            Self { dir, theirs }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        /// A directory of our own.
        fn directory(&self, name: &str) -> PathBuf {
            fs::create_dir(self.path(name)).unwrap();
            self.belongs_to_us(name)
        }

        /// A symbolic link of our own.
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
        // It is the end of the link that counts, not the end of the path.
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
                    // Nothing happens when both are the same file.
                    fs::remove_file(users.path("next")).ok();
                }
            }
        });
        assert_eq!(opened + refused, 2000);
    }
}
