//! A fault at every call of a scenario: what the process that supervises it does, and what the one
//! does to which it happens.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;
use std::{env, fmt, fs};

use rustix::io::Errno;
use rustix::process::Signal;

use super::record::{Record, parse};
use super::scenario::Scenario;
use super::stage::{Log, Stage};
use super::verdict::Circumstances;
use crate::mailbox::maildir::{Extent, Fault, Journal, Lost, Plan, cut_power};

/// A scenario and what happens in it.
#[derive(Clone, Copy)]
pub(super) struct Job {
    pub(super) scenario: &'static Scenario,
    mode: usize,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Fault(Fault, Extent),
    Kill(Fault),
    PowerCut(Fault, Lost),
}

/// What came of it.
#[derive(Default)]
pub(super) struct Tally {
    runs: u64,
    faults: u64,
    kills: u64,
    power_cuts: u64,
    pub(super) problems: Vec<String>,
}

impl Job {
    /// The jobs of a scenario.
    pub(super) fn of(scenario: &'static Scenario, whole: bool) -> Vec<Self> {
        let dies = |mode: &Mode| matches!(mode, Mode::Kill(_) | Mode::PowerCut(..));
        let wanted =
            |mode: &Mode| whole || DEFAULT.contains(mode) && (scenario.removes() || !dies(mode));
        let modes = MODES.iter().enumerate().filter(|(_, mode)| wanted(mode));
        modes.map(|(mode, _)| Self { scenario, mode }).collect()
    }

    /// The job that this process was started for.
    pub(super) fn of_this_process() -> Option<Self> {
        let name = env::var(SCENARIO).ok()?;
        let scenario = Scenario::ALL.iter().find(|scenario| scenario.name == name).unwrap();
        Some(Self { scenario, mode: env::var(MODE).unwrap().parse().unwrap() })
    }

    fn mode(self) -> Mode {
        MODES[self.mode]
    }

    /// Has it done, and counts.
    pub(super) fn supervise(self) -> Tally {
        let directory = tempfile::tempdir().unwrap();
        let mut tally = match self.mode() {
            Mode::Fault(..) => self.supervise_faults(directory.path()),
            Mode::Kill(_) => self.supervise_deaths(directory.path(), None),
            Mode::PowerCut(_, lost) => self.supervise_deaths(directory.path(), Some(lost)),
        };
        let about = format!("{}, {:?}", self.scenario.name, self.mode());
        tally.problems.iter_mut().for_each(|problem| *problem = format!("{about}, {problem}"));
        tally
    }

    fn supervise_faults(self, directory: &Path) -> Tally {
        let output = self.command(directory).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let mut tally = Tally::default();
        for line in text.lines() {
            if let Some(problem) = line.strip_prefix("problem: ") {
                tally.problems.push(problem.to_owned());
            }
            if let Some(counts) = line.strip_prefix("counts: ") {
                let (runs, faults) = counts.split_once(' ').unwrap();
                (tally.runs, tally.faults) = (runs.parse().unwrap(), faults.parse().unwrap());
            }
        }
        if tally.runs == 0 {
            let errors = String::from_utf8_lossy(&output.stderr);
            tally.problems.push(format!("no result: {text}{errors}"));
        }
        tally
    }

    fn supervise_deaths(self, directory: &Path, lost: Option<Lost>) -> Tally {
        let mut tally = Tally::default();
        let mut stage = Stage::new(self.scenario, directory);
        for at in 1.. {
            stage.set();
            for old in ["record", "journal"].map(|name| directory.join(name)) {
                drop(fs::remove_dir_all(&old).or_else(|_| fs::remove_file(&old)));
            }
            let mut command = self.command(directory);
            command.env(AT, at.to_string()).env(UNWANTED, stage.unwanted().join("\n"));
            let output = command.output().unwrap();
            let killed = output.status.signal() == Some(Signal::KILL.as_raw());
            tally.runs += 1;
            tally.kills += u64::from(killed);
            if let Some(lost) = lost {
                tally.power_cuts += 1;
                cut_power(&directory.join("journal"), lost);
            }
            let exchanges = parse(&fs::read(directory.join("record")).unwrap_or_default());
            let circumstances =
                Circumstances { body_failed: false, killed, closed_messages: false };
            let (_, problems) = stage.judge(&exchanges, circumstances);
            tally.problems.extend(problems.iter().map(|problem| format!("call {at}: {problem}")));
            if !killed {
                if !output.status.success() {
                    let errors = String::from_utf8_lossy(&output.stderr);
                    tally.problems.push(format!("call {at}: {}: {errors}", output.status));
                }
                break;
            }
        }
        tally
    }

    fn command(self, directory: &Path) -> Command {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "sweep::child", "--nocapture", "--test-threads=1"]);
        command.env(SCENARIO, self.scenario.name).env(MODE, self.mode.to_string());
        command.env(DIRECTORY, directory);
        command
    }

    /// Does it, in the process that was started for it.
    pub(super) fn perform(self) {
        let directory = env::var_os(DIRECTORY).unwrap();
        let directory = Path::new(&directory);
        // What runs tests has begun a line.
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
        let mut stage = Stage::new(self.scenario, directory);
        // What a process opens at its first session and keeps is no descriptor too many.
        stage.set();
        stage.rehearse();
        let (mut runs, mut faults) = (0, 0);
        for at in 1.. {
            stage.set();
            let plan = Plan { fault: Some(fault), at, extent, ..Plan::default() };
            let (hits, problems) = stage.run(plan, &log);
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
        let stage = Stage::new(self.scenario, directory);
        let record = Record::in_file(&directory.join("record"));
        let at = env::var(AT).unwrap().parse().unwrap();
        let unwanted = env::var(UNWANTED).unwrap();
        let unwanted = unwanted.lines().map(str::to_owned).collect::<Vec<_>>();
        let plan = Plan { fault: Some(fault), at, journal, ..Plan::default() };
        stage.perform(plan, &unwanted, &record);
        assert_eq!(stage.come_to_rest(usize::MAX), Vec::<String>::new());
    }
}

impl Tally {
    pub(super) fn add(&mut self, other: Self) {
        self.runs += other.runs;
        self.faults += other.faults;
        self.kills += other.kills;
        self.power_cuts += other.power_cuts;
        self.problems.extend(other.problems);
    }
}

impl fmt::Display for Tally {
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

/// All that can happen.
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

/// What happens in two minutes.
const DEFAULT: [Mode; 5] = [
    error(Errno::IO, Extent::Once),
    error(Errno::ACCESS, Extent::Once),
    Mode::Fault(Fault::Short, Extent::Once),
    error(Errno::IO, Extent::ForGood),
    Mode::PowerCut(Fault::KilledAfter, Lost::All),
];

pub(super) const WHOLE: &str = "RESTANTE_SWEEP";
const SCENARIO: &str = "RESTANTE_SWEEP_SCENARIO";
const MODE: &str = "RESTANTE_SWEEP_MODE";
const DIRECTORY: &str = "RESTANTE_SWEEP_DIRECTORY";
const AT: &str = "RESTANTE_SWEEP_AT";
const UNWANTED: &str = "RESTANTE_SWEEP_UNWANTED";
