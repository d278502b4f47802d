//! A typed reader of TOML that continues after a fault.
//!
//! A [`Document`] holds the text and collects faults; a [`Section`] is one table, an [`Entry`] one
//! value in it. A fault is recorded with its position, and the reader returns `None` or the default,
//! so that one pass finds all faults. The meaning of the keys is in `build`.
//!
//! - A misspelt key is a fault, and is read as the intended key.
//! - Every effective value is recorded, including defaults: see [`Settings`].

use std::fmt::Display;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::Value;
use toml::de::DeTable;

use super::bounds::{Number, Span};
use super::document::{Document, Kind, path_in, shown};
use super::duration;
use super::entry::Entry;
use super::hint::{Meant, keys_of};

/// One table of the file. An absent one has no entries.
pub(super) struct Section<'a> {
    document: &'a Document<'a>,
    table: Option<&'a DeTable<'a>>,
    /// The section of [`KEYS`](super::KEYS), with its index in a list: `tls.host[0]`.
    meant: String,
    /// The same, as written in the file.
    path: String,
    at: usize,
    /// Keys with the words that they are misspelt as.
    misspelt: Vec<(&'static str, String)>,
}

impl<'a> Section<'a> {
    /// The table of the whole file.
    pub(super) fn root(document: &'a Document<'a>, table: &'a DeTable<'a>) -> Self {
        Self::open(document, Some(table), String::new(), String::new(), 0)
    }

    /// Opens a table and reports its unknown keys.
    fn open(
        document: &'a Document<'a>,
        table: Option<&'a DeTable<'a>>,
        meant: String,
        path: String,
        at: usize,
    ) -> Self {
        let mut section = Self { document, table, meant, path, at, misspelt: Vec::new() };
        for key in table.into_iter().flat_map(DeTable::keys) {
            let word = key.get_ref().as_ref();
            if keys_of(section.name()).contains(&word) {
                continue;
            }
            let meant = Meant::by(word, section.name());
            let path = section.path_of(&shown(word));
            document.report(key.span().start, Kind::Wrong, &path, meant.advice(section.name()));
            match meant {
                Meant::Misspelt(near) => section.misspelt.push((near, word.to_owned())),
                Meant::Elsewhere(_) => {
                    document.misplaced.borrow_mut().insert(word.to_owned());
                }
                Meant::Unknown => {}
            }
        }
        section
    }

    /// Whether the file has this section.
    pub(super) fn is_present(&self) -> bool {
        self.table.is_some()
    }

    /// Reports a missing key.
    pub(super) fn lacks(&self, key: &str, what: impl Display) {
        self.document.report(self.at, Kind::Missing, &self.path_of(key), what);
    }

    /// Reports these keys if they are present. Misspelt ones have been reported already.
    pub(super) fn refuse(&self, keys: &[&'static str], why: &str) {
        for entry in keys.iter().filter_map(|key| self.entry_as_written(key)) {
            entry.refuse(why);
        }
    }

    /// Whether the key has been found in the wrong section.
    pub(super) fn is_misplaced(&self, key: &str) -> bool {
        self.document.misplaced.borrow().contains(key)
    }

    /// The value of a key, even if the key is misspelt.
    pub(super) fn entry(&self, key: &'static str) -> Option<Entry<'a>> {
        self.entry_as_written(key).or_else(|| {
            let (_, word) = self.misspelt.iter().find(|(near, _)| *near == key)?;
            self.entry_of(key, word)
        })
    }

    /// The value of a correctly spelt key.
    fn entry_as_written(&self, key: &'static str) -> Option<Entry<'a>> {
        debug_assert!(keys_of(self.name()).contains(&key), "{key} is not in KEYS");
        self.entry_of(key, key)
    }

    fn entry_of(&self, key: &'static str, word: &str) -> Option<Entry<'a>> {
        let value = self.table?.get(word)?;
        let entry = Entry {
            document: self.document,
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

    /// Records the default of a key.
    pub(super) fn default(&self, key: &'static str, value: impl Into<Value>) {
        self.document.settings.borrow_mut().write_default(&self.meant, key, value.into());
    }

    /// The value of a required key.
    pub(super) fn required(&self, key: &'static str, example: &str) -> Option<Entry<'a>> {
        let entry = self.entry(key);
        if entry.is_none() {
            self.lacks(key, format!("is missing; write {key} = {example}"));
        }
        entry
    }

    /// The section `[key]` within this one.
    pub(super) fn section(&self, key: &'static str) -> Self {
        let (mut at, mut path) = (self.at, self.path_of(key));
        let table = self.entry(key).and_then(|entry| {
            (at, path) = (entry.at, entry.path.clone());
            let table = entry.value.as_table();
            if table.is_none() {
                entry.mismatch(format!("a section [{}]", entry.path));
            }
            table
        });
        Self::open(self.document, table, path_in(&self.meant, key), path, at)
    }

    /// The sections `[[key]]` within this one.
    pub(super) fn sections(&self, key: &'static str) -> Vec<Self> {
        let Some(entry) = self.entry(key) else { return Vec::new() };
        let Some(list) = entry.value.as_array() else {
            if entry.value.is_table() {
                entry.refuse(format!("is a list of sections; write [[{}]]", entry.path));
            } else {
                entry.mismatch(format!("a section [[{}]]", entry.path));
            }
            return Vec::new();
        };
        if list.is_empty() {
            entry.refuse(format!("is empty; write a section [[{}]]", entry.path));
        }
        let section = |(nth, item): (usize, Entry<'a>)| match item.value.as_table() {
            Some(table) => {
                let meant = format!("{}[{nth}]", path_in(&self.meant, key));
                Some(Self::open(self.document, Some(table), meant, item.path, item.at))
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

    /// `true` or `false`. `None` if it is neither.
    pub(super) fn sound_flag(&self, key: &'static str, default: bool) -> Option<bool> {
        self.default(key, default);
        self.entry(key).map_or(Some(default), |entry| entry.flag())
    }

    /// A duration.
    pub(super) fn duration(&self, span: &Span) -> Duration {
        self.sound_duration(span).unwrap_or(span.default)
    }

    /// A duration. `None` if it is invalid.
    pub(super) fn sound_duration(&self, span: &Span) -> Option<Duration> {
        self.default(span.key, duration::show(span.default));
        self.entry(span.key).map_or(Some(span.default), |entry| entry.duration(span))
    }

    /// One of the words of `T`.
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

    /// The path of a file.
    pub(super) fn file(&self, key: &'static str, example: &str) -> Option<PathBuf> {
        self.entry(key)?.file(example)
    }

    /// The path of a file that has to be named.
    pub(super) fn required_file(&self, key: &'static str, example: &str) -> Option<PathBuf> {
        self.required(key, example)?.file(example)
    }

    fn path_of(&self, key: &str) -> String {
        path_in(&self.path, key)
    }

    /// The section of [`KEYS`](super::KEYS).
    fn name(&self) -> &str {
        self.meant.split('[').next().unwrap_or_default()
    }
}
