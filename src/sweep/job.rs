//! A scenario with a fault at each of its calls in turn: the part of the supervising process, and
//! the part of the child process in which the faults happen.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;
use std::{env, fmt, fs};

use rustix::io::Errno;
use rustix::process::Signal;

use super::fixture::{Fixture, Log};
use super::invariants::Circumstances;
use super::record::{Record, parse};
use super::scenario::Scenario;
use crate::mailbox::maildir::{Extent, Fault, Journal, Lost, Plan, cut_power};

/// A scenario with the kind of fault that happens in it.
#[derive(Clone, Copy)]
pub(super) struct Job {
    pub(super) scenario: &'static Scenario,
    mode: usize,
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Fault(Fault, Extent),
    Kill(Fault),
    PowerCut(Fault, Lost),
}

/// The counts and problems of a job.
#[derive(Default)]
pub(super) struct Totals {
    runs: u64,
    faults: u64,
    kills: u64,
    power_cuts: u64,
    pub(super) problems: Vec<String>,
}

impl Job {
    /// The jobs of a scenario.
    pub(super) fn of(scenario: &'static Scenario, whole: bool) -> Vec<Self> {
        let kills = |mode: &Mode| matches!(mode, Mode::Kill(_) | Mode::PowerCut(..));
        let wanted =
            |mode: &Mode| whole || DEFAULT.contains(mode) && (scenario.removes() || !kills(mode));
        let modes = MODES.iter().enumerate().filter(|(_, mode)| wanted(mode));
        modes.map(|(mode, _)| Self { scenario, mode }).collect()
    }

    /// The job of this child process.
    pub(super) fn of_this_process() -> Option<Self> {
        let name = env::var(SCENARIO).ok()?;
        let scenario = Scenario::ALL.iter().find(|scenario| scenario.name == name).unwrap();
        Some(Self { scenario, mode: env::var(MODE).unwrap().parse().unwrap() })
    }

    fn mode(self) -> Mode {
        MODES[self.mode]
    }

    /// Runs the job in child processes.
    pub(super) fn supervise(self) -> Totals {
        let directory = tempfile::tempdir().unwrap();
        let mut totals = match self.mode() {
            Mode::Fault(..) => self.supervise_faults(directory.path()),
            Mode::Kill(_) => self.supervise_kills(directory.path(), None),
            Mode::PowerCut(_, lost) => self.supervise_kills(directory.path(), Some(lost)),
        };
        let about = format!("{}, {:?}", self.scenario.name, self.mode());
        totals.problems.iter_mut().for_each(|problem| *problem = format!("{about}, {problem}"));
        totals
    }

    fn supervise_faults(self, directory: &Path) -> Totals {
        let output = self.command(directory).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let mut totals = Totals::default();
        for line in text.lines() {
            if let Some(problem) = line.strip_prefix("problem: ") {
                totals.problems.push(problem.to_owned());
            }
            if let Some(counts) = line.strip_prefix("counts: ") {
                let (runs, faults) = counts.split_once(' ').unwrap();
                (totals.runs, totals.faults) = (runs.parse().unwrap(), faults.parse().unwrap());
            }
        }
        if totals.runs == 0 {
            let errors = String::from_utf8_lossy(&output.stderr);
            totals.problems.push(format!("no result: {text}{errors}"));
        }
        totals
    }

    fn supervise_kills(self, directory: &Path, lost: Option<Lost>) -> Totals {
        let mut totals = Totals::default();
        let mut fixture = Fixture::new(self.scenario, directory);
        for at in 1.. {
            fixture.reset();
            for old in ["record", "journal"].map(|name| directory.join(name)) {
                drop(fs::remove_dir_all(&old).or_else(|_| fs::remove_file(&old)));
            }
            let mut command = self.command(directory);
            command.env(AT, at.to_string()).env(TO_DELETE, fixture.to_delete().join("\n"));
            let output = command.output().unwrap();
            let killed = output.status.signal() == Some(Signal::KILL.as_raw());
            totals.runs += 1;
            totals.kills += u64::from(killed);
            if let Some(lost) = lost {
                totals.power_cuts += 1;
                cut_power(&directory.join("journal"), lost);
            }
            let exchanges = parse(&fs::read(directory.join("record")).unwrap_or_default());
            let circumstances =
                Circumstances { body_failed: false, killed, unreadable_messages: false };
            let (_, problems) = fixture.check(&exchanges, circumstances);
            totals.problems.extend(problems.iter().map(|problem| format!("call {at}: {problem}")));
            if !killed {
                if !output.status.success() {
                    let errors = String::from_utf8_lossy(&output.stderr);
                    totals.problems.push(format!("call {at}: {}: {errors}", output.status));
                }
                break;
            }
        }
        totals
    }

