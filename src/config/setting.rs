//! Every effective value, written or default, as `restante config` prints it.
//!
//! The reader records each value when it reads it, so no key can be forgotten.

use std::collections::BTreeMap;
use std::fmt;

use toml::{Table, Value};

use super::KEYS;

/// The values of a configuration, each by its key.
///
/// - Paths are as the server uses them: relative ones start at the directory of the file.
/// - A key without a value, written or default, is left out.
/// - `Display` writes TOML in the order of [`KEYS`], which parses as the same configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings(BTreeMap<Slot, Setting>);

/// The place of a value in the output. Slots sort in the order of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Slot {
    /// Index of the section in [`KEYS`].
    section: usize,
    /// Index in a list of sections.
    nth: Option<usize>,
    /// Index of the key in the section.
    key: usize,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Setting {
    written: Option<Value>,
    default: Option<Value>,
}

impl Settings {
    /// Records the value in the file, in a section such as `tls.host[0]`.
    pub(super) fn write_down(&mut self, section: &str, key: &str, value: Value) {
        if let Some(slot) = Slot::of(section, key) {
            self.0.entry(slot).or_default().written = Some(value);
        }
    }

    /// Records the default of a key.
    pub(super) fn write_default(&mut self, section: &str, key: &str, value: Value) {
        if let Some(slot) = Slot::of(section, key) {
            self.0.entry(slot).or_default().default = Some(value);
        }
    }

    /// Only the values that differ from their defaults.
    #[must_use]
    pub fn without_defaults(mut self) -> Self {
        self.0.retain(|_, setting| setting.written.is_some() && setting.written != setting.default);
        self
    }

    /// As nested tables.
    pub fn table(&self) -> Table {
        let mut root = Table::new();
        for (slot, value) in self.values() {
            let (section, key) = slot.names();
            let steps: Vec<_> = section.split('.').filter(|step| !step.is_empty()).collect();
            put(&mut root, &steps, slot.nth, (key, value));
        }
        root
    }

    fn values(&self) -> impl Iterator<Item = (&Slot, &Value)> {
        self.0.iter().filter_map(|(slot, Setting { written, default })| {
            Some((slot, written.as_ref().or(default.as_ref())?))
        })
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut open = None;
        for (slot, value) in self.values() {
            let (section, key) = slot.names();
            if open != Some((section, slot.nth)) {
                let gap = if open.is_some() { "\n" } else { "" };
                match slot.nth {
                    _ if section.is_empty() => {}
                    Some(_) => writeln!(f, "{gap}[[{section}]]")?,
                    None => writeln!(f, "{gap}[{section}]")?,
                }
                open = Some((section, slot.nth));
            }
            writeln!(f, "{key} = {value}")?;
        }
        Ok(())
    }
}

/// Puts a value into the section at the path `steps`, or into the `nth` section of a list there.
fn put(table: &mut Table, steps: &[&str], nth: Option<usize>, (key, value): (&str, &Value)) {
    let [step, further @ ..] = steps else {
        table.insert(key.to_owned(), value.clone());
        return;
    };
    let inner = match nth.filter(|_| further.is_empty()) {
        None => Some(table.entry(*step).or_insert_with(|| Table::new().into())),
        Some(nth) => {
            let list = table.entry(*step).or_insert_with(|| Value::Array(Vec::new()));
            list.as_array_mut().and_then(|list| {
                if nth >= list.len() {
                    list.push(Table::new().into());
                }
                list.last_mut()
            })
        }
    };
    if let Some(Value::Table(inner)) = inner {
        put(inner, further, nth, (key, value));
    }
}

impl Slot {
    /// The slot of a key of [`KEYS`].
    fn of(section: &str, key: &str) -> Option<Self> {
        let (name, nth) = match section.split_once('[') {
            Some((name, nth)) => (name, Some(nth.trim_end_matches(']').parse().ok()?)),
            None => (section, None),
        };
        let section = KEYS.iter().position(|(known, _)| *known == name)?;
        let key = KEYS.get(section)?.1.iter().position(|known| *known == key)?;
        Some(Self { section, nth, key })
    }

    /// The section and the key.
    fn names(self) -> (&'static str, &'static str) {
        let (section, keys) = KEYS.get(self.section).copied().unwrap_or_default();
        (section, keys.get(self.key).copied().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_printed_by_section_whatever_the_order_they_were_read_in() {
        let mut settings = Settings::default();
        settings.write_down("tls.host[1]", "names", Value::Array(vec!["b".into()]));
        settings.write_down("tls.host[0]", "names", Value::Array(vec!["a".into()]));
        settings.write_default("limits", "connections", 10.into());
        settings.write_default("limits", "bad-commands", 20.into());
        settings.write_down("limits", "bad-commands", 20.into());
        settings.write_down("limits", "failed-logins", 3.into());
        settings.write_down("tls", "certificate", "a \"b\"".into());
        settings.write_down("", "hostname", "pop".into());
        let whole = "hostname = \"pop\"\n\n[tls]\ncertificate = 'a \"b\"'\n\n\
                     [[tls.host]]\nnames = [\"a\"]\n\n[[tls.host]]\nnames = [\"b\"]\n\n\
                     [limits]\nconnections = 10\nbad-commands = 20\nfailed-logins = 3\n";
        assert_eq!(settings.to_string(), whole);
        assert_eq!(whole.parse(), Ok(settings.table()));
        let shorter = whole.replace("connections = 10\nbad-commands = 20\n", "");
        assert_eq!(settings.without_defaults().to_string(), shorter);
    }
}
