//! A typed reader of TOML that goes on after a fault.
//!
//! A [`Book`] holds the text and collects faults; a [`Section`] is one table, an [`Entry`] one
//! value in it. Whatever is wrong is noted where it stands and answered with `None` or the default,
//! so that one pass finds everything. What the keys mean is not known here.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::num::NonZeroU32;
use std::time::Duration;

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeOwned};
use toml::de::{DeArray, DeTable, DeValue};

use super::fault::{Fault, Place};
use super::hint::{advice, either};
use super::{KEYS, duration};

/// The text of a file and what is wrong with it.
pub(super) struct Book<'a> {
    text: &'a str,
    notes: RefCell<Vec<Note>>,
}

/// A fault, by the byte at which it stands.
struct Note {
    at: usize,
    kind: Kind,
    key: String,
    what: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
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
    path: String,
    at: usize,
}

/// One value of the file.
pub(super) struct Entry<'a> {
    book: &'a Book<'a>,
    value: &'a DeValue<'a>,
    path: String,
    at: usize,
}

impl<'a> Book<'a> {
    /// Parses `text` as TOML as far as it is that.
    pub(super) fn open(text: &'a str) -> (Self, DeTable<'a>) {
        let (table, errors) = DeTable::parse_recoverable(text);
        let book = Self { text, notes: RefCell::default() };
        for error in errors {
            let span = error.span().unwrap_or_default();
            let (kind, key, what) = match error.message() {
                "duplicate key" => {
                    let key = shown(text.get(span.clone()).unwrap_or_default());
                    (Kind::Wrong, key, "is there twice, keep one".to_owned())
                }
                message => (Kind::Syntax, "not TOML".to_owned(), plain(message)),
            };
            book.notes.borrow_mut().push(Note { at: span.start, kind, key, what });
        }
        (book, table.into_inner())
    }

