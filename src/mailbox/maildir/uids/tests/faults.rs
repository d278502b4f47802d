//! A fault, a SIGKILL or a power cut at each file-system call of two logins. One appends to the
//! file, the other rewrites it.
//!
//! As in `sweep`, a plan applies to a whole process: the test starts its program again, where
//! [`child`] does the job that the environment names.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{env, fs};

use rustix::io::Errno;
use rustix::process::Signal;

use super::super::super::lock::{Root, TryLock};
use super::super::super::{Extent, Fault, Journal, Lost, Plan, cut_power};
use super::on_disk::{listing, login, root};
use super::*;

/// The messages of the logins. The fifth appends to the file, and the sixth rewrites it.
const LOGINS: [&[Given<'_>]; 7] = [
    &[("1.a", &["A"]), ("2.0", &["B"])],
    &[("1.a", &[]), ("2.1", &["C"])],
    &[("1.a", &[]), ("2.2", &["D"])],
    &[("1.a", &["B"]), ("2.3", &["A", "E"])],
    &[("2.4", &["F"]), ("1.a", &[])],
    &[("1.a", &[]), ("2.5", &["G"])],
    &[("1.a", &["G"]), ("2.5", &["H"]), ("2.6", &["A", "I"])],
];

/// The unique-id of each name that was shown.
#[derive(Clone, Default)]
struct Shown(BTreeMap<String, String>);

impl Shown {
    fn add(&mut self, name: &str, id: &str) {
        let first = self.0.entry(name.to_owned()).or_insert_with(|| id.to_owned());
        assert_eq!(first, id, "the unique-id of {name} has changed");
        assert_eq!(self.0.values().filter(|of| *of == id).count(), 1, "{id} is of two messages");
    }
}

/// A login, which may be refused. Calls `show` for each message of the listing; returns whether all
/// messages were in it.
fn try_login(path: &Path, number: usize, mut show: impl FnMut(&str, &str)) -> bool {
    let present = LOGINS[number];
    let Ok(TryLock::Locked(root)) = Root::try_lock(path) else { return false };
    let Ok(assigned) = login(&root, present) else { return false };
    for (given, id) in listing(&assigned) {
        show(present[given].0, &id);
    }
    assert_eq!(assigned.error.is_none(), assigned.listing().count() == present.len());
    assigned.error.is_none()
}

/// A Maildir before the logins that have faults, and what clients know of it.
struct Before {
    maildir: tempfile::TempDir,
    shown: Shown,
}

impl Before {
    fn new() -> Self {
        let maildir = tempfile::tempdir().unwrap();
        let mut shown = Shown::default();
        for number in 0..4 {
            assert!(try_login(maildir.path(), number, |name, id| shown.add(name, id)));
        }
        Self { maildir, shown }
    }

    /// Makes a copy of the Maildir.
    fn copy_to(&self, path: &Path) -> Shown {
        fs::create_dir(path).unwrap();
        for file in ["restante.lock", STATE_FILE] {
            fs::copy(self.maildir.path().join(file), path.join(file)).unwrap();
        }
        self.shown.clone()
    }
}

/// Checks the logins after a fault.
fn check(path: &Path, mut shown: Shown) {
    for _ in 0..2 {
        assert!(try_login(path, 6, |name, id| shown.add(name, id)));
    }
}

#[test]
fn a_fault_at_any_call_changes_no_unique_id() {
    let directory = tempfile::tempdir().unwrap();
    let output = run_child(directory.path(), 0);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_kill_and_a_power_cut_at_any_call_change_no_unique_id() {
    let before = Before::new();
    for lost in [None, Some(Lost::All), Some(Lost::EveryOther)] {
        for at in 1.. {
            let directory = tempfile::tempdir().unwrap();
            let maildir = directory.path().join("Maildir");
            let mut shown = before.copy_to(&maildir);
            let output = run_child(directory.path(), at);
            let killed = output.status.signal() == Some(Signal::KILL.as_raw());
            assert!(
                killed || output.status.success(),
                "{at}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            if let Some(lost) = lost {
                cut_power(&directory.path().join("journal"), lost);
            }
            let record = fs::read_to_string(directory.path().join("record")).unwrap_or_default();
            for line in record.lines() {
                let (name, id) = line.split_once(' ').unwrap();
                shown.add(name, id);
            }
            check(&maildir, shown);
            if !killed {
                assert!(at > 20, "only {at} calls");
                break;
            }
        }
    }
}

fn run_child(directory: &Path, at: u64) -> Output {
    let mut command = Command::new(env::current_exe().unwrap());
    let name = "mailbox::maildir::uids::tests::faults::child";
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]);
    command.env(DIRECTORY, directory).env(AT, at.to_string()).output().unwrap()
}

