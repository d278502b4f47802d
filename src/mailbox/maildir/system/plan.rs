//! The plan of the faults to inject. It applies to the whole process, and so to every thread that
//! works on the Maildir. A process with a plan runs one scenario at a time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::io::Errno;
use rustix::process::{Signal, getpid, kill_process};

use super::journal::Journal;

/// Which fault to inject, and at which call.
#[derive(Default)]
pub(crate) struct Plan {
    /// The fault.
    pub(crate) fault: Option<Fault>,
    /// The call at which it happens, counted from one among those to which it can happen.
    pub(crate) at: u64,
    /// Whether it also happens at later calls.
    pub(crate) extent: Extent,
    /// The kind of file system that all files seem to be on.
    pub(crate) file_system: Option<u32>,
    /// Another program, which runs before each call and gets its number.
    pub(crate) other: Option<Box<dyn FnMut(u64) + Send>>,
    /// Records what a power cut would undo.
    pub(crate) journal: Option<Journal>,
}

/// A fault of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The call has no effect and returns this error.
    Error(Errno),
    /// The call reads or writes half of what it could.
    Short,
    /// The process is killed before the call.
    KilledBefore,
    /// The process is killed after the call.
    KilledAfter,
}

/// How often a fault happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Extent {
    #[default]
    Once,
    /// At every call from then on. An interruption happens at every other call only: no call is
    /// interrupted for ever.
    ForGood,
}

/// A call that had the fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hit {
    /// The name of the system call.
    pub(crate) call: &'static str,
    /// The file name in its arguments; empty for an open file.
    pub(crate) file: String,
}

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Proceed,
    Fail(Errno),
    Halve,
    ProceedAndDie,
}

struct State {
    plan: Plan,
    /// The number of calls to which the fault could have happened.
    reached: u64,
    calls: u64,
    hits: Vec<Hit>,
}

impl Plan {
    /// Puts the plan into effect.
    pub(crate) fn arm(self) {
        let mut state = state();
        *state = Some(State { plan: self, reached: 0, calls: 0, hits: Vec::new() });
        ARMED.store(true, Ordering::SeqCst);
    }

    /// Ends the plan. Returns the calls that had the fault.
    pub(crate) fn disarm() -> Vec<Hit> {
        let mut state = state();
        ARMED.store(false, Ordering::SeqCst);
        state.take().map(|state| state.hits).unwrap_or_default()
    }
}

/// Whether there is a plan. It only reads a flag, because tests without a plan call this, too.
pub(super) fn is_armed() -> bool {
    ARMED.load(Ordering::Relaxed)
}

/// Decides what a call does.
pub(super) fn decide(call: &'static str, file: &str) -> Decision {
    let mut guard = state();
    let Some(State { plan, reached, calls, hits }) = &mut *guard else { return Decision::Proceed };
    *calls += 1;
    if let Some(other) = &mut plan.other {
        other(*calls);
    }
    let Some(fault) = plan.fault else { return Decision::Proceed };
    if fault == Fault::Short && !["pread", "preadv2", "write"].contains(&call) {
        return Decision::Proceed;
    }
    *reached += 1;
    let late = reached.saturating_sub(plan.at);
    let again = fault != Fault::Error(Errno::INTR) || late.is_multiple_of(2);
    let happens = match plan.extent {
        Extent::Once => *reached == plan.at,
        Extent::ForGood => *reached >= plan.at && again,
    };
    if !happens {
        return Decision::Proceed;
    }
    hits.push(Hit { call, file: file.to_owned() });
    match fault {
        Fault::Error(errno) => Decision::Fail(errno),
        Fault::Short => Decision::Halve,
        Fault::KilledBefore => die(),
        Fault::KilledAfter => Decision::ProceedAndDie,
    }
}

/// Records a change in the journal, if the plan has one.
pub(super) fn journal(write: impl FnOnce(&mut Journal)) {
    if let Some(State { plan: Plan { journal: Some(journal), .. }, .. }) = &mut *state() {
        write(journal);
    }
}

/// The kind of file system that all files seem to be on.
pub(super) fn file_system() -> Option<u32> {
    state().as_ref()?.plan.file_system
}

/// Ends the process as a crash does, without flushing, dropping or unlocking.
pub(super) fn die() -> ! {
    kill_process(getpid(), Signal::KILL).unwrap();
    loop {
        thread::park();
    }
}

fn state() -> MutexGuard<'static, Option<State>> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

static ARMED: AtomicBool = AtomicBool::new(false);
static STATE: Mutex<Option<State>> = Mutex::new(None);
