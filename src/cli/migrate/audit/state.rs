//! The users that are done: a line each, so that an interrupted audit can continue.
//!
//! ```text
//! USER TAB SAME TAB MISSING TAB ADDED TAB MOVED TAB DOUBLED TAB ILLEGAL TAB OCTETS
//! ```

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::compare::Comparison;

/// A file of the users that are done.
#[derive(Debug)]
pub(super) struct State {
    file: File,
    path: PathBuf,
    /// The users that it had at the start.
    pub(super) done: Vec<(String, Comparison)>,
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("{}:{line}: this is no line of an audit; name another file", path.display())]
    Line { path: PathBuf, line: usize },
}

impl State {
    /// Opens a file, or makes it.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let at_path = |error| Error::Io { path: path.to_owned(), error };
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).open(path).map_err(at_path)?;
        let text = io::read_to_string(&file).map_err(at_path)?;
        // A line without an end was being written when the audit was interrupted.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        if whole < text.len() {
            file.set_len(whole as u64).map_err(at_path)?;
        }
        let mut done = Vec::new();
        for (index, line) in text.get(..whole).unwrap_or_default().lines().enumerate() {
            let bad_line = || Error::Line { path: path.to_owned(), line: index + 1 };
            done.push(parse(line).ok_or_else(bad_line)?);
        }
        Ok(Self { file, path: path.to_owned(), done })
    }

    /// Adds a user.
    pub(super) fn add(&mut self, user: &str, comparison: &Comparison) -> Result<(), Error> {
        let Comparison { same, missing, added, moved, doubled, illegal, octets } = comparison;
        let line = format!(
            "{user}\t{same}\t{missing}\t{added}\t{moved}\t{doubled}\t{illegal}\t{octets}\n"
        );
        let written = self.file.write_all(line.as_bytes());
        written.map_err(|error| Error::Io { path: self.path.clone(), error })
    }
}

fn parse(line: &str) -> Option<(String, Comparison)> {
    let mut fields = line.split('\t');
    let user = fields.next()?.to_owned();
    let mut count = || fields.next()?.parse().ok();
    let comparison = Comparison {
        same: count()?,
        missing: count()?,
        added: count()?,
        moved: count()?,
        doubled: count()?,
        illegal: count()?,
        octets: count()?,
    };
    fields.next().is_none().then_some((user, comparison))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audit_continues() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        let comparison = Comparison { same: 3, added: 1, octets: 2, ..Comparison::default() };
        let mut state = State::open(&path).unwrap();
        assert_eq!(state.done, []);
        state.add("mrose@example.org", &comparison).unwrap();
        state.add("two words", &Comparison::default()).unwrap();
        let done = State::open(&path).unwrap().done;
        let expected = [("mrose@example.org", comparison), ("two words", Comparison::default())];
        assert_eq!(done, expected.map(|(user, comparison)| (user.to_owned(), comparison)));
        let whole = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{whole}torn\t1\t2")).unwrap();
        assert_eq!(State::open(&path).unwrap().done, done);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), whole);
        for bad in ["", "mrose\t1\t2", "mrose\t1\t2\t3\t4\t5\t6\tx", "m\t1\t2\t3\t4\t5\t6\t7\t8"] {
            std::fs::write(&path, format!("m\t1\t2\t3\t4\t5\t6\t7\n{bad}\n")).unwrap();
            let error = State::open(&path).unwrap_err();
            assert!(matches!(error, Error::Line { line: 2, .. }), "{bad}: {error}");
        }
    }
}
