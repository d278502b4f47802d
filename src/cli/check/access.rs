//! Whether a user can access a file: for the current user by asking the system, for another one by
//! owners and permission bits.
//!
//! Access control lists are not read. For another user, files and directories with one are assumed to
//! be accessible.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{getegid, geteuid};
use rustix::fs::{Access, AtFlags, CWD, StatVfsMountFlags, accessat, statvfs};
use rustix::io::Errno;

use crate::config::RunAs;
use crate::mailbox::maildir::{examine_for, untrusted_link};
use crate::server::account::{self, Account, AccountError};

/// The user that the server runs as.
#[derive(Debug)]
pub(super) struct ServerUser {
    account: Account,
    /// Whether this process runs as this user. Then the system knows more than permission bits.
    is_current: bool,
}

impl ServerUser {
    /// Looks up the user and group of `run-as`.
    pub(super) fn look_up(run_as: &RunAs) -> Result<Self, AccountError> {
        let account = Account::of(run_as)?;
        let is_current = account.uid == geteuid() && !account.uid.is_root();
        Ok(Self { account, is_current })
    }

    /// The current user. `None` for root, who can access every file.
    pub(super) fn current() -> Option<Self> {
        let (name, uid, gid) = (account::current_user(), geteuid(), getegid());
        let account = Account { name, uid, gid, groups: Vec::new() };
        (!uid.is_root()).then_some(Self { account, is_current: true })
    }

    /// Adds the user to these groups. Unknown groups are ignored.
    pub(super) fn with_groups(mut self, names: &[String]) -> Self {
        self.account.groups.extend(names.iter().filter_map(|name| account::gid_of(name)));
        self
    }

    /// Why this user cannot read a file or enter a directory, and what to do about it.
    ///
    /// `None` also for a file that does not exist or that the current user cannot see.
    pub(super) fn obstacle(&self, path: &Path) -> Option<String> {
        let metadata = fs::metadata(path).ok()?;
        let target = fs::canonicalize(path).ok()?;
        // The target of a symbolic link has other directories above it.
        let above = path.ancestors().skip(1).chain(target.ancestors().skip(1));
        let mut closed = above.filter(|above| above.is_dir() && !self.may(above, ENTER));
        if let Some(closed) = closed.next() {
            return Some(format!(
                "{} cannot enter {}, a directory above {}: {}",
                self.account.name,
                closed.display(),
                path.display(),
                remedy(closed)
            ));
        }
        let (want, word) = if metadata.is_dir() { (ENTER, "enter") } else { (READ, "read") };
        (!self.may(path, want)).then(|| {
            let name = &self.account.name;
            format!("{name} cannot {word} {}: {}", path.display(), remedy(path))
        })
    }

    /// Why this user cannot read a Maildir and remove mail from it, and what to do about it.
    ///
    /// `None` also for a Maildir that does not exist or that the current user cannot see.
    pub(super) fn obstacle_to_mail(&self, maildir: &Path) -> Option<String> {
        let folders = || ["cur", "new"].map(|name| maildir.join(name)).into_iter();
        let closed = |folder: &PathBuf| folder.is_dir() && !self.may(folder, READ | WRITE | ENTER);
        let refused = || {
            let failure = examine_for(maildir, self.account.uid.as_raw()).err()?;
            let seen = failure.source().kind() != io::ErrorKind::PermissionDenied;
            (seen && maildir.exists())
                .then(|| format!("{failure}; a Maildir has the directories cur, new and tmp"))
        };
        self.link_to(maildir).or_else(|| self.obstacle(maildir)).or_else(refused).or_else(|| {
            let folder = folders().find(closed)?;
            let name = &self.account.name;
            Some(format!("{name} cannot read and write {}: change its owner", folder.display()))
        })
    }

    /// The symbolic link for which a server that runs as this user refuses a directory of mail, and
    /// what to do about it.
    pub(super) fn link_to(&self, directory: &Path) -> Option<String> {
        untrusted_link(directory, self.account.uid.as_raw())
    }

    /// Whether this user has these rights to a file. `true` also if that is unknown.
    fn may(&self, path: &Path, wanted: u32) -> bool {
        if self.is_current {
            let access = Access::from_bits_truncate(wanted);
            let refused = accessat(CWD, path, access, AtFlags::EACCESS).err();
            return refused != Some(Errno::ACCESS);
        }
        let Ok(metadata) = fs::metadata(path) else { return true };
        let Account { uid, groups, .. } = &self.account;
        // The bits of the first class that the user belongs to apply.
        let shift = if metadata.uid() == uid.as_raw() {
            6
        } else if groups.iter().any(|gid| gid.as_raw() == metadata.gid()) {
            3
        } else {
            0
        };
        uid.is_root() || metadata.mode() >> shift & wanted == wanted || has_access_list(path)
    }
}

/// How to make a file or directory accessible.
fn remedy(closed: &Path) -> String {
    if is_hidden_by_unit(closed) {
        format!(
            "the unit hides it, by ProtectHome= or InaccessiblePaths=; if mail is in {}, write \
             ProtectHome=read-only and ReadWritePaths={0} (systemctl edit restante)",
            closed.display()
        )
    } else {
        "change its mode or group".to_owned()
    }
}

