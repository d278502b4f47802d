//! Whether a user gets at a file: the present one by asking the system, another one going by
//! owners and permission bits.
//!
//! Of another user, access control lists are not read: nothing is said of a file or directory that
//! has one.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group, User, geteuid, getgrouplist};
use rustix::fs::{Access, AtFlags, CWD, StatVfsMountFlags, accessat, statvfs};
use rustix::io::Errno;

use crate::config::RunAs;
use crate::mailbox::maildir::{examine_for, untrusted_link};

/// A user, with all groups.
#[derive(Debug)]
pub(super) struct Account {
    name: String,
    user: u32,
    groups: Vec<u32>,
    /// The system is asked about the present user, and knows of more than permission bits.
    is_present: bool,
}

impl Account {
    /// Finds the user and the group; what is wrong, otherwise.
    pub(super) fn look_up(run_as: &RunAs) -> Result<Self, String> {
        let RunAs { user: name, group } = run_as;
        let user = User::from_name(name).ok().flatten();
        let user = user
            .ok_or_else(|| format!("there is no user {name:?}, create it or write another name"))?;
        let gid = match group {
            None => user.gid,
            Some(group) => {
                let found = Group::from_name(group).ok().flatten();
                found.map(|group| group.gid).ok_or_else(|| {
                    format!("there is no group {group:?}, create it or write another name")
                })?
            }
        };
        let others =
            CString::new(name.as_str()).ok().and_then(|name| getgrouplist(&name, gid).ok());
        let groups = others.unwrap_or_else(|| vec![gid]).into_iter().map(Gid::as_raw).collect();
        let is_present = user.uid == geteuid() && !user.uid.is_root();
        Ok(Self { name: name.clone(), user: user.uid.as_raw(), groups, is_present })
    }

    /// The present user, unless that is root: what root gets at says nothing.
    pub(super) fn present() -> Option<Self> {
        let user = geteuid();
        let known = User::from_uid(user).ok().flatten();
        let name = known.map_or_else(|| user.to_string(), |known| known.name);
        let account = Self { name, user: user.as_raw(), groups: Vec::new(), is_present: true };
        (!user.is_root()).then_some(account)
    }

    /// The same user, in these groups as well; groups that are not known are passed over.
    pub(super) fn with_groups(mut self, names: &[String]) -> Self {
        let known = names.iter().filter_map(|name| Group::from_name(name).ok().flatten());
        self.groups.extend(known.map(|group| group.gid.as_raw()));
        self
    }

    /// What keeps this user from reading a file or entering a directory, and what to do about it.
    ///
    /// Nothing is said of what is not there, or cannot be seen by the present user.
    pub(super) fn obstacle(&self, path: &Path) -> Option<String> {
        let metadata = fs::metadata(path).ok()?;
        let target = fs::canonicalize(path).ok()?;
        // A symbolic link may lead through other directories than its own path.
        let above = path.ancestors().skip(1).chain(target.ancestors().skip(1));
        let mut closed = above.filter(|above| above.is_dir() && !self.may(above, ENTER));
        if let Some(closed) = closed.next() {
            return Some(format!(
                "{} cannot enter {}, which is on the way to {}: {}",
                self.name,
                closed.display(),
                path.display(),
                remedy(closed)
            ));
        }
        let (want, word) = if metadata.is_dir() { (ENTER, "enter") } else { (READ, "read") };
        (!self.may(path, want))
            .then(|| format!("{} cannot {word} {}: {}", self.name, path.display(), remedy(path)))
    }

    /// What keeps this user from reading a Maildir and removing mail from it, and what to do about
    /// it.
    ///
    /// Nothing is said of what is not there, or cannot be seen by the present user.
    pub(super) fn obstacle_to_mail(&self, maildir: &Path) -> Option<String> {
        let folders = || ["cur", "new"].map(|name| maildir.join(name)).into_iter();
        let closed = |folder: &PathBuf| folder.is_dir() && !self.may(folder, READ | WRITE | ENTER);
        let refused = || {
            let failure = examine_for(maildir, self.user).err()?;
            let seen = failure.source().kind() != io::ErrorKind::PermissionDenied;
            (seen && maildir.exists())
                .then(|| format!("{failure}; a Maildir has the directories cur, new and tmp"))
        };
        self.link_to(maildir).or_else(|| self.obstacle(maildir)).or_else(refused).or_else(|| {
            let folder = folders().find(closed)?;
            Some(format!("{} cannot read and write {}: chown it", self.name, folder.display()))
        })
    }

    /// The symbolic link that keeps a server of this user from a directory that mail is in, and what
    /// to do about it.
    pub(super) fn link_to(&self, directory: &Path) -> Option<String> {
        untrusted_link(directory, self.user)
    }

