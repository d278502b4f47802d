//! The sweep: a fault at every file-system call of a session, and what must be so after each.
//!
//! - Each scenario is a session over the real Maildir store, and it is run again and again: with the
//!   fault at the first call, at the second, and so on, until a run ends before it comes to that call.
//! - A fault is an error, once or for good; a read or a write of half the bytes; a SIGKILL before or
//!   after the call; a power cut there, which also undoes what was not synced.
//! - A plan holds for a whole process, and a killed process is a real one: so this test calls its own
//!   program again, where [`child`] does what the environment says.
//!
//! `RESTANTE_SWEEP=whole cargo test --lib sweep -- --nocapture` leaves nothing out, and with the name
//! of a scenario nothing of that; otherwise every call has its turn with some of the errors.
//! `docs/RELIABILITY.md` has the figures.

mod dialogue;
mod job;
mod record;
mod scenario;
mod stage;
mod verdict;

use std::collections::BTreeMap;
use std::env;
use std::sync::Mutex;
use std::thread;

use self::job::{Job, Tally, WHOLE};
use self::scenario::Scenario;

#[test]
fn every_call_may_fail_and_every_call_may_be_the_last() {
    let wanted = env::var(WHOLE).ok();
    let whole = wanted.is_some();
    let wanted = wanted.filter(|wanted| wanted != "whole").unwrap_or_default();
    let scenarios = Scenario::ALL.iter().filter(|scenario| scenario.name.starts_with(&wanted));
    let jobs = scenarios.flat_map(|scenario| Job::of(scenario, whole));
    let jobs = Mutex::new(jobs.collect::<Vec<_>>());
    let tallies = Mutex::new(BTreeMap::<&str, Tally>::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(job) = jobs.lock().unwrap().pop() else { break };
                    let tally = job.supervise();
                    tallies.lock().unwrap().entry(job.scenario.name).or_default().add(tally);
                }
            });
        }
    });
    let mut sum = Tally::default();
    for (name, tally) in tallies.into_inner().unwrap() {
        println!("{name:18} {tally}");
        sum.add(tally);
    }
    println!("{:18} {sum}", "all");
    let problems = sum.problems;
    let shown = problems.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>();
    assert!(problems.is_empty(), "{} violations:\n{}", problems.len(), shown.join("\n"));
}

/// What a process does that [`every_call_may_fail_and_every_call_may_be_the_last`] has started.
#[test]
fn child() {
    if let Some(job) = Job::of_this_process() {
        job.perform();
    }
}

/// So many violations are shown.
const SHOWN: usize = 100;

/// Processes at a time.
const AT_ONCE: usize = 2;
