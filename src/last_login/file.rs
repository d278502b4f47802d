//! The file of last logins: a line of text for each user, `1764305512 3 mrose@example.org`, with the
//! time of the last login, the number of logins, and the name.
//!
//! - The first line has the time at which the file was begun: what was before is not known.
//! - Logins are appended, so a user may have several lines. When the file has doubled in size, and at
//!   the first write of a process, it is replaced by one with a line for each user. So the octets
//!   written are in proportion to the logins, and the size to the users.
//! - It is locked while it is written: a server that takes over from another may do so meanwhile.
//! - Lines that cannot be read, as after a full disk, are left out.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{Login, Logins, merge, now};
use crate::protocol::Username;
use crate::threads::FileStamp;

/// The file of a server that writes it.
#[derive(Debug)]
pub struct LoginFile {
    path: PathBuf,
    /// Not written yet, because writing has failed.
    unwritten: Logins,
    /// The size at which it is replaced.
    full: u64,
}

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When the file was begun, in seconds since 1970.
    pub since: u64,
    /// The users who have logged in since then.
    pub logins: Logins,
}

/// Why the file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is another kind of file.
    #[error("{} is no list of last logins; move it away, or write another path", .0.display())]
    Foreign(PathBuf),
    /// The system does not allow it.
    #[error("{}: {error}", path.display())]
    System {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
}

impl LoginFile {
    /// The file at a path. It is not opened yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path, unwritten: Logins::new(), full: 0 }
    }

    /// Adds logins. The first call begins the file if there is none.
    ///
    /// # Errors
    /// [`FileError`]. The logins are kept, and written by the next call.
    pub fn add(&mut self, logins: Logins) -> Result<(), FileError> {
        merge(&mut self.unwritten, logins);
        if self.unwritten.is_empty() && self.full > 0 {
            return Ok(());
        }
        let outcome = self.write();
        match outcome {
            Ok(()) => self.unwritten.clear(),
            // The last line may be incomplete.
            Err(_) => self.full = 0,
        }
        // Whoever is left out for lack of room will log in again.
        if self.unwritten.len() > MOST_UNWRITTEN {
            self.unwritten.clear();
        }
        outcome
    }

    fn write(&mut self) -> Result<(), FileError> {
        let failed = failed(&self.path);
        let (mut file, size) = open(&self.path).map_err(&failed)?;
        if size > 0 && size < self.full {
            let appended = file.write_all(lines(&self.unwritten).as_bytes());
            // A part of it would count twice.
            return appended.inspect_err(|_| drop(file.set_len(size))).map_err(&failed);
        }
        let mut record = match size {
            0 => Record { since: now(), logins: Logins::new() },
            _ => Record::read(&self.path)?,
        };
        merge(&mut record.logins, self.unwritten.clone());
        let text = format!("{HEAD}{}\n{}", record.since, lines(&record.logins));
        replace(&self.path, &text).map_err(&failed)?;
        self.full = 2 * u64::try_from(text.len()).unwrap_or(u64::MAX / 2).max(LEAST_FULL);
        Ok(())
    }
}

impl Record {
    /// Reads the file.
    ///
    /// # Errors
    /// [`FileError`] when there is none, when it cannot be read, or when it is another kind of file.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let text = fs::read(path).map_err(failed(path))?;
        let text = String::from_utf8_lossy(&text);
        // The end of a line that is being written may be missing, and then the name is another one.
        let mut lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        let since = lines.next().and_then(|head| head.strip_prefix(HEAD)?.parse().ok());
        let since = since.ok_or_else(|| FileError::Foreign(path.to_owned()))?;
        let mut logins = Logins::new();
        merge(&mut logins, lines.filter_map(entry));
        Ok(Self { since, logins })
    }
}

/// Reads a line.
fn entry(line: &str) -> Option<(Username, Login)> {
    let mut fields = line.splitn(3, ' ');
    let (last, count) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((Username::try_from(fields.next()?).ok()?, Login { last, count }))
}

fn lines(logins: &Logins) -> String {
    let mut text = String::with_capacity(logins.len() * 40);
    for (user, Login { last, count }) in logins {
        text += &format!("{last} {count} {}\n", user.as_str());
    }
    text
}

/// Opens the file for appending, locks it, and returns its size. Creates it if there is none.
fn open(path: &Path) -> io::Result<(File, u64)> {
    loop {
        let file = OpenOptions::new().append(true).create(true).mode(MODE).open(path)?;
        file.lock()?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // The previous holder of the lock may have replaced it.
        let locked = FileStamp::of(&metadata);
        if FileStamp::at(path).is_ok_and(|present| present.is_same_file(locked)) {
            return Ok((file, metadata.len()));
        }
    }
}

