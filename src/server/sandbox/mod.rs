//! Restrictions of the process, so that an attacker who takes it over gains little.
//!
//! They are permanent and apply to all threads, so they are set up before there are any. A denied
//! call fails with an error, which is reported by the caller; no process is killed.
//!
//! - `access`: the files that a configuration needs; `links`: also through symbolic links.
//!   `landlock`: access to no others.
//! - `system_calls`: the allowed system calls. `process`: privileges and core dumps.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::landlock::RulesetError;
use rustix::io::Errno;
use tracing::info;

use crate::config::{Config, Credentials};

mod access;
mod landlock;
mod links;
mod process;
mod system_calls;

use access::{FileAccess, NotGranted};

pub use access::may_locate_mail;
pub use process::drop_bounding_set;

/// The restrictions in force.
#[derive(Debug)]
pub struct Sandbox {
    landlock: Restriction,
    seccomp: Restriction,
    no_new_privileges: Restriction,
    no_core_dumps: Restriction,
    capabilities: Restriction,
    /// The accessible files, if access is restricted.
    access: Option<FileAccess>,
}

/// How a restriction is in force, or why it is not.
type Restriction = Result<&'static str, NotRestricted>;

/// Why a restriction is not in force.
#[derive(Debug, thiserror::Error)]
enum NotRestricted {
    #[error("not requested")]
    NotRequested,
    #[error("{0} in [sandbox]")]
    SwitchedOff(&'static str),
    #[error("it requires no-new-privileges ({0})")]
    NeedsNoNewPrivileges(String),
    #[error("a credential store of kind {0:?} would be restricted as well")]
    Programs(&'static str),
    #[error("this kernel does not support it")]
    Kernel,
    #[error("not supported on this kind of processor")]
    Processor,
    #[error(transparent)]
    System(#[from] Errno),
    #[error(transparent)]
    Landlock(#[from] RulesetError),
    #[error(transparent)]
    Seccomp(#[from] seccompiler::Error),
}

/// Why a configuration cannot be used by a process in its sandbox.
#[derive(Debug, thiserror::Error)]
pub(super) enum SandboxError {
    #[error(
        "a credential store of kind {0:?} cannot be used since the sandbox was entered; restart the \
         server to apply this configuration"
    )]
    Programs(&'static str),
    #[error("{0} since the sandbox was entered; restart the server to apply this configuration")]
    NotGranted(#[from] NotGranted),
}

impl Sandbox {
    /// No restrictions.
    pub fn none() -> Self {
        let off = || Err(NotRestricted::NotRequested);
        Self {
            landlock: off(),
            seccomp: off(),
            no_new_privileges: off(),
            no_core_dumps: off(),
            capabilities: off(),
            access: None,
        }
    }

    /// Restricts the process as configured, as far as the system supports it.
    ///
    /// - The sockets are bound, and the process runs as its final user.
    /// - There is one thread.
    pub fn enter(config: &Config, file: &Path) -> Self {
        let section = &config.sandbox;
        let no_core_dumps = match section.core_dumps {
            false => process::forbid_core_dumps(),
            true => Err(NotRestricted::SwitchedOff("core-dumps = true")),
        };
        let capabilities = process::drop_capabilities();
        let no_new_privileges = match section.no_new_privileges {
            true => process::forbid_new_privileges(),
            false => Err(NotRestricted::SwitchedOff("no-new-privileges = false")),
        };
        let allowed =
            |switch: bool, off| match (switch, &no_new_privileges, starts_programs(config)) {
                (false, ..) => Err(NotRestricted::SwitchedOff(off)),
                (true, Err(why), _) => Err(NotRestricted::NeedsNoNewPrivileges(why.to_string())),
                (true, Ok(_), Some(kind)) => Err(NotRestricted::Programs(kind)),
                (true, Ok(_), None) => Ok(()),
            };
        let needed = FileAccess::of(config, file);
        let landlock = allowed(section.landlock, "landlock = false")
            .and_then(|()| landlock::restrict(&needed));
        let access = landlock.is_ok().then_some(needed);
        // The last one, since the others need calls that it denies.
        let seccomp =
            allowed(section.seccomp, "seccomp = false").and_then(|()| system_calls::restrict());
        Self { landlock, seccomp, no_new_privileges, no_core_dumps, capabilities, access }
    }

    /// Logs the restrictions in force.
    pub fn report(&self) {
        info!(
            landlock = self.landlock.as_ref().map_or("off", |how| how),
            seccomp = self.seccomp.as_ref().map_or("off", |how| how),
            no_new_privileges = self.no_new_privileges.as_ref().map_or("off", |how| how),
            core_dumps = if self.no_core_dumps.is_ok() { "off" } else { "on" },
            "sandbox"
        );
        for (what, restriction) in [
            ("landlock", &self.landlock),
            ("seccomp", &self.seccomp),
            ("no-new-privileges", &self.no_new_privileges),
            ("core-dumps", &self.no_core_dumps),
            ("capabilities", &self.capabilities),
        ] {
            if let Err(why) = restriction {
                info!("sandbox: {what} is not restricted: {why}");
            }
        }
        if let Some(why) = self.access.as_ref().and_then(FileAccess::anywhere) {
            info!("sandbox: mail is not restricted to directories: {why}");
        }
    }

    /// The directories that may hold mail. `None`: all.
    pub(super) fn mail(&self) -> Option<Arc<[PathBuf]>> {
        let access = self.access.as_ref().filter(|access| access.anywhere().is_none())?;
        Some(access.writable().map(Path::to_owned).collect())
    }

    /// Checks that this process can use another configuration.
    ///
    /// # Errors
    /// [`SandboxError`] when it needs more than the restrictions allow.
    pub(super) fn allows(&self, config: &Config, file: &Path) -> Result<(), SandboxError> {
        if (self.seccomp.is_ok() || self.landlock.is_ok())
            && let Some(kind) = starts_programs(config)
        {
            return Err(SandboxError::Programs(kind));
        }
        match &self.access {
            Some(access) => Ok(access.grants_all_of(&FileAccess::of(config, file))?),
            None => Ok(()),
        }
    }
}

/// The kind of a store that runs external programs, whose needs are unknown.
fn starts_programs(config: &Config) -> Option<&'static str> {
    config.credentials.iter().find_map(|section| match section {
        Credentials::Checkpassword(_) | Credentials::Pam(_) => Some(section.kind()),
        Credentials::File(_)
        | Credentials::Sql(_)
        | Credentials::Ldap(_)
        | Credentials::Oauth2(_) => None,
    })
}