    /// Whether this user has these rights to a file; also when that cannot be told.
    fn may(&self, path: &Path, wanted: u32) -> bool {
        if self.is_present {
            let access = Access::from_bits_truncate(wanted);
            let refused = accessat(CWD, path, access, AtFlags::EACCESS).err();
            return refused != Some(Errno::ACCESS);
        }
        let Ok(metadata) = fs::metadata(path) else { return true };
        // The bits that count are those of the first class that the user is in.
        let shift = if metadata.uid() == self.user {
            6
        } else if self.groups.contains(&metadata.gid()) {
            3
        } else {
            0
        };
        self.user == 0 || metadata.mode() >> shift & wanted == wanted || has_access_list(path)
    }
}

/// What opens a file or directory that is closed.
fn remedy(closed: &Path) -> String {
    if is_hidden_by_unit(closed) {
        format!(
            "the unit hides it, by ProtectHome= or InaccessiblePaths=; where mail is in {}, write \
             ProtectHome=read-only and ReadWritePaths={0} (systemctl edit restante)",
            closed.display()
        )
    } else {
        "chmod or chgrp it".to_owned()
    }
}

/// Whether the service manager has mounted a directory in its place that nobody may enter
/// (systemd.exec(5)).
fn is_hidden_by_unit(directory: &Path) -> bool {
    let is_barred = fs::metadata(directory).is_ok_and(|stat| stat.mode() & 0o777 == 0);
    let mounts = || fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    is_barred && is_mount_point(&mounts(), directory)
}

/// By the text of `proc_pid_mountinfo(5)`, whose fifth field is where something is mounted.
fn is_mount_point(mounts: &str, directory: &Path) -> bool {
    let place = |line: &str| line.split(' ').nth(4).is_some_and(|it| Path::new(it) == directory);
    mounts.lines().any(place)
}

/// Whether nothing can be written where this directory is, whoever asks: the mount, as this process
/// sees it, is read-only.
pub(super) fn is_read_only(directory: &Path) -> bool {
    statvfs(directory).is_ok_and(|stat| stat.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// Whether more than the permission bits decides about a file.
fn has_access_list(path: &Path) -> bool {
    let list = rustix::fs::getxattr(path, "system.posix_acl_access", &mut [0_u8; 1024]);
    // A list that does not fit is one all the same.
    list.map_or_else(|error| error == Errno::RANGE, |octets| octets > 0)
}

const READ: u32 = 4;
const WRITE: u32 = 2;
const ENTER: u32 = 1;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// A stranger to the files of whoever runs the tests, and a member of their group if asked.
    fn account(group_of: Option<&Path>) -> Account {
        let groups = group_of.map(|path| fs::metadata(path).unwrap().gid()).into_iter().collect();
        Account { name: "vmail".to_owned(), user: u32::MAX - 1, groups, is_present: false }
    }

    /// What is said of `path`, unless it is about a directory above `dir`, which is not ours.
    fn obstacle(account: &Account, path: &Path, dir: &Path) -> Option<String> {
        let above = |found: &String| {
            let closed = |above: &Path| found.contains(&format!(" enter {},", above.display()));
            dir.ancestors().skip(1).any(closed)
        };
        account.obstacle(path).filter(|found| !above(found))
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
            for (account, expected) in [(account(None), stranger), (account(Some(&file)), member)] {
                let found = obstacle(&account, &file, dir.path());
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
        assert_eq!(obstacle(&account(None), &dir.path().join("key"), dir.path()), None);
        set_mode(&archive, 0o700);
        let found = obstacle(&account(None), &dir.path().join("key"), dir.path()).unwrap();
        assert!(found.contains("archive, which is on the way to"), "{found}");
    }

    #[test]
    fn what_the_unit_hides_is_not_to_be_chmodded() {
        let mounts = "1040 1022 0:25 /systemd/inaccessible/dir /home ro,nosuid shared:1 - tmpfs tmpfs rw\n\
                      1041 1022 8:1 /root /srv/mail rw - ext4 /dev/sda1 rw\n";
        assert!(is_mount_point(mounts, Path::new("/home")));
        assert!(is_mount_point(mounts, Path::new("/srv/mail")));
        assert!(!is_mount_point(mounts, Path::new("/root")));
        // What is merely closed can be opened.
        let dir = tempfile::tempdir().unwrap();
        set_mode(dir.path(), 0);
        assert!(remedy(dir.path()).starts_with("chmod"));
        set_mode(dir.path(), 0o700);
    }

    #[test]
    fn a_mount_that_cannot_be_written_is_told_from_others() {
        assert!(!is_read_only(tempfile::tempdir().unwrap().path()));
        assert!(!is_read_only(Path::new("/no/such/directory")));
    }

    #[test]
    fn names_are_looked_up() {
        let root = RunAs { user: "root".to_owned(), group: None };
        assert_eq!(Account::look_up(&root).unwrap().user, 0);
        let nobody = RunAs { user: "no-such-user-here".to_owned(), group: None };
        assert!(Account::look_up(&nobody).unwrap_err().contains("no user \"no-such-user-here\""));
        let nogroup = RunAs { user: "root".to_owned(), group: Some("no-such-group".to_owned()) };
        assert!(Account::look_up(&nogroup).unwrap_err().contains("no group \"no-such-group\""));
    }
}
