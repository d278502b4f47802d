//! A TOML file that is being read: its text, and what has been found in it so far.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::fault::{Fault, NOT_TOML, Place};
use super::setting::Settings;

/// The text of a file, and its faults so far.
pub(super) struct Document<'a> {
    text: &'a str,
    /// Relative paths start here.
    pub(super) base: &'a Path,
    faults: RefCell<Vec<FaultAt>>,
    /// Keys in the wrong section.
    pub(super) misplaced: RefCell<BTreeSet<String>>,
    pub(super) settings: RefCell<Settings>,
    pub(super) positions: RefCell<BTreeMap<String, usize>>,
    pub(super) files: RefCell<Vec<(String, PathBuf)>>,
}

/// What reading a document yields besides the values.
pub(super) struct ReadResult {
    /// All faults in the order of the file.
    pub(super) faults: Vec<Fault>,
    /// Whether the whole file is valid TOML.
    pub(super) is_toml: bool,
    /// Whether every section header is valid TOML.
    pub(super) has_sections: bool,
    /// Every effective value.
    pub(super) settings: Settings,
    /// The octet at which each value starts, by its key: `tls.host[0].certificate`.
    pub(super) positions: BTreeMap<String, usize>,
    /// The files that it names, each with its key.
    pub(super) files: Vec<(String, PathBuf)>,
}

/// A fault and its offset in the text.
struct FaultAt {
    at: usize,
    kind: Kind,
    key: String,
    what: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Invalid TOML.
    Syntax,
    /// A required key or section is missing.
    Missing,
    /// A key or value is wrong.
    Wrong,
}

impl<'a> Document<'a> {
    /// Parses `text`, as far as it is valid TOML.
    pub(super) fn open(text: &'a str, base: &'a Path) -> (Self, DeTable<'a>) {
        let (table, errors) = DeTable::parse_recoverable(text);
        let document = Self {
            text,
            base,
            faults: RefCell::default(),
            misplaced: RefCell::default(),
            settings: RefCell::default(),
            positions: RefCell::default(),
            files: RefCell::default(),
        };
        for error in errors {
            let span = error.span().unwrap_or_default();
            let (kind, key, what) = match error.message() {
                "duplicate key" => {
                    let key = shown(text.get(span.clone()).unwrap_or_default());
                    (Kind::Wrong, key, "occurs twice; remove one".to_owned())
                }
                message => (Kind::Syntax, NOT_TOML.to_owned(), plain(message)),
            };
            document.faults.borrow_mut().push(FaultAt { at: span.start, kind, key, what });
        }
        (document, table.into_inner())
    }

    /// Ends the reading and returns the faults that are to be shown.
    ///
    /// A syntax error hides faults that may only follow from it: missing keys and further faults of
    /// its line. If it is in a section header, it hides all others, since keys are then in the wrong
    /// section. A key in the wrong section is not also missing in the right one.
    pub(super) fn close(self) -> ReadResult {
        let mut faults = self.faults.take();
        faults.sort_by_key(|fault| (fault.at, fault.kind != Kind::Syntax));
        let line_of = |fault: &FaultAt| Place::of(self.text, fault.at).line;
        let broken: BTreeSet<usize> =
            faults.iter().filter(|fault| fault.kind == Kind::Syntax).map(line_of).collect();
        let lines = self.text.lines().enumerate().filter(|(nth, _)| broken.contains(&(nth + 1)));
        let broken_header = lines.into_iter().any(|(_, line)| line.trim_start().starts_with('['));
        let mut reported = BTreeSet::new();
        faults.retain(|fault| match fault.kind {
            Kind::Syntax => reported.insert(line_of(fault)),
            Kind::Missing => {
                let key = fault.key.rsplit('.').next().unwrap_or_default();
                broken.is_empty() && !self.misplaced.borrow().contains(key)
            }
            // The parser's substitute for an invalid value has offset 0.
            Kind::Wrong => {
                broken.is_empty()
                    || !broken_header && fault.at > 0 && !broken.contains(&line_of(fault))
            }
        });
        let placed = |FaultAt { at, key, what, .. }| {
            let place = Some(Place::of(self.text, at));
            Fault { place, key, what }
        };
        ReadResult {
            faults: faults.into_iter().map(placed).collect(),
            is_toml: broken.is_empty(),
            has_sections: !broken_header,
            settings: self.settings.take(),
            positions: self.positions.take(),
            files: self.files.take(),
        }
    }

    pub(super) fn report(&self, at: usize, kind: Kind, key: &str, what: impl Display) {
        // The text may contain any character, and a fault is one line.
        let escaped = |c: char| match c.is_control() {
            true => c.escape_default().to_string(),
            false => c.to_string(),
        };
        let (key, what) = (key.to_owned(), what.to_string().chars().map(escaped).collect());
        self.faults.borrow_mut().push(FaultAt { at, kind, key, what });
    }
}

/// A key with its section.
pub(super) fn path_in(section: &str, key: &str) -> String {
    if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") }
}

/// A key of the file, escaped if it needs quotes.
pub(super) fn shown(key: &str) -> String {
    let bare = key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if bare && !key.is_empty() { key.to_owned() } else { format!("{key:?}") }
}

/// The TOML parser's message without its unhelpful parts.
fn plain(message: &str) -> String {
    let end = message.find(", expected nothing").or(message.find(", expected literal string"));
    message.get(..end.unwrap_or(message.len())).unwrap_or(message).to_owned()
}
