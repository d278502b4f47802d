//! A typed reader of TOML that goes on after a fault.
//!
//! A [`Book`] holds the text and collects faults; a [`Section`] is one table, an [`Entry`] one
//! value in it. Whatever is wrong is noted where it stands and answered with `None` or the default,
//! so that one pass finds everything. What the keys mean is not known here.
//!
//! - A misspelt key is a fault, and read as the key that was meant.
//! - Every value is written down as it counts, the defaults too: see [`Settings`].

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::Value;
use toml::de::DeTable;

use super::entry::Entry;
use super::fault::{Fault, NOT_TOML, Place};
use super::hint::{Meant, keys_of};
use super::position::Positions;
use super::setting::Settings;
use super::{KEYS, duration};

/// The text of a file and what is wrong with it.
pub(super) struct Book<'a> {
    text: &'a str,
    notes: RefCell<Vec<Note>>,
    /// Keys that stand in a section that has none of this name, and belong to another.
    misplaced: RefCell<BTreeSet<String>>,
    pub(super) settings: RefCell<Settings>,
    pub(super) positions: RefCell<Positions>,
    pub(super) files: RefCell<Vec<(String, PathBuf)>>,
}

/// What there is to know of a file besides what its values mean.
pub(super) struct Remarks {
    /// All faults in the order of the file.
    pub(super) faults: Vec<Fault>,
    /// Whether the whole file is TOML.
    pub(super) is_toml: bool,
    /// Whether sections can be told apart: no header of one is broken.
    pub(super) has_sections: bool,
    /// Every value that counts.
    pub(super) settings: Settings,
    /// Where every value stands.
    pub(super) positions: Positions,
    /// The files that are named, each by its key.
    pub(super) files: Vec<(String, PathBuf)>,
}

/// A fault, by the byte at which it stands.
struct Note {
    at: usize,
    kind: Kind,
    key: String,
    what: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The file is not TOML there.
    Syntax,
    /// Something is not there that should be.
    Missing,
    /// Something is there that should not be so.
    Wrong,
}

/// A whole number with its default and bounds.
pub(super) struct Number {
    pub(super) key: &'static str,
    pub(super) default: NonZeroU32,
    pub(super) most: u32,
}

/// A length of time with its default and bounds.
pub(super) struct Span {
    pub(super) key: &'static str,
    pub(super) default: Duration,
    pub(super) least: Duration,
    pub(super) most: Duration,
    /// Why it may not be shorter, when that needs saying.
    pub(super) why_least: Option<&'static str>,
}

/// One table of the file, or one that is absent: then it has no entries.
pub(super) struct Section<'a> {
    book: &'a Book<'a>,
    table: Option<&'a DeTable<'a>>,
    /// The section of [`KEYS`].
    name: &'static str,
    /// As `name`, with the place in a list: `tls.host[0]`.
    meant: String,
    /// The same as it is written.
    path: String,
    at: usize,
    /// Keys by the words that they are misspelt as.
    misspelt: Vec<(&'static str, String)>,
}

/// Where a section is: by the words that were meant, and by those that are written.
#[derive(Default)]
struct Paths {
    meant: String,
    written: String,
}