/// Whether the service manager has mounted an inaccessible directory over it (systemd.exec(5)).
fn is_hidden_by_unit(directory: &Path) -> bool {
    let is_inaccessible = fs::metadata(directory).is_ok_and(|stat| stat.mode() & 0o777 == 0);
    let mounts = || fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    is_inaccessible && is_mount_point(&mounts(), directory)
}

/// Whether a directory is a mount point. `mounts` is as in `proc_pid_mountinfo(5)`, whose fifth field
/// is the mount point.
fn is_mount_point(mounts: &str, directory: &Path) -> bool {
    let place = |line: &str| line.split(' ').nth(4).is_some_and(|it| Path::new(it) == directory);
    mounts.lines().any(place)
}

/// Whether the file system of a directory is mounted read-only, as this process sees it.
pub(super) fn is_read_only(directory: &Path) -> bool {
    statvfs(directory).is_ok_and(|stat| stat.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// Whether a file has an access control list.
fn has_access_list(path: &Path) -> bool {
    let list = rustix::fs::getxattr(path, "system.posix_acl_access", &mut [0_u8; 1024]);
    // RANGE: there is a list that does not fit into the buffer.
    list.map_or_else(|error| error == Errno::RANGE, |octets| octets > 0)
}

const READ: u32 = 4;
const WRITE: u32 = 2;
const ENTER: u32 = 1;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use nix::unistd::{Gid, Uid};

    use super::*;

    /// A user that does not own the files of the tests; optionally in the group of a file.
    fn server_user(group_of: Option<&Path>) -> ServerUser {
        let gid = |path| Gid::from_raw(fs::metadata(path).unwrap().gid());
        let account = Account {
            name: "vmail".to_owned(),
            uid: Uid::from_raw(u32::MAX - 1),
            gid: Gid::from_raw(u32::MAX - 1),
            groups: group_of.map(gid).into_iter().collect(),
        };
        ServerUser { account, is_current: false }
    }

    /// The obstacle for `path`, unless it is a directory above `dir`, which the test does not control.
    fn obstacle(user: &ServerUser, path: &Path, dir: &Path) -> Option<String> {
        let above = |found: &String| {
            let closed = |above: &Path| found.contains(&format!(" enter {},", above.display()));
            dir.ancestors().skip(1).any(closed)
        };
        user.obstacle(path).filter(|found| !above(found))
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn permission_bits_decide() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("privkey.pem");
        fs::write(&file, "").unwrap();
        for (dir_mode, file_mode, stranger, member) in [
            (0o755, 0o644, None, None),
            (0o755, 0o640, Some("cannot read"), None),
            (0o755, 0o600, Some("cannot read"), Some("cannot read")),
            (0o750, 0o644, Some("cannot enter"), None),
            (0o700, 0o644, Some("cannot enter"), Some("cannot enter")),
            (0o705, 0o604, None, Some("cannot enter")),
        ] {
            set_mode(dir.path(), dir_mode);
            set_mode(&file, file_mode);
            let users = [(server_user(None), stranger), (server_user(Some(&file)), member)];
            for (user, expected) in users {
                let found = obstacle(&user, &file, dir.path());
                let fits = match (&found, expected) {
                    (Some(found), Some(words)) => found.contains(words),
                    (None, None) => true,
                    (Some(_), None) | (None, Some(_)) => false,
                };
                assert!(fits, "{dir_mode:o} {file_mode:o}: {found:?}, not {expected:?}");
            }
        }
    }

    #[test]
    fn a_link_is_followed_through_closed_directories() {
        let dir = tempfile::tempdir().unwrap();
        set_mode(dir.path(), 0o755);
        let archive = dir.path().join("archive");
        fs::create_dir(&archive).unwrap();
        fs::write(archive.join("key"), "").unwrap();
        set_mode(&archive.join("key"), 0o644);
        symlink(archive.join("key"), dir.path().join("key")).unwrap();
        set_mode(&archive, 0o755);
        assert_eq!(obstacle(&server_user(None), &dir.path().join("key"), dir.path()), None);
        set_mode(&archive, 0o700);
        let found = obstacle(&server_user(None), &dir.path().join("key"), dir.path()).unwrap();
        assert!(found.contains("archive, a directory above"), "{found}");
    }

    #[test]
    fn a_directory_hidden_by_the_unit_has_another_remedy() {
        let mounts = "1040 1022 0:25 /systemd/inaccessible/dir /home ro,nosuid shared:1 - tmpfs tmpfs rw\n\
                      1041 1022 8:1 /root /srv/mail rw - ext4 /dev/sda1 rw\n";
        assert!(is_mount_point(mounts, Path::new("/home")));
        assert!(is_mount_point(mounts, Path::new("/srv/mail")));
        assert!(!is_mount_point(mounts, Path::new("/root")));
        // A directory that is only closed by its mode.
        let dir = tempfile::tempdir().unwrap();
        set_mode(dir.path(), 0);
        assert!(remedy(dir.path()).starts_with("change its mode"));
        set_mode(dir.path(), 0o700);
    }

    #[test]
    fn only_a_read_only_mount_is_read_only() {
        assert!(!is_read_only(tempfile::tempdir().unwrap().path()));
        assert!(!is_read_only(Path::new("/no/such/directory")));
    }
}