    fn command(self, directory: &Path) -> Command {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "sweep::child", "--nocapture", "--test-threads=1"]);
        command.env(SCENARIO, self.scenario.name).env(MODE, self.mode.to_string());
        command.env(DIRECTORY, directory);
        command
    }

    /// Does the job, in the child process.
    pub(super) fn perform(self) {
        let directory = env::var_os(DIRECTORY).unwrap();
        let directory = Path::new(&directory);
        // The test harness has begun a line.
        println!();
        match self.mode() {
            Mode::Fault(fault, extent) => self.fail(fault, extent, directory),
            Mode::Kill(fault) => self.die(fault, directory, None),
            Mode::PowerCut(fault, _) => {
                let journal = directory.join("journal");
                fs::create_dir(&journal).unwrap();
                self.die(fault, directory, Some(Journal::new(&journal)));
            }
        }
    }

    fn fail(self, fault: Fault, extent: Extent, directory: &Path) {
        let log = Log::of_process();
        let mut fixture = Fixture::new(self.scenario, directory);
        // Descriptors that the first session opens for the whole process are no leak.
        fixture.reset();
        fixture.warm_up();
        let (mut runs, mut faults) = (0, 0);
        for at in 1.. {
            fixture.reset();
            let plan = Plan { fault: Some(fault), at, extent, ..Plan::default() };
            let (hits, problems) = fixture.run(plan, &log);
            let first = hits.first();
            for problem in problems {
                let place = first.map(|hit| format!("{} {:?}", hit.call, hit.file));
                println!("problem: call {at} ({}): {problem}", place.unwrap_or_default());
            }
            runs += 1;
            faults += hits.len();
            if hits.is_empty() {
                break;
            }
        }
        println!("counts: {runs} {faults}");
    }

    fn die(self, fault: Fault, directory: &Path, journal: Option<Journal>) {
        let fixture = Fixture::new(self.scenario, directory);
        let record = Record::in_file(&directory.join("record"));
        let at = env::var(AT).unwrap().parse().unwrap();
        let to_delete = env::var(TO_DELETE).unwrap();
        let to_delete = to_delete.lines().map(str::to_owned).collect::<Vec<_>>();
        let plan = Plan { fault: Some(fault), at, journal, ..Plan::default() };
        fixture.perform(plan, &to_delete, &record);
        assert_eq!(fixture.wait_until_idle(usize::MAX), []);
    }
}

impl Totals {
    pub(super) fn add(&mut self, other: Self) {
        self.runs += other.runs;
        self.faults += other.faults;
        self.kills += other.kills;
        self.power_cuts += other.power_cuts;
        self.problems.extend(other.problems);
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, faults, kills, power_cuts, problems } = self;
        write!(
            f,
            "{runs:6} sessions, {faults:6} faults, {kills:5} kills, {power_cuts:5} of them power \
             cuts, {} violations",
            problems.len()
        )
    }
}

const fn error(errno: Errno, extent: Extent) -> Mode {
    Mode::Fault(Fault::Error(errno), extent)
}

/// All kinds of faults.
const MODES: [Mode; 22] = [
    error(Errno::IO, Extent::Once),
    error(Errno::NOSPC, Extent::Once),
    error(Errno::ACCESS, Extent::Once),
    error(Errno::INTR, Extent::Once),
    error(Errno::STALE, Extent::Once),
    error(Errno::MFILE, Extent::Once),
    error(Errno::NOMEM, Extent::Once),
    error(Errno::ROFS, Extent::Once),
    Mode::Fault(Fault::Short, Extent::Once),
    error(Errno::IO, Extent::ForGood),
    error(Errno::NOSPC, Extent::ForGood),
    error(Errno::ACCESS, Extent::ForGood),
    error(Errno::INTR, Extent::ForGood),
    error(Errno::STALE, Extent::ForGood),
    error(Errno::MFILE, Extent::ForGood),
    error(Errno::NOMEM, Extent::ForGood),
    error(Errno::ROFS, Extent::ForGood),
    Mode::Fault(Fault::Short, Extent::ForGood),
    Mode::Kill(Fault::KilledBefore),
    Mode::Kill(Fault::KilledAfter),
    Mode::PowerCut(Fault::KilledAfter, Lost::All),
    Mode::PowerCut(Fault::KilledAfter, Lost::EveryOther),
];

/// The kinds of faults that two minutes are enough for.
const DEFAULT: [Mode; 5] = [
    error(Errno::IO, Extent::Once),
    error(Errno::ACCESS, Extent::Once),
    Mode::Fault(Fault::Short, Extent::Once),
    error(Errno::IO, Extent::ForGood),
    Mode::PowerCut(Fault::KilledAfter, Lost::All),
];

pub(super) const SWEEP: &str = "RESTANTE_SWEEP";
const SCENARIO: &str = "RESTANTE_SWEEP_SCENARIO";
const MODE: &str = "RESTANTE_SWEEP_MODE";
const DIRECTORY: &str = "RESTANTE_SWEEP_DIRECTORY";
const AT: &str = "RESTANTE_SWEEP_AT";
const TO_DELETE: &str = "RESTANTE_SWEEP_TO_DELETE";