impl<'a> Book<'a> {
    /// Parses `text` as TOML as far as it is that.
    pub(super) fn open(text: &'a str) -> (Self, DeTable<'a>) {
        let (table, errors) = DeTable::parse_recoverable(text);
        let book = Self {
            text,
            notes: RefCell::default(),
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
                    (Kind::Wrong, key, "is there twice, keep one".to_owned())
                }
                message => (Kind::Syntax, NOT_TOML.to_owned(), plain(message)),
            };
            book.notes.borrow_mut().push(Note { at: span.start, kind, key, what });
        }
        (book, table.into_inner())
    }

    /// The table of the whole file.
    pub(super) fn root(&'a self, table: &'a DeTable<'a>) -> Section<'a> {
        Section::open(self, Some(table), "", Paths::default(), 0)
    }

    /// All that has been noted.
    ///
    /// A syntax error hides what may only follow from it: what is missing, further faults of its
    /// line, and, when it is in a header, everything else, for keys are then in the wrong section.
    /// A key that stands in the wrong section is not missing in the right one.
    pub(super) fn close(self) -> Remarks {
        let mut notes = self.notes.take();
        notes.sort_by_key(|note| (note.at, note.kind != Kind::Syntax));
        let line_of = |note: &Note| Place::of(self.text, note.at).line;
        let broken: BTreeSet<usize> =
            notes.iter().filter(|note| note.kind == Kind::Syntax).map(line_of).collect();
        let lines = self.text.lines().enumerate().filter(|(nth, _)| broken.contains(&(nth + 1)));
        let broken_header = lines.into_iter().any(|(_, line)| line.trim_start().starts_with('['));
        let mut reported = BTreeSet::new();
        notes.retain(|note| match note.kind {
            Kind::Syntax => reported.insert(line_of(note)),
            Kind::Missing => {
                let key = note.key.rsplit('.').next().unwrap_or_default();
                broken.is_empty() && !self.misplaced.borrow().contains(key)
            }
            // What is read in place of a broken value stands at the very start of the file.
            Kind::Wrong => {
                broken.is_empty()
                    || !broken_header && note.at > 0 && !broken.contains(&line_of(note))
            }
        });
        let place = |note: &Note| Some(Place::of(self.text, note.at));
        let fault = |note| Fault { place: place(&note), key: note.key, what: note.what };
        Remarks {
            faults: notes.into_iter().map(fault).collect(),
            is_toml: broken.is_empty(),
            has_sections: !broken_header,
            settings: self.settings.take(),
            positions: self.positions.take(),
            files: self.files.take(),
        }
    }

    pub(super) fn note(&self, at: usize, kind: Kind, key: &str, what: impl Into<String>) {
        // What is not TOML may have any character in it, and a fault is one line.
        let escaped = |c: char| match c.is_control() {
            true => c.escape_default().to_string(),
            false => c.to_string(),
        };
        let (key, what) = (key.to_owned(), what.into().chars().map(escaped).collect());
        self.notes.borrow_mut().push(Note { at, kind, key, what });
    }
}

impl<'a> Section<'a> {
    /// Notes the keys that are not known, and takes the rest.
    fn open(
        book: &'a Book<'a>,
        table: Option<&'a DeTable<'a>>,
        name: &'static str,
        Paths { meant, written: path }: Paths,
        at: usize,
    ) -> Self {
        let mut section = Self { book, table, name, meant, path, at, misspelt: Vec::new() };
        for key in table.into_iter().flat_map(DeTable::keys) {
            let word = key.get_ref().as_ref();
            if keys_of(name).contains(&word) {
                continue;
            }
            let meant = Meant::by(word, name);
            let path = section.path_of(&shown(word));
            book.note(key.span().start, Kind::Wrong, &path, meant.advice(name));
            match meant {
                Meant::Misspelt(near) => section.misspelt.push((near, word.to_owned())),
                Meant::Elsewhere(_) => {
                    book.misplaced.borrow_mut().insert(word.to_owned());
                }
                Meant::Nothing => {}
            }
        }
        section
    }

    /// Whether the file has this section.
    pub(super) fn is_present(&self) -> bool {
        self.table.is_some()
    }

    /// Notes that the section lacks something.
    pub(super) fn lacks(&self, key: &str, what: impl Into<String>) {
        self.book.note(self.at, Kind::Missing, &self.path_of(key), what);
    }

    /// Whether the key has been found in a section that it does not belong to.
    pub(super) fn is_misplaced(&self, key: &str) -> bool {
        self.book.misplaced.borrow().contains(key)
    }

