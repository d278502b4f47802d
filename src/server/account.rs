//! Users and groups of the system.

use std::ffi::CString;
use std::io;

use nix::unistd::{Gid, Group, Uid, User, geteuid, getgrouplist};

use crate::config::RunAs;

/// A user with a group and all supplementary groups.
#[derive(Clone, Debug)]
pub struct Account {
    /// The name of the user, or the number of one without a name.
    pub name: String,
    /// The user.
    pub uid: Uid,
    /// The group.
    pub gid: Gid,
    /// All groups, including `gid`.
    pub groups: Vec<Gid>,
}

/// Why there is no account for `run-as`.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// There is no such user.
    #[error("there is no user {0:?}; create it or correct the name")]
    NoUser(String),
    /// There is no such group.
    #[error("there is no group {0:?}; create it or correct the name")]
    NoGroup(String),
    /// The system did not list the groups of the user.
    #[error("the groups of {user:?} cannot be listed: {error}")]
    Groups {
        /// The user.
        user: String,
        /// The error of the system.
        error: io::Error,
    },
}

impl Account {
    /// Looks up the user and group of `run-as`.
    ///
    /// # Errors
    /// [`AccountError`] when one of them does not exist, or the groups cannot be listed.
    pub fn of(run_as: &RunAs) -> Result<Self, AccountError> {
        let no_user = || AccountError::NoUser(run_as.user.clone());
        let User { name, uid, gid, .. } =
            User::from_name(&run_as.user).ok().flatten().ok_or_else(no_user)?;
        let gid = match &run_as.group {
            None => gid,
            Some(group) => gid_of(group).ok_or_else(|| AccountError::NoGroup(group.clone()))?,
        };
        let groups = CString::new(name.as_str())
            .map_err(io::Error::from)
            .and_then(|name| Ok(getgrouplist(&name, gid)?));
        let groups = groups.map_err(|error| AccountError::Groups { user: name.clone(), error })?;
        Ok(Self { name, uid, gid, groups })
    }
}

/// The group of this name, if there is one.
pub fn gid_of(group: &str) -> Option<Gid> {
    Group::from_name(group).ok().flatten().map(|group| group.gid)
}

/// The name of the effective user of this process, or its number if it has no name.
pub fn current_user() -> String {
    let uid = geteuid();
    User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_looked_up() {
        let look_up = |user: &str, group: Option<&str>| {
            Account::of(&RunAs { user: user.to_owned(), group: group.map(str::to_owned) })
        };
        let root = look_up("root", None).unwrap();
        assert!(root.uid.is_root() && root.groups.contains(&root.gid));
        for (user, group, expected) in [
            ("no-such-user-here", None, "no user \"no-such-user-here\""),
            ("root", Some("no-such-group"), "no group \"no-such-group\""),
        ] {
            let error = look_up(user, group).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
