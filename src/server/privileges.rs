//! Giving up root: `run-as`, once the sockets are bound and before any thread runs.

use std::io;
use std::panic;
use std::thread;

use nix::unistd::{self, Gid, Uid};
use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};

use super::account::{Account, AccountError, current_user};
use crate::config::RunAs;

/// Becomes the user of `run-as` when started as root, and verifies that root cannot be regained.
///
/// # Errors
/// [`PrivilegeError`]: the server never runs as root, nor as a user other than that of `run-as`.
pub fn assume(run_as: Option<&RunAs>) -> Result<(), PrivilegeError> {
    let current = unistd::geteuid();
    let Some(run_as) = run_as else {
        return if current.is_root() { Err(PrivilegeError::Root) } else { Ok(()) };
    };
    let account = look_up(run_as)?;
    if !current.is_root() {
        return if account.uid == current {
            Ok(())
        } else {
            Err(PrivilegeError::NotRoot { wanted: account.name, current: current_user() })
        };
    }
    become_account(&account)
        .map_err(|errno| PrivilegeError::System { user: account.name, error: errno.into() })?;
    let regained =
        unistd::setuid(Uid::from_raw(0)).is_ok() || unistd::setgid(Gid::from_raw(0)).is_ok();
    if regained || unistd::geteuid() != account.uid || unistd::getegid() != account.gid {
        return Err(PrivilegeError::Regained);
    }
    Ok(())
}

/// Runs `work` as the user of `run-as` when called by root: in a thread that gives up root, while the
/// process keeps it.
///
/// # Errors
/// Those of [`assume`]: files of the server are never created as another user.
pub fn as_server<T: Send>(
    run_as: Option<&RunAs>,
    work: impl FnOnce() -> T + Send,
) -> Result<T, PrivilegeError> {
    if !unistd::geteuid().is_root() {
        return assume(run_as).map(|()| work());
    }
    let account = look_up(run_as.ok_or(PrivilegeError::Root)?)?;
    let thread = || {
        become_account_in_this_thread(&account)?;
        Ok(work())
    };
    thread::scope(|scope| scope.spawn(thread).join())
        .unwrap_or_else(|panic| panic::resume_unwind(panic))
        .map_err(|error| PrivilegeError::System { user: account.name, error })
}

/// Why the server cannot run as the user of `run-as`.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// Started as root without `run-as`.
    #[error(
        "mail is not served as root; write run-as = \"vmail:vmail\" with the owner of the mail, or \
         start as that user"
    )]
    Root,
    /// `run-as` names root.
    #[error("run-as must not be root; write the owner of the mail, such as \"vmail\"")]
    RunAsRoot,
    /// `run-as` names an unknown user or group.
    #[error("run-as: {0}")]
    Account(#[from] AccountError),
    /// Only root can become another user.
    #[error(
        "run-as is {wanted:?}, but the server was started by {current:?}; start it as {wanted:?} or \
         as root"
    )]
    NotRoot {
        /// The user of `run-as`.
        wanted: String,
        /// The user that started the server.
        current: String,
    },
    /// The system refused.
    #[error("cannot become {user:?}: {error}")]
    System {
        /// The user of `run-as`.
        user: String,
        /// The error of the system.
        error: io::Error,
    },
    /// Root could be regained.
    #[error("root could be regained after run-as, so the server does not start")]
    Regained,
}

fn look_up(run_as: &RunAs) -> Result<Account, PrivilegeError> {
    let account = Account::of(run_as)?;
    if account.uid.is_root() { Err(PrivilegeError::RunAsRoot) } else { Ok(account) }
}

/// Like [`become_account`], which changes all threads.
fn become_account_in_this_thread(Account { uid, gid, groups, .. }: &Account) -> io::Result<()> {
    let group = |gid: &Gid| rustix::fs::Gid::from_raw(gid.as_raw());
    set_thread_groups(&groups.iter().map(group).collect::<Vec<_>>())?;
    set_thread_gid(group(gid))?;
    Ok(set_thread_uid(rustix::fs::Uid::from_raw(uid.as_raw()))?)
}

/// The order matters: only root can change groups, so the user is changed last.
fn become_account(Account { uid, gid, groups, .. }: &Account) -> nix::Result<()> {
    unistd::setgroups(groups)?;
    unistd::setgid(*gid)?;
    unistd::setuid(*uid)
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
        let error = assume(Some(&run_as("nobody", Some("no-such-group-here")))).unwrap_err();
        assert!(error.to_string().contains("no group \"no-such-group-here\""), "{error}");
    }

    #[test]
    fn an_ordinary_user_may_only_name_itself() {
        let current = unistd::geteuid();
        if current.is_root() {
            // As root the change is permanent, so tests/it/serve.rs tests it in another process.
            return;
        }
        assume(None).unwrap();
        assume(Some(&run_as(&current_user(), None))).unwrap();
        let other = if current_user() == "nobody" { "daemon" } else { "nobody" };
        let error = assume(Some(&run_as(other, None))).unwrap_err();
        assert!(error.to_string().contains("or as root"), "{error}");
    }
}
