//! Giving up root: `run-as`, once the sockets are bound and before any thread runs.

use std::ffi::CString;
use std::fmt;
use std::io;
use std::panic;
use std::thread;

use nix::unistd::{self, Gid, Group, Uid, User};
use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};

use crate::config::RunAs;

/// Becomes the user of `run-as` when started as root, and makes sure that there is no way back.
///
/// # Errors
/// [`PrivilegeError`]: mail is never served as root, nor as another user than the one asked for.
pub fn assume(run_as: Option<&RunAs>) -> Result<(), PrivilegeError> {
    let current = unistd::geteuid();
    let Some(run_as) = run_as else {
        return if current.is_root() { Err(PrivilegeError::Root) } else { Ok(()) };
    };
    let (user, gid) = look_up(run_as)?;
    if user.uid.is_root() {
        return Err(PrivilegeError::RunAsRoot);
    }
    if !current.is_root() {
        return if user.uid == current {
            Ok(())
        } else {
            Err(PrivilegeError::NotRoot { wanted: user.name, current: name_of(current) })
        };
    }
    become_user(&user, gid).map_err(|errno| PrivilegeError::System {
        user: user.name.clone(),
        error: io::Error::from(errno),
    })?;
    let way_back =
        unistd::setuid(Uid::from_raw(0)).is_ok() || unistd::setgid(Gid::from_raw(0)).is_ok();
    if way_back || unistd::geteuid() != user.uid || unistd::getegid() != gid {
        return Err(PrivilegeError::Regained);
    }
    Ok(())
}

/// Does work as the user of `run-as` when called by root: in a thread that gives up root, while the
/// process keeps it.
///
/// # Errors
/// Those of [`assume`]: what belongs to the server is not made as anybody else.
pub fn as_server<T: Send>(
    run_as: Option<&RunAs>,
    work: impl FnOnce() -> T + Send,
) -> Result<T, PrivilegeError> {
    if !unistd::geteuid().is_root() {
        return assume(run_as).map(|()| work());
    }
    let (user, gid) = look_up(run_as.ok_or(PrivilegeError::Root)?)?;
    if user.uid.is_root() {
        return Err(PrivilegeError::RunAsRoot);
    }
    let thread = || {
        become_user_in_this_thread(&user, gid)?;
        Ok(work())
    };
    thread::scope(|scope| scope.spawn(thread).join())
        .unwrap_or_else(|panic| panic::resume_unwind(panic))
        .map_err(|error| PrivilegeError::System { user: user.name.clone(), error })
}

/// Why the server cannot run as whom it should.
#[derive(Debug)]
pub enum PrivilegeError {
    /// Started as root without `run-as`.
    Root,
    /// `run-as` names root.
    RunAsRoot,
    /// There is no such user.
    NoUser(String),
    /// There is no such group.
    NoGroup(String),
    /// Only root can become another user.
    NotRoot {
        /// The user of `run-as`.
        wanted: String,
        /// Who started the server.
        current: String,
    },
    /// The system refused.
    System {
        /// The user of `run-as`.
        user: String,
        /// Its answer.
        error: io::Error,
    },
    /// Root could be regained.
    Regained,
}

impl fmt::Display for PrivilegeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str(
                "mail is not served as root; write run-as = \"vmail:vmail\" with the owner of the \
                 mail, or start as that user",
            ),
            Self::RunAsRoot => {
                f.write_str("run-as must not be root; name the owner of the mail, say \"vmail\"")
            }
            Self::NoUser(name) => {
                write!(f, "run-as: there is no user {name:?}; create it or correct the name")
            }
            Self::NoGroup(name) => {
                write!(f, "run-as: there is no group {name:?}; create it or correct the name")
            }
            Self::NotRoot { wanted, current } => write!(
                f,
                "run-as is {wanted:?}, but the server was started by {current:?}; \
                 start it as {wanted:?} or as root"
            ),
            Self::System { user, error } => write!(f, "cannot become {user:?}: {error}"),
            Self::Regained => f.write_str("root could be regained after run-as; not serving"),
        }
    }
}

impl std::error::Error for PrivilegeError {}

fn look_up(run_as: &RunAs) -> Result<(User, Gid), PrivilegeError> {
    let no_user = || PrivilegeError::NoUser(run_as.user.clone());
    let user = User::from_name(&run_as.user).ok().flatten().ok_or_else(no_user)?;
    let gid = match &run_as.group {
        None => user.gid,
        Some(name) => {
            let no_group = || PrivilegeError::NoGroup(name.clone());
            Group::from_name(name).ok().flatten().ok_or_else(no_group)?.gid
        }
    };
    Ok((user, gid))
}

/// Like [`become_user`], which changes all threads.
fn become_user_in_this_thread(user: &User, gid: Gid) -> io::Result<()> {
    let name = CString::new(user.name.as_str())?;
    let groups = unistd::getgrouplist(&name, gid)?;
    let group = |gid: &Gid| rustix::fs::Gid::from_raw(gid.as_raw());
    set_thread_groups(&groups.iter().map(group).collect::<Vec<_>>())?;
    set_thread_gid(group(&gid))?;
    Ok(set_thread_uid(rustix::fs::Uid::from_raw(user.uid.as_raw()))?)
}

/// The order matters: once the user is changed, the groups cannot be.
fn become_user(user: &User, gid: Gid) -> nix::Result<()> {
    let name = CString::new(user.name.as_str()).map_err(|_| nix::errno::Errno::EINVAL)?;
    unistd::initgroups(&name, gid)?;
    unistd::setgid(gid)?;
    unistd::setuid(user.uid)
}

fn name_of(uid: Uid) -> String {
    User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_as(user: &str, group: Option<&str>) -> RunAs {
        RunAs { user: user.into(), group: group.map(Into::into) }
    }

    #[test]
    fn root_is_refused_and_told_what_to_write() {
        let error = assume(Some(&run_as("root", None))).unwrap_err();
        assert!(error.to_string().contains("must not be root"), "{error}");
        let text = PrivilegeError::Root.to_string();
        assert!(text.contains("run-as = \"vmail:vmail\""), "{text}");
    }

    #[test]
    fn unknown_names_are_named() {
        let error = assume(Some(&run_as("no-such-user-here", None))).unwrap_err();
        assert!(error.to_string().contains("no user \"no-such-user-here\""), "{error}");
        let error = look_up(&run_as("nobody", Some("no-such-group-here"))).unwrap_err();
        assert!(error.to_string().contains("no group \"no-such-group-here\""), "{error}");
    }

    #[test]
    fn an_ordinary_user_may_only_name_itself() {
        let current = unistd::geteuid();
        if current.is_root() {
            // As root the change is for good, so tests/it/serve.rs shows it on a process of its own.
            return;
        }
        assume(None).unwrap();
        assume(Some(&run_as(&name_of(current), None))).unwrap();
        let other = if name_of(current) == "nobody" { "daemon" } else { "nobody" };
        let error = assume(Some(&run_as(other, None))).unwrap_err();
        assert!(error.to_string().contains("or as root"), "{error}");
    }
}
