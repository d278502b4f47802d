//! Whether another user gets at a file, going by owners and permission bits.
//!
//! Access control lists are not read: nothing is said of a file or directory that has one.

use std::ffi::CString;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group, User, getgrouplist};

use crate::config::RunAs;
use crate::mailbox::maildir::examine;

/// The user of `run-as`, with all groups.
#[derive(Debug)]
pub(super) struct Account {
    name: String,
    user: u32,
    groups: Vec<u32>,
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
        Ok(Self { name: name.clone(), user: user.uid.as_raw(), groups })
    }

    /// What keeps this user from reading a file or entering a directory, and what to do about it.
    ///
    /// Nothing is said of what is not there, or cannot be seen by the present user.
    pub(super) fn obstacle(&self, path: &Path) -> Option<String> {
        let metadata = fs::metadata(path).ok()?;
        let target = fs::canonicalize(path).ok()?;
        // A symbolic link may lead through other directories than its own path.
        let closed = path.ancestors().chain(target.ancestors()).skip(1).find(|above| {
            fs::metadata(above).is_ok_and(|m| m.is_dir() && !self.may(&m, ENTER))
                && !has_access_list(above)
        });
        if let Some(closed) = closed {
            return Some(format!(
                "{} cannot enter {}, which is on the way to {}: chmod or chgrp it",
                self.name,
                closed.display(),
                path.display()
            ));
        }
        let (want, word) = if metadata.is_dir() { (ENTER, "enter") } else { (READ, "read") };
        let may = self.may(&metadata, want) || has_access_list(path);
        (!may).then(|| format!("{} cannot {word} {}: chmod or chgrp it", self.name, path.display()))
    }

    /// What keeps this user from reading a Maildir and removing mail from it, and what to do about
    /// it.
    ///
    /// Nothing is said of what is not there, or cannot be seen by the present user.
    pub(super) fn obstacle_to_mail(&self, maildir: &Path) -> Option<String> {
        let folders = || ["cur", "new"].map(|name| maildir.join(name)).into_iter();
        let closed = |folder: &PathBuf| {
            let may = |m: &Metadata| [READ, WRITE, ENTER].iter().all(|&bit| self.may(m, bit));
            fs::metadata(folder).is_ok_and(|metadata| !may(&metadata)) && !has_access_list(folder)
        };
        let refused = || {
            let failure = examine(maildir).err()?;
            let seen = failure.source().kind() != io::ErrorKind::PermissionDenied;
            (seen && maildir.exists())
                .then(|| format!("{failure}; a Maildir has the directories cur, new and tmp"))
        };
        self.obstacle(maildir).or_else(refused).or_else(|| {
            let folder = folders().find(closed)?;
            Some(format!("{} cannot read and write {}: chown it", self.name, folder.display()))
        })
    }

    /// The bits that count are those of the first class that the user is in.
    fn may(&self, metadata: &Metadata, bit: u32) -> bool {
        let shift = if metadata.uid() == self.user {
            6
        } else if self.groups.contains(&metadata.gid()) {
            3
        } else {
            0
        };
        self.user == 0 || metadata.mode() >> shift & bit != 0
    }
}

/// Whether more than the permission bits decides about a file.
fn has_access_list(path: &Path) -> bool {
    let list = rustix::fs::getxattr(path, "system.posix_acl_access", &mut [0_u8; 1024]);
    // A list that does not fit is one all the same.
    list.map_or_else(|error| error == rustix::io::Errno::RANGE, |octets| octets > 0)
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
        Account { name: "vmail".to_owned(), user: u32::MAX - 1, groups }
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
    fn names_are_looked_up() {
        let root = RunAs { user: "root".to_owned(), group: None };
        assert_eq!(Account::look_up(&root).unwrap().user, 0);
        let nobody = RunAs { user: "no-such-user-here".to_owned(), group: None };
        assert!(Account::look_up(&nobody).unwrap_err().contains("no user \"no-such-user-here\""));
        let nogroup = RunAs { user: "root".to_owned(), group: Some("no-such-group".to_owned()) };
        assert!(Account::look_up(&nogroup).unwrap_err().contains("no group \"no-such-group\""));
    }
}
