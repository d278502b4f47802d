//! Which files can be opened (landlock(7)).

use std::env;
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, make_bitflags,
};

use super::Measure;
use super::access::{Extent, FileAccess};

/// Restricts this thread and those that it will start, as far as the kernel knows how.
pub(super) fn restrict(reach: &FileAccess) -> Measure {
    match enforce(reach) {
        Ok(RulesetStatus::FullyEnforced) => Ok("on"),
        Ok(RulesetStatus::PartiallyEnforced) => Ok("on, as far as this kernel has it"),
        Ok(RulesetStatus::NotEnforced) => Err("this kernel does not have it".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn enforce(reach: &FileAccess) -> Result<RulesetStatus, RulesetError> {
    let network = match reach.network() {
        // The sockets are bound.
        true => AccessNet::BindTcp.into(),
        false => AccessNet::from_all(ABI::V4),
    };
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(network)?
        .scope(scope())?
        .create()?;
    for (path, extent) in reach.grants() {
        rules = grant(rules, path, rights(extent))?;
    }
    Ok(rules.restrict_self()?.ruleset)
}

/// What is not there cannot be granted, and is not missed: whoever needs it has said so.
fn grant(
    rules: RulesetCreated,
    path: &Path,
    rights: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    let Ok(descriptor) = PathFd::new(path) else { return Ok(rules) };
    let rights = if path.is_dir() { rights } else { rights & AccessFs::from_file(KNOWN) };
    rules.add_rule(PathBeneath::new(descriptor, rights))
}

/// Neither signals nor sockets without a name in the file system reach other processes; but for the
/// service manager's, when it has such a socket.
fn scope() -> BitFlags<Scope> {
    let notified =
        env::var_os("NOTIFY_SOCKET").is_some_and(|name| name.to_string_lossy().starts_with('@'));
    if notified { Scope::Signal.into() } else { Scope::from_all(KNOWN_SCOPES) }
}

/// Files can be read, or also made, written and removed. Nothing is executed, and no device, FIFO,
/// socket or link is made.
fn rights(extent: Extent) -> BitFlags<AccessFs> {
    let read = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    match extent {
        Extent::Read => read,
        // A Maildir that is made is renamed once it is whole, which removes a directory too.
        Extent::Change => {
            let change = make_bitflags!(AccessFs::{
                WriteFile | Truncate | RemoveFile | RemoveDir | MakeReg | MakeDir | Refer
            });
            read | change
        }
    }
}

/// What is restricted of files; a newer kernel restricts no more than this.
const KNOWN: ABI = ABI::V5;
const KNOWN_SCOPES: ABI = ABI::V6;