    /// The value of a key, also when the key is misspelt.
    pub(super) fn entry(&self, key: &'static str) -> Option<Entry<'a>> {
        self.entry_as_written(key).or_else(|| {
            let (_, word) = self.misspelt.iter().find(|(near, _)| *near == key)?;
            self.entry_of(key, word)
        })
    }

    /// The value of a key.
    pub(super) fn entry_as_written(&self, key: &'static str) -> Option<Entry<'a>> {
        debug_assert!(keys_of(self.name).contains(&key), "{key} is not in KEYS");
        self.entry_of(key, key)
    }

    fn entry_of(&self, key: &'static str, word: &str) -> Option<Entry<'a>> {
        let value = self.table?.get(word)?;
        let entry = Entry {
            book: self.book,
            value: value.get_ref(),
            path: self.path_of(&shown(word)),
            at: value.span().start,
            key: (self.meant.clone(), key),
            nth: None,
        };
        entry.record_position();
        entry.set_as_written();
        Some(entry)
    }

    /// Says what counts in place of a key that is not there.
    pub(super) fn default(&self, key: &'static str, value: impl Into<Value>) {
        self.book.settings.borrow_mut().write_default(&self.meant, key, value.into());
    }

    /// The value of a key that must be there.
    pub(super) fn required(&self, key: &'static str, example: &str) -> Option<Entry<'a>> {
        let entry = self.entry(key);
        if entry.is_none() {
            self.lacks(key, format!("is missing, write {key} = {example}"));
        }
        entry
    }

    /// The section `[key]` within this one.
    pub(super) fn section(&self, key: &'static str) -> Self {
        let meant = path_in(&self.meant, key);
        let (mut at, mut written) = (self.at, self.path_of(key));
        let table = self.entry(key).and_then(|entry| {
            (at, written) = (entry.at, entry.path.clone());
            let table = entry.value.as_table();
            if table.is_none() {
                entry.mismatch(format!("a section [{}]", entry.path));
            }
            table
        });
        Self::open(self.book, table, self.child(key), Paths { meant, written }, at)
    }

    /// The sections `[[key]]` within this one.
    pub(super) fn sections(&self, key: &'static str) -> Vec<Self> {
        let Some(entry) = self.entry(key) else { return Vec::new() };
        let Some(list) = entry.value.as_array() else {
            if entry.value.is_table() {
                entry.refuse(format!("may be there several times, write [[{}]]", entry.path));
            } else {
                entry.mismatch(format!("a section [[{}]]", entry.path));
            }
            return Vec::new();
        };
        if list.is_empty() {
            entry.refuse(format!("is empty, write a section [[{}]]", entry.path));
        }
        let section = |(nth, item): (usize, Entry<'a>)| match item.value.as_table() {
            Some(table) => {
                let meant = format!("{}[{nth}]", path_in(&self.meant, key));
                let paths = Paths { meant, written: item.path };
                Some(Self::open(self.book, Some(table), self.child(key), paths, item.at))
            }
            None => {
                item.mismatch(format!("a section [[{}]]", entry.path));
                None
            }
        };
        entry.items(list).enumerate().filter_map(section).collect()
    }

    /// A whole number from 1.
    pub(super) fn number(&self, number: &Number) -> NonZeroU32 {
        self.default(number.key, i64::from(number.default.get()));
        self.entry(number.key).and_then(|entry| entry.number(number.most)).unwrap_or(number.default)
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, key: &'static str, default: bool) -> bool {
        self.sound_flag(key, default).unwrap_or(default)
    }

    /// `true` or `false`; nothing when it is neither.
    pub(super) fn sound_flag(&self, key: &'static str, default: bool) -> Option<bool> {
        self.default(key, default);
        self.entry(key).map_or(Some(default), |entry| entry.flag())
    }

    /// A length of time.
    pub(super) fn duration(&self, span: &Span) -> Duration {
        self.sound_duration(span).unwrap_or(span.default)
    }

    /// A length of time; nothing when it is wrong.
    pub(super) fn sound_duration(&self, span: &Span) -> Option<Duration> {
        self.default(span.key, duration::show(span.default));
        self.entry(span.key).map_or(Some(span.default), |entry| entry.duration(span))
    }

    /// One of the words that `T` knows.
    pub(super) fn choice<T: DeserializeOwned + Serialize>(
        &self,
        key: &'static str,
        default: T,
    ) -> T {
        let word = Value::try_from(&default).ok();
        let example = word.as_ref().map(Value::to_string).unwrap_or_default();
        if let Some(word) = word {
            self.default(key, word);
        }
        self.entry(key).and_then(|entry| entry.choice(&example)).unwrap_or(default)
    }

    fn path_of(&self, key: &str) -> String {
        path_in(&self.path, key)
    }

    /// The name in [`KEYS`] of a section within this one.
    fn child(&self, key: &'static str) -> &'static str {
        let path = path_in(self.name, key);
        KEYS.iter().map(|(name, _)| *name).find(|name| *name == path).unwrap_or(key)
    }
}

/// A key with its section.
pub(super) fn path_in(section: &str, key: &str) -> String {
    if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") }
}

/// A key that the file has: as it is when it needs no quotes, else escaped.
fn shown(key: &str) -> String {
    let bare = key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if bare && !key.is_empty() { key.to_owned() } else { format!("{key:?}") }
}

/// The TOML parser's message without what says nothing to a person.
fn plain(message: &str) -> String {
    let end = message.find(", expected nothing").or(message.find(", expected literal string"));
    message.get(..end.unwrap_or(message.len())).unwrap_or(message).to_owned()
}