/// Replaces the file, which is locked.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(&new)?;
    file.write_all(text.as_bytes())?;
    // Otherwise the file might be empty after a power cut.
    file.sync_all()?;
    fs::rename(&new, path)
}

fn failed(path: &Path) -> impl Fn(io::Error) -> FileError {
    let path = path.to_owned();
    move |error| FileError::System { path: path.clone(), error }
}

/// The first line, before the time.
const HEAD: &str = "# last logins since ";

/// When and how often users log in is nobody else's business.
const MODE: u32 = 0o600;

/// Half of the size below which it is not replaced.
const LEAST_FULL: u64 = 64 * 1024;

/// About 10 MB.
const MOST_UNWRITTEN: usize = 100_000;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn user(name: &str) -> Username {
        Username::try_from(name).unwrap()
    }

    fn logins(entries: &[(&str, u64, u64)]) -> Logins {
        entries.iter().map(|&(name, last, count)| (user(name), Login { last, count })).collect()
    }

    #[test]
    fn logins_are_added_up_across_processes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("last-logins");
        let mut first = LoginFile::new(path.clone());
        first.add(Logins::new()).unwrap();
        let begun = Record::read(&path).unwrap();
        assert_eq!(begun.logins, Logins::new());
        assert!(begun.since.abs_diff(now()) < 60);
        first.add(logins(&[("mrose", 100, 1), ("o'brien smith@example.org", 90, 2)])).unwrap();
        first.add(logins(&[("mrose", 160, 3)])).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 4);
        let expected = logins(&[("mrose", 160, 4), ("o'brien smith@example.org", 90, 2)]);
        assert_eq!(Record::read(&path).unwrap(), Record { logins: expected, ..begun });
        // Another process writes a line for each user, and the first appends to its file.
        let mut second = LoginFile::new(path.clone());
        second.add(logins(&[("bob", 200, 1)])).unwrap();
        first.add(logins(&[("mrose", 150, 1)])).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 5);
        let Record { since, logins } = Record::read(&path).unwrap();
        assert_eq!((since, logins.len()), (begun.since, 3));
        assert_eq!(logins[&user("mrose")], Login { last: 160, count: 5 });
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn the_size_is_in_proportion_to_the_users() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("last-logins");
        let mut file = LoginFile::new(path.clone());
        let names: Vec<_> = (0..1000).map(|n| format!("user-{n}@example.org")).collect();
        for minute in 0..100 {
            let entries: Vec<_> = names.iter().map(|name| (&**name, minute, 1)).collect();
            file.add(logins(&entries)).unwrap();
            assert!(fs::metadata(&path).unwrap().len() < 3 * LEAST_FULL);
        }
        let record = Record::read(&path).unwrap();
        assert_eq!(record.logins.len(), 1000);
        assert!(record.logins.values().all(|login| *login == Login { last: 99, count: 100 }));
    }

    #[test]
    fn a_file_that_cannot_be_written_is_written_later() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("missing/last-logins");
        let mut file = LoginFile::new(path.clone());
        for _ in 0..2 {
            let error = file.add(logins(&[("mrose", 100, 1)])).unwrap_err().to_string();
            assert_eq!(
                error,
                format!("{}: No such file or directory (os error 2)", path.display())
            );
        }
        fs::create_dir(path.parent().unwrap()).unwrap();
        file.add(Logins::new()).unwrap();
        assert_eq!(Record::read(&path).unwrap().logins, logins(&[("mrose", 100, 2)]));
    }

    #[test]
    fn another_kind_of_file_is_not_touched_and_a_torn_line_is_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("last-logins");
        fs::write(&path, "mrose:{PLAIN}tanstaaf\n").unwrap();
        let error = LoginFile::new(path.clone()).add(logins(&[("mrose", 1, 1)])).unwrap_err();
        assert!(error.to_string().contains("is no list of last logins"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "mrose:{PLAIN}tanstaaf\n");
        let torn = "# last logins since 50\n100 1 mrose\n\n90 x bob\n80 1 ../up\n\u{fffd}\n120 1";
        fs::write(&path, torn).unwrap();
        LoginFile::new(path.clone()).add(logins(&[("mrose", 110, 1)])).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "# last logins since 50\n110 2 mrose\n");
        fs::write(&path, "# last logins since 50\n100 1 mrose\n130 1 bob@exam").unwrap();
        assert_eq!(Record::read(&path).unwrap().logins, logins(&[("mrose", 100, 1)]));
    }
}
