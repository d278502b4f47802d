//! What the process gives up before it serves, so that whoever takes it over gains little.
//!
//! All of it is for good and for all threads, so it is done before there are any. A call that is
//! denied fails with an error, which is reported where the call is; nothing is killed.
//!
//! - `reach`: which files a configuration needs, `links`: also by symbolic links. `landlock`: that no others can be opened.
//! - `system_calls`: which calls can be made. `process`: privileges and core dumps.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::info;

use crate::config::{Config, Credentials};

mod access;
mod landlock;
mod links;
mod process;
mod system_calls;

use access::FileAccess;

pub use process::drop_bounding_set;

/// What is in force.
#[derive(Debug)]
pub struct Sandbox {
    landlock: Measure,
    seccomp: Measure,
    no_new_privileges: Measure,
    no_core_dumps: Measure,
    capabilities: Measure,
    /// The files that can be opened, and whether mail is among them wherever it is.
    reach: Option<FileAccess>,
}

/// Whether something is in force; if not, why.
type Measure = Result<&'static str, String>;

impl Sandbox {
    /// Nothing is given up.
    pub fn none() -> Self {
        let off = || Err("not asked for".to_owned());
        Self {
            landlock: off(),
            seccomp: off(),
            no_new_privileges: off(),
            no_core_dumps: off(),
            capabilities: off(),
            reach: None,
        }
    }

    /// Gives up what the configuration says, as far as the system knows how.
    ///
    /// - The sockets are bound, and the process is who it is going to be.
    /// - There is one thread.
    pub fn enter(config: &Config, file: &Path) -> Self {
        let section = &config.sandbox;
        let no_core_dumps = match section.core_dumps {
            false => process::forbid_core_dumps(),
            true => Err(switched_off("core-dumps = true")),
        };
        let capabilities = process::drop_capabilities();
        let no_new_privileges = match section.no_new_privileges {
            true => process::forbid_new_privileges(),
            false => Err(switched_off("no-new-privileges = false")),
        };
        let hindrance = hindrance(config, &no_new_privileges);
        let allowed = |switch: bool, off: &str| match (switch, &hindrance) {
            (false, _) => Err(switched_off(off)),
            (true, Some(why)) => Err(why.clone()),
            (true, None) => Ok(()),
        };
        let wanted = FileAccess::of(config, file);
        let landlock = allowed(section.landlock, "landlock = false")
            .and_then(|()| landlock::restrict(&wanted));
        let reach = landlock.is_ok().then_some(wanted);
        // The last one, for the others need calls that it denies.
        let seccomp =
            allowed(section.seccomp, "seccomp = false").and_then(|()| system_calls::restrict());
        Self { landlock, seccomp, no_new_privileges, no_core_dumps, capabilities, reach }
    }

    /// Says what is in force.
    pub fn report(&self) {
        info!(
            landlock = self.landlock.as_ref().map_or("off", |how| how),
            seccomp = self.seccomp.as_ref().map_or("off", |how| how),
            no_new_privileges = self.no_new_privileges.as_ref().map_or("off", |how| how),
            core_dumps = if self.no_core_dumps.is_ok() { "off" } else { "on" },
            "sandbox"
        );
        for (what, measure) in [
            ("landlock", &self.landlock),
            ("seccomp", &self.seccomp),
            ("no-new-privileges", &self.no_new_privileges),
            ("core-dumps", &self.no_core_dumps),
            ("capabilities", &self.capabilities),
        ] {
            if let Err(why) = measure {
                info!("sandbox: {what} is not restricted: {why}");
            }
        }
        if let Some(why) = self.reach.as_ref().and_then(FileAccess::anywhere) {
            info!("sandbox: mail is not restricted to directories: {why}");
        }
    }

    /// The directories that mail can be in, unless that is everywhere.
    pub(super) fn mail(&self) -> Option<Arc<[PathBuf]>> {
        let reach = self.reach.as_ref().filter(|reach| reach.anywhere().is_none())?;
        Some(reach.changed().map(Path::to_owned).collect())
    }

    /// Why another configuration cannot be served by this process, if it cannot.
    pub(super) fn refuses(&self, config: &Config, file: &Path) -> Option<String> {
        let restart = "restart the server to take this configuration over";
        if (self.seccomp.is_ok() || self.landlock.is_ok())
            && let Some(kind) = starts_programs(config)
        {
            return Some(format!(
                "a credential store of the kind {kind:?} cannot be used since the sandbox was \
                 entered; {restart}"
            ));
        }
        let beyond = self.reach.as_ref()?.lacks(&FileAccess::of(config, file))?;
        Some(format!("{beyond} since the sandbox was entered; {restart}"))
    }
}

fn switched_off(setting: &str) -> String {
    format!("{setting} in [sandbox]")
}

/// Why neither files nor system calls can be restricted, if they cannot.
fn hindrance(config: &Config, no_new_privileges: &Measure) -> Option<String> {
    if let Err(why) = no_new_privileges {
        return Some(format!("it needs no-new-privileges ({why})"));
    }
    let kind = starts_programs(config)?;
    Some(format!("a credential store of the kind {kind:?} would be restricted too"))
}

/// The kind of a store that runs programs of others, which nobody knows the needs of.
fn starts_programs(config: &Config) -> Option<&'static str> {
    config.credentials.iter().find_map(|section| match section {
        Credentials::Checkpassword(_) | Credentials::Pam(_) => Some(section.kind()),
        Credentials::File(_)
        | Credentials::Sql(_)
        | Credentials::Ldap(_)
        | Credentials::Oauth2(_) => None,
    })
}
