//! The faults of a configuration file, as the operator reads them.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

/// All faults of one configuration file.
///
/// - `Display` writes a line for each, `file:line:column: key: what is wrong; what to write`.
/// - In the order of the file; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    file: PathBuf,
    list: Vec<Fault>,
}

/// An error or a warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where it is. `None`: the file could not be read.
    pub place: Option<Place>,
    /// The key with its section, such as `listen[1].tls`; empty if it is about the whole file.
    pub key: String,
    /// What is wrong, and what to write.
    pub what: String,
}

/// Stands in place of the key where the file is not valid TOML.
pub(super) const NOT_TOML: &str = "invalid TOML";

/// A position in a file; both numbers count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The character within the line.
    pub column: usize,
}

impl Faults {
    pub(super) fn new(file: &Path, list: Vec<Fault>) -> Self {
        Self { file: file.to_owned(), list }
    }

    /// The faults in the order of the file.
    pub fn list(&self) -> &[Fault] {
        &self.list
    }
}

impl Fault {
    /// Whether it is about this key, or about a key in this section or list.
    pub fn is_in(&self, section: &str) -> bool {
        let rest = self.key.strip_prefix(section);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    }

    /// The line that reports it for a file.
    pub fn line(&self, file: &Path) -> String {
        let place = self.place.map(|Place { line, column }| format!("{line}:{column}:"));
        let key = if self.key.is_empty() { String::new() } else { format!(" {}:", self.key) };
        format!("{}:{}{key} {}", file.display(), place.unwrap_or_default(), self.what)
    }
}

impl Place {
    /// The place of an octet of `text`.
    pub(super) fn of(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line = before.bytes().filter(|&byte| byte == b'\n').count() + 1;
        let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
        Self { line, column }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, fault) in self.list.iter().enumerate() {
            if nth > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&fault.line(&self.file))?;
        }
        Ok(())
    }
}

impl Error for Faults {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_characters_from_one() {
        for (text, offset, line, column) in [
            ("", 0, 1, 1),
            ("abc", 2, 1, 3),
            ("abc", 3, 1, 4),
            ("a\nbc", 2, 2, 1),
            ("a\r\nbc", 4, 2, 2),
            ("é = 1", 3, 1, 3),
            ("a\n\n", 3, 3, 1),
        ] {
            assert_eq!(Place::of(text, offset), Place { line, column }, "{text:?} at {offset}");
        }
    }
}
