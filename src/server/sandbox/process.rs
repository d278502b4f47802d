//! Privileges, and the memory of the process.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

use super::Restriction;

/// Removes every capability from the bounding set, so that no program that the process starts has any,
/// even a set-uid one. Only root can do this, so it is done before `run-as`.
pub fn drop_bounding_set() {
    for capability in CapabilitySet::all().iter() {
        // It fails for capabilities that the kernel does not know, and without root; both are harmless.
        remove_capability_from_bounding_set(capability).ok();
    }
}

/// Keeps the process and the programs that it starts from gaining privileges.
pub(super) fn forbid_new_privileges() -> Restriction {
    set_no_new_privs(true)?;
    Ok("on")
}

/// Drops the remaining capabilities, such as the one that binds low ports.
pub(super) fn drop_capabilities() -> Restriction {
    let none = CapabilitySet::empty();
    clear_ambient_capability_set()?;
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    Ok("none")
}

/// Disables core dumps, and debuggers of the same user.
pub(super) fn forbid_core_dumps() -> Restriction {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok("off")
}
