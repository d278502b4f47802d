//! The sweep: a fault at every file-system call of a session, and the invariants that hold after it.
//!
//! - Each scenario is a session over the real Maildir store. It runs again and again: with the fault
//!   at the first call, at the second, and so on, until a run ends before it reaches that call.
//! - A fault is an error, once or for good; a read or a write of half the bytes; a SIGKILL before or
//!   after the call; a power cut there, which also undoes what was not synced.
//! - A plan applies to a whole process, and a kill ends a real process. Therefore this test starts
//!   its own program again, where [`child`] does the job that the environment names.
//!
//! `RESTANTE_SWEEP=whole cargo test --lib sweep -- --nocapture` runs all faults of all scenarios;
//! with the name of a scenario in the place of `whole`, all of that one. By default every call fails
//! with some of the errors only. `docs/RELIABILITY.md` has the figures.

mod client;
mod fixture;
mod invariants;
mod job;
mod record;
mod scenario;

use std::collections::BTreeMap;
use std::env;
use std::sync::Mutex;
use std::thread;

use self::job::{Job, SWEEP, Totals};
use self::scenario::Scenario;

#[test]
fn every_call_may_fail_and_every_call_may_be_the_last() {
    let wanted = env::var(SWEEP).ok();
    let whole = wanted.is_some();
    let wanted = wanted.filter(|wanted| wanted != "whole").unwrap_or_default();
    let scenarios = Scenario::ALL.iter().filter(|scenario| scenario.name.starts_with(&wanted));
    let jobs = scenarios.flat_map(|scenario| Job::of(scenario, whole));
    let jobs = Mutex::new(jobs.collect::<Vec<_>>());
    let by_scenario = Mutex::new(BTreeMap::<&str, Totals>::new());
    thread::scope(|scope| {
        for _ in 0..PROCESSES {
            scope.spawn(|| {
                loop {
                    let Some(job) = jobs.lock().unwrap().pop() else { break };
                    let totals = job.supervise();
                    by_scenario.lock().unwrap().entry(job.scenario.name).or_default().add(totals);
                }
            });
        }
    });
    let mut sum = Totals::default();
    for (name, totals) in by_scenario.into_inner().unwrap() {
        println!("{name:18} {totals}");
        sum.add(totals);
    }
    println!("{:18} {sum}", "all");
    let problems = sum.problems;
    let shown = problems.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>();
    assert!(problems.is_empty(), "{} violations:\n{}", problems.len(), shown.join("\n"));
}

/// The job of a process that [`every_call_may_fail_and_every_call_may_be_the_last`] has started.
#[test]
fn child() {
    if let Some(job) = Job::of_this_process() {
        job.perform();
    }
}

/// How many violations are shown.
const SHOWN: usize = 100;

/// Processes that run at the same time.
const PROCESSES: usize = 2;
