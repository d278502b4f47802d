//! One value of the file: taken as what it should be, or refused with what to write.

use std::fmt::Display;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeOwned};
use toml::Value;
use toml::de::{DeArray, DeValue};

use super::duration;
use super::hint::either;
use super::read::{Book, Kind, Span, path_in};
use crate::protocol::sasl::Mechanism;

/// One value of the file.
pub(super) struct Entry<'a> {
    pub(super) book: &'a Book<'a>,
    pub(super) value: &'a DeValue<'a>,
    /// The key with its section, as they are written.
    pub(super) path: String,
    pub(super) at: usize,
    /// The section with its place in a list, and the key, as they are meant.
    pub(super) key: (String, &'static str),
    /// Its place in a list, of an item of one.
    pub(super) nth: Option<usize>,
}

impl<'a> Entry<'a> {
    /// Says what counts, when that is not what is written.
    pub(super) fn set(&self, value: impl Into<Value>) {
        let (section, key) = &self.key;
        self.book.settings.borrow_mut().write_down(section, key, value.into());
    }

    /// Says that what is written counts; of a section, its own keys say it.
    pub(super) fn set_as_written(&self) {
        if let Some(value) = plain(self.value) {
            self.set(value);
        }
    }

    /// Keeps where it stands, by the key that is meant.
    pub(super) fn record_position(&self) {
        let nth = self.nth.map(|nth| format!("[{nth}]")).unwrap_or_default();
        let (section, key) = &self.key;
        let key = path_in(section, key) + &nth;
        self.book.positions.borrow_mut().record(key, self.at);
    }

    /// Notes what is wrong with the value.
    pub(super) fn refuse(&self, what: impl Into<String>) {
        self.book.note(self.at, Kind::Wrong, &self.path, what);
    }

    /// Notes that the value is of the wrong type.
    pub(super) fn mismatch(&self, write: impl Display) {
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

    /// The path of a file, say `example`; relative ones start at `base`.
    pub(super) fn file(&self, example: &str, base: &Path) -> Option<PathBuf> {
        let text = self.text(example)?;
        if text.is_empty() || text.contains('\0') {
            self.refuse(format!("{text:?} is not a path, write that of a file: {example}"));
            return None;
        }
        let path = base.join(text);
        self.set(path.to_string_lossy().as_ref());
        let (section, key) = &self.key;
        self.book.files.borrow_mut().push((format!("{section}.{key}"), path.clone()));
        Some(path)
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
        self.checked(choice.map_err(|Unknown(expected)| not_known(text, expected.iter())))
    }

    /// A SASL mechanism, by its name as the protocol has it.
    pub(super) fn mechanism(&self, name: &str) -> Option<Mechanism> {
        let found = Mechanism::ALL.into_iter().find(|mechanism| mechanism.name() == name);
        self.checked(
            found.ok_or_else(|| not_known(name, Mechanism::ALL.into_iter().map(Mechanism::name))),
        )
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
    pub(super) fn items(&self, list: &'a DeArray<'a>) -> impl Iterator<Item = Self> {
        list.iter().enumerate().map(|(nth, item)| {
            let item = Self {
                book: self.book,
                value: item.get_ref(),
                path: format!("{}[{nth}]", self.path),
                at: item.span().start,
                key: self.key.clone(),
                nth: Some(nth),
            };
            item.record_position();
            item
        })
    }

    pub(super) fn number(&self, most: u32) -> Option<NonZeroU32> {
        let Some(digits) = self.value.as_integer() else {
            let bare = if self.value.is_str() { " without quotes" } else { "" };
            self.mismatch(format!("a whole number from 1 to {most}{bare}"));
            return None;
        };
        let number = u32::from_str_radix(digits.as_str(), digits.radix()).ok();
        let number = number.and_then(NonZeroU32::new).filter(|number| number.get() <= most);
        match number {
            Some(number) => self.set(i64::from(number.get())),
            None => self
                .refuse(format!("{digits} is out of range, write a whole number from 1 to {most}")),
        }
        number
    }

    pub(super) fn duration(&self, span: &Span) -> Option<Duration> {
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
            None => {
                self.set(duration::show(length));
                return Some(length);
            }
        }
        None
    }
}

/// A value outside of the text; none for sections, and for what no key takes.
fn plain(value: &DeValue<'_>) -> Option<Value> {
    match value {
        DeValue::String(text) => Some(Value::String(text.to_string())),
        DeValue::Boolean(flag) => Some(Value::Boolean(*flag)),
        DeValue::Integer(digits) => {
            i64::from_str_radix(digits.as_str(), digits.radix()).ok().map(Value::Integer)
        }
        DeValue::Array(list) => {
            let items = list.iter().map(|item| plain(item.get_ref()));
            items.collect::<Option<Vec<_>>>().map(Value::Array)
        }
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}

/// What to write in place of a word that is not known.
fn not_known(text: &str, words: impl Iterator<Item = impl AsRef<str>>) -> String {
    let words: Vec<String> = words.map(|word| format!("{:?}", word.as_ref())).collect();
    format!("{text:?} is not known here, write {}", either(&words))
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
