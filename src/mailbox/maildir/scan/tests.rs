//! The scan, tested against a model of two directories that other programs change meanwhile: every
//! order of events up to a small bound, and every answer that the system may give.
//!
//! The model relies only on what POSIX says of readdir(3): a name that exists from the opening of
//! the directory to the reading of its end is returned exactly once; a name that is added or
//! removed meanwhile, once or not at all. A rename removes one name and adds another, so a renamed
//! file may be seen once, twice or never. A name is returned with the inode of its file.
//!
//! Time stamps follow one of three models: each event has its own time; all events have the same
//! time, because the clock is coarse; or events leave no stamps, as on a network.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::super::super::Failure;
use super::super::file_id::FileId;
use super::super::folder::{Folder, Ignored};
use super::super::separator::Separator;
use super::super::stamp::{Moment, Stamp, Stamps};
use super::*;

/// How events change the stamps of directories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stamping {
    Fine,
    Coarse,
    Never,
}

/// A sequence of decisions, enumerated until every combination has been taken.
#[derive(Debug, Default)]
struct Decisions {
    taken: Vec<(usize, usize)>,
    next: usize,
}

impl Decisions {
    /// Takes one of `ways` branches.
    fn decide(&mut self, ways: usize) -> usize {
        if self.next == self.taken.len() {
            self.taken.push((0, ways));
        }
        let (way, of) = self.taken[self.next];
        assert_eq!(of, ways, "the same decisions lead to the same place");
        self.next += 1;
        way
    }

    /// Goes back to the start to take other branches. Returns whether there are any.
    fn rewind(&mut self) -> bool {
        self.next = 0;
        while let Some((way, ways)) = self.taken.pop() {
            if way + 1 < ways {
                self.taken.push((way + 1, ways));
                return true;
            }
        }
        false
    }
}

/// A message: its file name is the number here, and flags in `cur`.
#[derive(Clone, Copy, Debug)]
struct Mail {
    at: Option<(Folder, bool)>,
    /// It may be delivered, moved and renamed.
    moves: bool,
    /// It may be removed.
    goes: bool,
}

#[derive(Debug)]
struct State {
    decisions: Decisions,
    mails: Vec<Mail>,
    events: usize,
    time: i64,
    changed: [i64; 2],
    /// Names that have been added or removed since a directory was opened.
    touched: Vec<(Folder, Vec<u8>, u64)>,
    /// The files that existed at the start and have not been removed.
    present: BTreeSet<usize>,
}

#[derive(Debug)]
struct Model {
    stamping: Stamping,
    state: RefCell<State>,
}

fn name((folder, flag): (Folder, bool), number: usize) -> Vec<u8> {
    let flags = match folder {
        Folder::New => "",
        Folder::Cur => [":2,", ":2,S"][usize::from(flag)],
    };
    format!("{number}.m{flags}").into_bytes()
}

impl State {
    /// Performs any of the possible events, or none.
    fn pass_time(&mut self, stamping: Stamping) {
        while self.events > 0 {
            let mut options = Vec::new();
            for (number, mail) in self.mails.iter().enumerate() {
                let moved = match mail.at {
                    None => (Folder::New, false),
                    Some((Folder::New, _)) => (Folder::Cur, false),
                    Some((Folder::Cur, flag)) => (Folder::Cur, !flag),
                };
                if mail.moves {
                    options.push((number, Some(moved)));
                }
                if mail.goes && mail.at.is_some() {
                    options.push((number, None));
                }
            }
            match self.decisions.decide(options.len() + 1).checked_sub(1) {
                Some(option) => self.happen(options[option], stamping),
                None => break,
            }
        }
        if stamping == Stamping::Fine {
            self.time += 1;
        }
    }

    fn happen(&mut self, (number, to): (usize, Option<(Folder, bool)>), stamping: Stamping) {
        self.events -= 1;
        if stamping == Stamping::Fine {
            self.time += 1;
        }
        let from = std::mem::replace(&mut self.mails[number].at, to);
        for location in [from, to].into_iter().flatten() {
            self.touched.push((location.0, name(location, number), number as u64 + 1));
            if stamping != Stamping::Never {
                self.changed[location.0 as usize] = self.time;
            }
        }
        if to.is_none() {
            self.mails[number].moves = false;
            self.present.remove(&number);
        }
    }
}

impl Model {
    fn step<T>(&self, answer: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.borrow_mut();
        state.pass_time(self.stamping);
        answer(&mut state)
    }
}

impl View for Model {
    fn separator(&self) -> Separator {
        Separator::Colon
    }