/// The job of a process that one of the tests has started.
#[test]
fn child() {
    let Some(directory) = env::var_os(DIRECTORY) else { return };
    let directory = Path::new(&directory);
    match env::var(AT).unwrap().parse().unwrap() {
        0 => fail(directory),
        at => die(directory, at),
    }
}

/// What the last session has synced is not synced again.
fn count_calls() {
    let maildir = Before::new().maildir;
    let root = root(maildir.path());
    let calls = |synced| {
        let count = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&count);
        let other: Box<dyn FnMut(u64) + Send> =
            Box::new(move |number| counter.store(number, Ordering::Relaxed));
        Plan { other: Some(other), ..Plan::default() }.arm();
        let mark = State::read(&root, "", synced).unwrap().mark();
        Plan::disarm();
        (mark, count.load(Ordering::Relaxed))
    };
    let (mark, with_sync) = calls(None);
    assert_eq!(calls(Some(mark)), (mark, with_sync - 2));
    assert_eq!(calls(Some(Mark::default())), (mark, with_sync));
    let mut file = fs::File::options().append(true).open(maildir.path().join(STATE_FILE)).unwrap();
    std::io::Write::write_all(&mut file, b"x").unwrap();
    assert_eq!(calls(Some(mark)), (mark, with_sync));
}

fn fail(directory: &Path) {
    count_calls();
    let errors = [Errno::IO, Errno::NOSPC, Errno::INTR, Errno::ROFS].map(Fault::Error);
    let faults = errors.into_iter().chain([Fault::Short]);
    let all = faults.flat_map(|fault| [(fault, Extent::Once), (fault, Extent::ForGood)]);
    let before = Before::new();
    for (kind, (fault, extent)) in all.enumerate() {
        for at in 1.. {
            let maildir = directory.join(format!("{kind}-{at}"));
            let mut shown = before.copy_to(&maildir);
            let written = || {
                let file = maildir.join(STATE_FILE);
                (fs::read(&file).unwrap(), fs::metadata(file).unwrap().modified().unwrap())
            };
            let (text, time) = written();
            Plan { fault: Some(fault), at, extent, ..Plan::default() }.arm();
            try_login(&maildir, 4, |name, id| shown.add(name, id));
            let (text_now, time_now) = written();
            let is_kept = text != text_now || time == time_now;
            assert!(is_kept || extent == Extent::ForGood, "the time is that of the last batch");
            try_login(&maildir, 5, |name, id| shown.add(name, id));
            let hits = Plan::disarm();
            check(&maildir, shown);
            if hits.is_empty() {
                break;
            }
        }
    }
}

fn die(directory: &Path, at: u64) {
    let journal = directory.join("journal");
    fs::create_dir(&journal).unwrap();
    let journal = Some(Journal::new(&journal));
    let mut record = fs::File::create(directory.join("record")).unwrap();
    let file = directory.join("Maildir").join(STATE_FILE);
    let generation = || fs::read_to_string(&file).unwrap().split(' ').nth(3).map(str::to_owned);
    let first = generation();
    Plan { fault: Some(Fault::KilledAfter), at, journal, ..Plan::default() }.arm();
    for number in 4..6 {
        let show = |name: &str, id: &str| {
            std::io::Write::write_all(&mut record, format!("{name} {id}\n").as_bytes()).unwrap();
        };
        assert!(try_login(&directory.join("Maildir"), number, show));
    }
    Plan::disarm();
    assert_ne!(generation(), first, "the file is rewritten");
}

const DIRECTORY: &str = "RESTANTE_UIDS_DIRECTORY";
const AT: &str = "RESTANTE_UIDS_AT";
