//! What is to go wrong: one plan for the whole process, so that it reaches every thread that works
//! for the Maildir. A process that has a plan runs one scenario at a time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::io::Errno;
use rustix::process::{Signal, getpid, kill_process};

use super::journal::Journal;

/// What is to happen at which call.
#[derive(Default)]
pub(crate) struct Plan {
    /// What happens.
    pub(crate) fault: Option<Fault>,
    /// It happens at this call of those that it can happen to, counted from one.
    pub(crate) at: u64,
    /// Whether it also happens at later ones.
    pub(crate) extent: Extent,
    /// The kind of file system that all files seem to be on.
    pub(crate) file_system: Option<u32>,
    /// Another program, which gets its turn before each call, with the number of that.
    pub(crate) other: Option<Box<dyn FnMut(u64) + Send>>,
    /// Where is written down what a power cut would undo.
    pub(crate) journal: Option<Journal>,
}

/// What can go wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It does nothing and gives this error.
    Error(Errno),
    /// It reads or writes half of what it could.
    Short,
    /// The process is killed before it.
    KilledBefore,
    /// The process is killed when it is done.
    KilledAfter,
}

/// How often a fault happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Extent {
    #[default]
    Once,
    /// At every call from then on; where that would be an interruption, at every other one, for
    /// nothing is interrupted for ever.
    ForGood,
}

/// A call that went wrong as planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hit {
    /// The name of the system call.
    pub(crate) call: &'static str,
    /// The file name that it was given; empty when it was given an open file.
    pub(crate) file: String,
}

/// What a call is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Proceed,
    Fail(Errno),
    Halve,
    ProceedAndDie,
}

struct State {
    plan: Plan,
    /// Calls to which the fault could have happened.
    reached: u64,
    calls: u64,
    hits: Vec<Hit>,
}

impl Plan {
    /// Has it happen from now on.
    pub(crate) fn arm(self) {
        let mut state = state();
        *state = Some(State { plan: self, reached: 0, calls: 0, hits: Vec::new() });
        ARMED.store(true, Ordering::SeqCst);
    }

    /// Ends it, and gives what it did.
    pub(crate) fn disarm() -> Vec<Hit> {
        let mut state = state();
        ARMED.store(false, Ordering::SeqCst);
        state.take().map(|state| state.hits).unwrap_or_default()
    }
}

/// Whether there is a plan: one look at a flag, because tests without one run here too.
pub(super) fn is_armed() -> bool {
    ARMED.load(Ordering::Relaxed)
}

/// Decides what becomes of a call.
pub(super) fn decide(call: &'static str, file: &str) -> Verdict {
    let mut guard = state();
    let Some(State { plan, reached, calls, hits }) = &mut *guard else { return Verdict::Proceed };
    *calls += 1;
    if let Some(other) = &mut plan.other {
        other(*calls);
    }
    let Some(fault) = plan.fault else { return Verdict::Proceed };
    if fault == Fault::Short && !["pread", "preadv2", "write"].contains(&call) {
        return Verdict::Proceed;
    }
    *reached += 1;
    let late = reached.saturating_sub(plan.at);
    let again = fault != Fault::Error(Errno::INTR) || late.is_multiple_of(2);
    let happens = match plan.extent {
        Extent::Once => *reached == plan.at,
        Extent::ForGood => *reached >= plan.at && again,
    };
    if !happens {
        return Verdict::Proceed;
    }
    hits.push(Hit { call, file: file.to_owned() });
    match fault {
        Fault::Error(errno) => Verdict::Fail(errno),
        Fault::Short => Verdict::Halve,
        Fault::KilledBefore => die(),
        Fault::KilledAfter => Verdict::ProceedAndDie,
    }
}

/// Writes something down for a power cut, if one is planned.
pub(super) fn journal(write: impl FnOnce(&mut Journal)) {
    if let Some(State { plan: Plan { journal: Some(journal), .. }, .. }) = &mut *state() {
        write(journal);
    }
}

/// The kind of file system that all files seem to be on.
pub(super) fn file_system() -> Option<u32> {
    state().as_ref()?.plan.file_system
}

/// Ends the process as a crash does: nothing is flushed, dropped or unlocked by it.
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
