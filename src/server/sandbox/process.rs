//! Privileges, and the memory of the process.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

use super::Measure;

/// Takes every capability out of the bounding set, so that no program that is started has one,
/// whoever owns it. Only root can; it is done before `run-as`.
pub fn drop_bounding_set() {
    for capability in CapabilitySet::all().iter() {
        // One that this kernel does not know, or that is not ours to drop: nothing is lost by it.
        remove_capability_from_bounding_set(capability).ok();
    }
}

/// Neither the process nor a program that it starts gains what it does not have.
pub(super) fn forbid_new_privileges() -> Measure {
    set_no_new_privs(true).map(|()| "on").map_err(|error| error.to_string())
}

/// Gives up the capabilities that are left, such as the one that binds low ports.
pub(super) fn drop_capabilities() -> Measure {
    let nothing = CapabilitySet::empty();
    let sets = CapabilitySets { effective: nothing, permitted: nothing, inheritable: nothing };
    clear_ambient_capability_set()
        .and_then(|()| set_capabilities(None, sets))
        .map(|()| "none")
        .map_err(|error| error.to_string())
}

/// Nothing of the memory is written to a file, and no process of the same user looks into it.
pub(super) fn forbid_core_dumps() -> Measure {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
        .and_then(|()| set_dumpable_behavior(DumpableBehavior::NotDumpable))
        .map(|()| "off")
        .map_err(|error| error.to_string())
}
