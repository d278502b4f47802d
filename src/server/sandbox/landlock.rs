//! Restricts access to files (landlock(7)).

use std::env;
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, make_bitflags,
};

use super::access::{Extent, FileAccess};
use super::{NotRestricted, Restriction};

/// Restricts this thread and the threads that it starts, as far as the kernel supports it.
pub(super) fn restrict(access: &FileAccess) -> Restriction {
    match enforce(access)? {
        RulesetStatus::FullyEnforced => Ok("on"),
        RulesetStatus::PartiallyEnforced => Ok("on, as far as this kernel supports it"),
        RulesetStatus::NotEnforced => Err(NotRestricted::Kernel),
    }
}

fn enforce(access: &FileAccess) -> Result<RulesetStatus, RulesetError> {
    let network = match access.network() {
        // The listening sockets are bound already.
        true => AccessNet::BindTcp.into(),
        false => AccessNet::from_all(ABI::V4),
    };
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(network)?
        .scope(scope())?
        .create()?;
    for (path, extent) in access.grants() {
        rules = grant(rules, path, rights(extent))?;
    }
    Ok(rules.restrict_self()?.ruleset)
}

/// Grants access to a path, if it exists. A missing one is reported where it is used.
fn grant(
    rules: RulesetCreated,
    path: &Path,
    rights: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    let Ok(descriptor) = PathFd::new(path) else { return Ok(rules) };
    let rights = if path.is_dir() { rights } else { rights & AccessFs::from_file(KNOWN) };
    rules.add_rule(PathBeneath::new(descriptor, rights))
}

/// Forbids signals to other processes, and connections to their abstract sockets, unless the service
/// manager's socket is one.
fn scope() -> BitFlags<Scope> {
    let notified =
        env::var_os("NOTIFY_SOCKET").is_some_and(|name| name.to_string_lossy().starts_with('@'));
    if notified { Scope::Signal.into() } else { Scope::from_all(KNOWN_SCOPES) }
}

/// The rights for an extent. Executing files, and creating devices, FIFOs, sockets and links, is never
/// among them.
fn rights(extent: Extent) -> BitFlags<AccessFs> {
    let read = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    match extent {
        Extent::Read => read,
        // A new Maildir is renamed once it is complete, which counts as removing a directory.
        Extent::Write => {
            let write = make_bitflags!(AccessFs::{
                WriteFile | Truncate | RemoveFile | RemoveDir | MakeReg | MakeDir | Refer
            });
            read | write
        }
    }
}

/// The newest Landlock versions whose restrictions are used.
const KNOWN: ABI = ABI::V5;
const KNOWN_SCOPES: ABI = ABI::V6;
