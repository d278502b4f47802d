//! One value of the file, read as the expected type, or reported with what to write.

use std::fmt::Display;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeOwned};
use toml::Value;
use toml::de::{DeArray, DeValue};

use super::bounds::Span;
use super::document::{Document, Kind, path_in};
use super::hint::either;
use super::{duration, value};
use crate::protocol::sasl::Mechanism;

/// One value of the file.
pub(super) struct Entry<'a> {
    pub(super) document: &'a Document<'a>,
    pub(super) value: &'a DeValue<'a>,
    /// The key with its section, as written in the file.
    pub(super) path: String,
    pub(super) at: usize,
    /// The intended section, with its index in a list, and the intended key.
    pub(super) key: (String, &'static str),
    /// Its index, if it is an item of a list.
    pub(super) nth: Option<usize>,
}

impl<'a> Entry<'a> {
    /// Sets the effective value, when it differs from the written one.
    pub(super) fn set(&self, value: impl Into<Value>) {
        let (section, key) = &self.key;
        self.document.settings.borrow_mut().write_down(section, key, value.into());
    }

    /// Sets the written value as the effective one. Sections are left to their keys.
    pub(super) fn set_as_written(&self) {
        if let Some(value) = plain(self.value) {
            self.set(value);
        }
    }

    /// Records its position under the intended key.
    pub(super) fn record_position(&self) {
        let nth = self.nth.map(|nth| format!("[{nth}]")).unwrap_or_default();
        let (section, key) = &self.key;
        let key = path_in(section, key) + &nth;
        self.document.positions.borrow_mut().insert(key, self.at);
    }

    /// Reports a fault of the value.
    pub(super) fn refuse(&self, what: impl Display) {
        self.document.report(self.at, Kind::Wrong, &self.path, what);
    }

    /// Reports that the value is of the wrong type.
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
        self.refuse(format!("is {kind}; write {write}"));
    }

    /// The result of a check of the value. An error is reported.
    pub(super) fn checked<T>(&self, result: Result<T, impl Display>) -> Option<T> {
        result.map_err(|error| self.refuse(error)).ok()
    }

    /// Text in quotes, such as `example`.
    pub(super) fn text(&self, example: &str) -> Option<&'a str> {
        let text = self.value.as_str();
        if text.is_none() {
            self.mismatch(format!("text in quotes: {example}"));
        }
        text
    }

    /// The path of a file, such as `example`.
    pub(super) fn file(&self, example: &str) -> Option<PathBuf> {
        let path = self.path(example)?;
        let (section, key) = &self.key;
        self.document.files.borrow_mut().push((format!("{section}.{key}"), path.clone()));
        Some(path)
    }

    /// The path of a file that need not exist, such as `example`.
    pub(super) fn path(&self, example: &str) -> Option<PathBuf> {
        let text = self.text(example)?;
        if text.is_empty() || text.contains('\0') {
            self.refuse(format!("{text:?} is not the path of a file; write one such as {example}"));
            return None;
        }
        let path = self.document.base.join(text);
        self.set(path.to_string_lossy().as_ref());
        Some(path)
    }

    /// A path with placeholders, such as `example`.
    pub(super) fn template(&self, example: &'static str) -> Option<PathBuf> {
        let text = self.text(example)?;
        self.checked(value::path_template(text, example))?;
        // A home directory is an absolute path.
        let path = match text.starts_with("{home}") {
            true => PathBuf::from(text),
            false => self.document.base.join(text),
        };
        self.set(path.to_string_lossy().as_ref());
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

    /// One of the words of `T`, such as `example`.
    pub(super) fn choice<T: DeserializeOwned>(&self, example: &str) -> Option<T> {
        let text = self.text(example)?;
        let choice = T::deserialize(StrDeserializer::<Unknown>::new(text));
        self.checked(choice.map_err(|Unknown(expected)| unknown_word(text, expected.iter())))
    }

    /// A SASL mechanism, by its name in the protocol.
    pub(super) fn mechanism(&self, name: &str) -> Option<Mechanism> {
        let found = Mechanism::ALL.into_iter().find(|mechanism| mechanism.name() == name);
        let names = || Mechanism::ALL.into_iter().map(Mechanism::name);
        self.checked(found.ok_or_else(|| unknown_word(name, names())))
    }

    /// A list of texts such as `example`.
    pub(super) fn texts(&self, example: &str) -> Option<Vec<(Self, &'a str)>> {
        let Some(list) = self.value.as_array() else {
            self.mismatch(format!("a list: [{example}]"));
            return None;
        };
        // Every invalid item is reported, not only the first.
        let texts: Vec<_> =
            self.items(list).map(|item| item.text(example).map(|text| (item, text))).collect();
        texts.into_iter().collect()
    }

    /// The items of this value, which is `list`.
    pub(super) fn items(&self, list: &'a DeArray<'a>) -> impl Iterator<Item = Self> {
        list.iter().enumerate().map(|(nth, item)| {
            let item = Self {
                document: self.document,
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

    /// A whole number from 1 to `most`.
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
                .refuse(format!("{digits} is out of range; write a whole number from 1 to {most}")),
        }
        number
    }

    /// A duration within the bounds of `span`.
    pub(super) fn duration(&self, span: &Span) -> Option<Duration> {
        let (least, most) = (duration::show(span.least), duration::show(span.most));
        let range = format!("from \"{least}\" to \"{most}\"");
        if let Some(digits) = self.value.as_integer() {
            self.refuse(format!("{digits} has no unit; write \"{digits}s\" for seconds"));
            return None;
        }
        let Some(text) = self.value.as_str() else {
            self.mismatch(format!("a duration {range}"));
            return None;
        };
        let Some(length) = duration::parse(text) else {
            self.refuse(format!(
                "{text:?} is not a duration; write a number with ms, s, m, h or d, {range}"
            ));
            return None;
        };
        if (span.least..=span.most).contains(&length) {
            self.set(duration::show(length));
            return Some(length);
        }
        self.refuse(match span.why_least.filter(|_| length < span.least) {
            Some(why) => format!("{text:?} is too short, since {why}; write a duration {range}"),
            None => format!("{text:?} is out of range; write a duration {range}"),
        });
        None
    }
}

/// The value without its position. `None` for sections, and for types that no key has.
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

/// What to write instead of an unknown word.
fn unknown_word(text: &str, words: impl Iterator<Item = impl AsRef<str>>) -> String {
    let words: Vec<String> = words.map(|word| format!("{:?}", word.as_ref())).collect();
    format!("{text:?} is not a valid value; write {}", either(&words))
}

/// serde's error for an unknown word, with the known ones.
#[derive(Debug, thiserror::Error)]
#[error("expected one of {0:?}")]
struct Unknown(&'static [&'static str]);

impl de::Error for Unknown {
    fn custom<T: Display>(_: T) -> Self {
        Self(&[])
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self(expected)
    }
}