    /// The table of the whole file.
    pub(super) fn root(&'a self, table: &'a DeTable<'a>) -> Section<'a> {
        Section::open(self, Some(table), "", String::new(), 0)
    }

    /// All faults in the order of the file.
    ///
    /// A syntax error hides what may only follow from it: what is missing, further faults of its
    /// line, and, when it is in a header, everything else, for keys are then in the wrong section.
    pub(super) fn close(self) -> Vec<Fault> {
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
            Kind::Missing => broken.is_empty(),
            // What is read in place of a broken value stands at the very start of the file.
            Kind::Wrong => {
                broken.is_empty()
                    || !broken_header && note.at > 0 && !broken.contains(&line_of(note))
            }
        });
        let place = |note: &Note| Some(Place::of(self.text, note.at));
        notes
            .into_iter()
            .map(|note| Fault { place: place(&note), key: note.key, what: note.what })
            .collect()
    }

    fn note(&self, at: usize, kind: Kind, key: &str, what: impl Into<String>) {
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
        path: String,
        at: usize,
    ) -> Self {
        let section = Self { book, table, name, path, at };
        for key in table.into_iter().flat_map(DeTable::keys) {
            let word = key.get_ref().as_ref();
            if !section.known().contains(&word) {
                let path = section.path_of(&shown(word));
                book.note(key.span().start, Kind::Wrong, &path, advice(word, name));
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

    /// The value of a key.
    pub(super) fn entry(&self, key: &'static str) -> Option<Entry<'a>> {
        debug_assert!(self.known().contains(&key), "{key} is not in KEYS");
        let value = self.table?.get(key)?;
        let (path, at) = (self.path_of(key), value.span().start);
        Some(Entry { book: self.book, value: value.get_ref(), path, at })
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
        let mut at = self.at;
        let table = self.entry(key).and_then(|entry| {
            at = entry.at;
            let table = entry.value.as_table();
            if table.is_none() {
                entry.mismatch(format!("a section [{}]", entry.path));
            }
            table
        });
        Self::open(self.book, table, self.child(key), self.path_of(key), at)
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
        let section = |item: Entry<'a>| match item.value.as_table() {
            Some(table) => {
                Some(Self::open(self.book, Some(table), self.child(key), item.path, item.at))
            }
            None => {
                item.mismatch(format!("a section [[{}]]", entry.path));
                None
            }
        };
        entry.items(list).filter_map(section).collect()
    }

    /// A whole number from 1.
    pub(super) fn number(&self, number: &Number) -> NonZeroU32 {
        self.entry(number.key).and_then(|entry| entry.number(number.most)).unwrap_or(number.default)
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, key: &'static str, default: bool) -> bool {
        self.entry(key).and_then(|entry| entry.flag()).unwrap_or(default)
    }

    /// A length of time.
    pub(super) fn duration(&self, span: &Span) -> Duration {
        self.entry(span.key).and_then(|entry| entry.duration(span)).unwrap_or(span.default)
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn known(&self) -> &'static [&'static str] {
        KEYS.iter().find(|(name, _)| *name == self.name).map_or(&[], |(_, keys)| keys)
    }

    /// The name in [`KEYS`] of a section within this one.
    fn child(&self, key: &'static str) -> &'static str {
        let path =
            if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) };
        KEYS.iter().map(|(name, _)| *name).find(|name| *name == path).unwrap_or(key)
    }
}

impl<'a> Entry<'a> {
    /// Notes what is wrong with the value.
    pub(super) fn refuse(&self, what: impl Into<String>) {
        self.book.note(self.at, Kind::Wrong, &self.path, what);
    }

    /// Notes that the value is of the wrong type.
    fn mismatch(&self, write: impl Display) {
        let kind = match self.value {
            DeValue::String(_) => "text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a section",
        };
        self.refuse(format!("is {kind}, write {write}"));
    }

    /// Takes what a check of the value gives, or notes what it says.
    pub(super) fn checked<T>(&self, result: Result<T, String>) -> Option<T> {
        result.map_err(|what| self.refuse(what)).ok()
    }

    /// Text in quotes, say `example`.
    pub(super) fn text(&self, example: &str) -> Option<&'a str> {
        let text = self.value.as_str();
        if text.is_none() {
            self.mismatch(format!("text in quotes: {example}"));
        }
        text
    }

    /// The path of a file, say `example`.
    pub(super) fn path(&self, example: &str) -> Option<&'a str> {
        let text = self.text(example)?;
        if text.is_empty() || text.contains('\0') {
            self.refuse(format!("{text:?} is not a path, write that of a file: {example}"));
            return None;
        }
        Some(text)
    }

    /// `true` or `false`.
    pub(super) fn flag(&self) -> Option<bool> {
        let flag = self.value.as_bool();
        if flag.is_none() {
            self.mismatch("true or false");
        }
        flag
    }

    /// One of the words that `T` knows, say `example`.
    pub(super) fn choice<T: DeserializeOwned>(&self, example: &str) -> Option<T> {
        let text = self.text(example)?;
        let choice = T::deserialize(StrDeserializer::<Unknown>::new(text));
        self.checked(choice.map_err(|Unknown(expected)| {
            let words: Vec<String> = expected.iter().map(|word| format!("{word:?}")).collect();
            format!("{text:?} is not known here, write {}", either(&words))
        }))
    }

    /// A list of texts, each say `example`.
    pub(super) fn texts(&self, example: &str) -> Option<Vec<(Self, &'a str)>> {
        let Some(list) = self.value.as_array() else {
            self.mismatch(format!("a list: [{example}]"));
            return None;
        };
        // Every item is looked at before the list is given up for one of them.
        let texts: Vec<_> =
            self.items(list).map(|item| item.text(example).map(|text| (item, text))).collect();
        texts.into_iter().collect()
    }

    /// The items of a list that is this value.
    fn items(&self, list: &'a DeArray<'a>) -> impl Iterator<Item = Self> {
        list.iter().enumerate().map(|(nth, item)| Self {
            book: self.book,
            value: item.get_ref(),
            path: format!("{}[{nth}]", self.path),
            at: item.span().start,
        })
    }

    fn number(&self, most: u32) -> Option<NonZeroU32> {
        let Some(digits) = self.value.as_integer() else {
            let bare = if self.value.is_str() { " without quotes" } else { "" };
            self.mismatch(format!("a whole number from 1 to {most}{bare}"));
            return None;
        };
        let number = u32::from_str_radix(digits.as_str(), digits.radix()).ok();
        let number = number.and_then(NonZeroU32::new).filter(|number| number.get() <= most);
        if number.is_none() {
            self.refuse(format!("{digits} is out of range, write a whole number from 1 to {most}"));
        }
        number
    }

    fn duration(&self, span: &Span) -> Option<Duration> {
        let (least, most) = (duration::show(span.least), duration::show(span.most));
        let range = format!("from \"{least}\" to \"{most}\"");
        if let Some(digits) = self.value.as_integer() {
            self.refuse(format!("{digits} has no unit, write \"{digits}s\" for seconds"));
            return None;
        }
        let Some(text) = self.value.as_str() else {
            self.mismatch(format!("a length of time {range}"));
            return None;
        };
        let Some(length) = duration::parse(text) else {
            self.refuse(format!(
                "{text:?} is not a length of time, write a number with ms, s, m, h or d, {range}"
            ));
            return None;
        };
        match span.why_least.filter(|_| length < span.least) {
            Some(why) => {
                self.refuse(format!("{text:?} is too short, {why}: write a length of time {range}"))
            }
            None if length < span.least || length > span.most => {
                self.refuse(format!("{text:?} is out of range, write a length of time {range}"));
            }
            None => return Some(length),
        }
        None
    }
}

/// The byte at which the value of a key stands, or what surrounds it as far as that is there.
pub(super) fn offset_of(text: &str, key: &str) -> usize {
    let (root, _) = DeTable::parse_recoverable(text);
    let mut found = 0;
    let mut table = Some(root.get_ref());
    for step in key.split('.') {
        let (name, nth) = step
            .strip_suffix(']')
            .and_then(|step| step.split_once('['))
            .map_or((step, None), |(name, nth)| (name, nth.parse::<usize>().ok()));
        let Some(mut value) = table.and_then(|table| table.get(name)) else { break };
        found = value.span().start;
        if let Some(nth) = nth {
            let item = value.get_ref().as_array().and_then(|list| list.get(nth));
            let Some(item) = item else { break };
            value = item;
            found = value.span().start;
        }
        table = value.get_ref().as_table();
    }
    found
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

/// The words that a choice knows, as serde tells them when it is given another.
#[derive(Debug)]
struct Unknown(&'static [&'static str]);

impl de::Error for Unknown {
    fn custom<T: Display>(_: T) -> Self {
        Self(&[])
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self(expected)
    }
}

impl Display for Unknown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "expected one of {:?}", self.0)
    }
}

impl std::error::Error for Unknown {}