    fn read(&self, folder: Folder, mut each: impl FnMut(&[u8], u64)) -> Result<Ignored, Failure> {
        self.step(|state| state.touched.clear());
        let given = self.step(|state| {
            let touched = std::mem::take(&mut state.touched);
            let mut given = Vec::new();
            for (number, mail) in state.mails.iter().enumerate() {
                let Some(location) = mail.at.filter(|location| location.0 == folder) else {
                    continue;
                };
                let entry = (folder, name(location, number), number as u64 + 1);
                if !touched.contains(&entry) {
                    given.push(entry);
                }
            }
            let doubtful: BTreeSet<_> = touched.into_iter().filter(|it| it.0 == folder).collect();
            given.extend(doubtful.into_iter().filter(|_| state.decisions.decide(2) == 1));
            given
        });
        for (_, name, inode) in given {
            each(&name, inode);
        }
        Ok(Ignored::default())
    }

    fn stat(&self, folder: Folder, wanted: &[u8]) -> Result<Option<Inode>, Errno> {
        self.step(|state| {
            let is_there = |(number, mail): (usize, &Mail)| {
                let location = mail.at.filter(|location| location.0 == folder)?;
                (name(location, number) == wanted).then(|| Inode::new(number as u64 + 1))
            };
            state.mails.iter().enumerate().find_map(is_there).ok_or(Errno::NOENT)
        })
    }

    fn inode(&self, number: u64) -> Option<Inode> {
        Inode::new(number)
    }

    fn has_stable_inodes(&self) -> bool {
        true
    }

    fn describe(&self, folder: Folder, name: &[u8]) -> String {
        format!("{folder:?} {}", name.escape_ascii())
    }

    fn clock(&self) -> Option<Moment> {
        self.step(|state| Some(Moment::at(state.time)))
    }

    fn stamps(&self) -> Result<Stamps, Failure> {
        let stamp = |state: &State, folder: Folder| {
            let number = folder as usize;
            let id = FileId::from_words([1, number as u64]);
            Stamp::new(id, Moment::at(state.changed[number]))
        };
        let new = self.step(|state| stamp(state, Folder::New));
        let cur = self.step(|state| stamp(state, Folder::Cur));
        Ok(Stamps { new, cur })
    }

    fn have_reliable_ctime(&self) -> bool {
        self.stamping != Stamping::Never
    }
}

/// Scans once for each combination of decisions. Returns their number.
fn in_all_ways(stamping: Stamping, events: usize, mails: &[Mail]) -> usize {
    let mut decisions = Decisions::default();
    let mut ways = 0;
    loop {
        let there = (0..mails.len()).filter(|&number| mails[number].at.is_some());
        let state = State {
            decisions,
            mails: mails.to_vec(),
            events,
            time: 10,
            changed: [1, 1],
            touched: Vec::new(),
            present: there.collect(),
        };
        let model = Model { stamping, state: RefCell::new(state) };
        let scan = scan(&model, &Index::default()).unwrap();
        let state = model.state.into_inner();
        let uniques = scan.files.iter().map(|file| scan.seen.unique(&file.sighting).to_vec());
        let uniques: Vec<_> = uniques.collect();
        let unique = |number: usize| name((Folder::New, false), number);
        for number in 0..mails.len() {
            let times = uniques.iter().filter(|it| **it == unique(number)).count();
            let least = usize::from(state.present.contains(&number));
            assert!((least..=1).contains(&times), "{number}: {times} times; {state:?}");
        }
        ways += 1;
        decisions = state.decisions;
        if !decisions.rewind() {
            return ways;
        }
    }
}

const STILL: Mail = Mail { at: Some((Folder::Cur, false)), moves: false, goes: false };
const NEW: Mail = Mail { at: Some((Folder::New, false)), moves: true, goes: false };
const SEEN: Mail = Mail { at: Some((Folder::Cur, false)), moves: true, goes: false };
const COMING: Mail = Mail { at: None, moves: true, goes: false };
const GOING: Mail = Mail { at: Some((Folder::Cur, true)), moves: false, goes: true };

/// A file that exists all the time is listed, even if it is renamed, and no file is listed twice.
#[test]
fn existing_messages_are_listed_once_in_any_order_of_events() {
    let mut ways = 0;
    for (stamping, events, mails) in [
        (Stamping::Fine, 2, &[STILL, NEW, SEEN, COMING, GOING][..]),
        (Stamping::Fine, 3, &[STILL, NEW]),
        (Stamping::Fine, 3, &[STILL, SEEN]),
        (Stamping::Coarse, 2, &[STILL, NEW]),
        (Stamping::Coarse, 2, &[STILL, SEEN]),
        (Stamping::Coarse, 1, &[STILL, NEW, SEEN, COMING, GOING]),
        (Stamping::Never, 2, &[STILL, NEW]),
        (Stamping::Never, 2, &[STILL, SEEN]),
        (Stamping::Never, 1, &[STILL, NEW, SEEN, COMING, GOING]),
    ] {
        ways += in_all_ways(stamping, events, mails);
    }
    assert!(ways > 1000, "{ways}");
}
