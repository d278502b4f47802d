//! The users that are done: a line each, so that an interrupted audit can continue. The first line
//! says what the audit is of.
//!
//! ```text
//! restante-audit-1 TAB SERVER TAB USERS-FILE TAB CONFIGURATION TAB DIGEST-OF-CONFIGURATION
//! USER TAB SAME TAB MISSING TAB ADDED TAB MOVED TAB DOUBLED TAB ILLEGAL TAB OCTETS
//! ```

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::compare::Comparison;

/// What an audit is of. The results of another one are not its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    /// The URL of the other server.
    pub(super) server: String,
    /// The file with its users, escaped.
    pub(super) users: String,
    /// The configuration file, escaped.
    pub(super) configuration: String,
    /// A digest of its contents, in hexadecimal.
    pub(super) digest: String,
}

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
    #[error(
        "{} is of an audit with the {key} {other}, not {own}; name another file, or remove it to \
         compare all users again", path.display()
    )]
    Other { path: PathBuf, key: &'static str, other: String, own: String },
    #[error(
        "{} is of an audit with other settings, because {configuration} has changed since; remove \
         it to compare all users again", path.display()
    )]
    Changed { path: PathBuf, configuration: String },
}

impl Subject {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.strip_prefix(HEAD)?.split('\t');
        let mut field = || fields.next().map(str::to_owned);
        let subject =
            Self { server: field()?, users: field()?, configuration: field()?, digest: field()? };
        fields.next().is_none().then_some(subject)
    }

    fn line(&self) -> String {
        let Self { server, users, configuration, digest } = self;
        format!("{HEAD}{server}\t{users}\t{configuration}\t{digest}\n")
    }

    /// Checks that the state at `path`, which is of `other`, is of this audit.
    fn check(&self, other: &Self, path: &Path) -> Result<(), Error> {
        for (key, other, own) in [
            ("server", &other.server, &self.server),
            ("users of", &other.users, &self.users),
            ("configuration", &other.configuration, &self.configuration),
        ] {
            if other != own {
                let (path, other, own) = (path.to_owned(), other.clone(), own.clone());
                return Err(Error::Other { path, key, other, own });
            }
        }
        if other.digest != self.digest {
            let configuration = self.configuration.clone();
            return Err(Error::Changed { path: path.to_owned(), configuration });
        }
        Ok(())
    }
}

impl State {
    /// Opens the file of an audit, or makes it.
    pub(super) fn open(path: &Path, subject: &Subject) -> Result<Self, Error> {
        let at_path = |error| Error::Io { path: path.to_owned(), error };
        let mut options = OpenOptions::new();
        let mut file = options.read(true).append(true).create(true).open(path).map_err(at_path)?;
        let text = io::read_to_string(&file).map_err(at_path)?;
        // A line without an end was being written when the audit was interrupted.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        if whole < text.len() {
            file.set_len(whole as u64).map_err(at_path)?;
        }
        let bad_line = |line| Error::Line { path: path.to_owned(), line };
        let mut lines = (1..).zip(text.get(..whole).unwrap_or_default().lines());
        match lines.next() {
            Some((number, line)) => {
                let of = Subject::parse(line).ok_or_else(|| bad_line(number))?;
                subject.check(&of, path)?;
            }
            None => file.write_all(subject.line().as_bytes()).map_err(at_path)?,
        }
        let mut done = Vec::new();
        for (number, line) in lines {
            done.push(parse(line).ok_or_else(|| bad_line(number))?);
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

const HEAD: &str = "restante-audit-1\t";

#[cfg(test)]
mod tests {
    use super::*;

    fn subject() -> Subject {
        Subject {
            server: "pop3s://old:995".to_owned(),
            users: "/etc/logins".to_owned(),
            configuration: "/etc/restante.toml".to_owned(),
            digest: "abc".to_owned(),
        }
    }

    #[test]
    fn an_audit_continues() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        let open = || State::open(&path, &subject());
        let comparison = Comparison { same: 3, added: 1, octets: 2, ..Comparison::default() };
        // The first line was being written.
        std::fs::write(&path, "restante-au").unwrap();
        let mut state = open().unwrap();
        assert_eq!(state.done, []);
        state.add("mrose@example.org", &comparison).unwrap();
        state.add("two words", &Comparison::default()).unwrap();
        let done = open().unwrap().done;
        let expected = [("mrose@example.org", comparison), ("two words", Comparison::default())];
        assert_eq!(done, expected.map(|(user, comparison)| (user.to_owned(), comparison)));
        let whole = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{whole}torn\t1\t2")).unwrap();
        assert_eq!(open().unwrap().done, done);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), whole);
        let head = subject().line();
        for bad in ["", "mrose\t1\t2", "mrose\t1\t2\t3\t4\t5\t6\tx", "m\t1\t2\t3\t4\t5\t6\t7\t8"] {
            std::fs::write(&path, format!("{head}m\t1\t2\t3\t4\t5\t6\t7\n{bad}\n")).unwrap();
            let error = open().unwrap_err();
            assert!(matches!(error, Error::Line { line: 3, .. }), "{bad}: {error}");
        }
        std::fs::write(&path, "m\t1\t2\t3\t4\t5\t6\t7\n").unwrap();
        let error = open().unwrap_err();
        assert!(matches!(error, Error::Line { line: 1, .. }), "{error}");
    }

    #[test]
    fn the_state_of_another_audit_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        State::open(&path, &subject()).unwrap();
        let other = || "other".to_owned();
        for (other, expected) in [
            (
                Subject { server: other(), ..subject() },
                "with the server pop3s://old:995, not other; name another file",
            ),
            (
                Subject { users: other(), ..subject() },
                "with the users of /etc/logins, not other; name another file",
            ),
            (
                Subject { configuration: other(), ..subject() },
                "with the configuration /etc/restante.toml, not other; name another file",
            ),
            (
                Subject { digest: other(), ..subject() },
                "with other settings, because /etc/restante.toml has changed since; remove it",
            ),
        ] {
            let error = State::open(&path, &other).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
