//! Saved answers of another server: what `curl` prints for UIDL and LIST.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use crate::cli::migrate::listing::{BadLine, Listing};
use crate::protocol::Username;

/// Saved answers that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// A file cannot be read.
    #[error("{}: {error}", path.display())]
    Read { path: PathBuf, error: io::Error },
    /// A line is invalid.
    #[error("{}: {error}", path.display())]
    Line { path: PathBuf, error: BadLine },
}

/// The listing of a user from `USER.uidl`, and `USER.list` if that exists.
pub(super) fn listing(directory: &Path, user: &Username) -> Result<Listing, Error> {
    let mut listing = Listing::default();
    let path = |extension: &str| directory.join(format!("{}.{extension}", user.as_str()));
    read(path("uidl"), |line| listing.push_id(line))?;
    match read(path("list"), |line| listing.push_octets(line)) {
        Err(Error::Read { error, .. }) if error.kind() == io::ErrorKind::NotFound => {}
        result => result?,
    }
    Ok(listing)
}

/// Reads a file line by line. A status line and the final dot may be in it.
fn read(path: PathBuf, mut push: impl FnMut(&[u8]) -> Result<(), BadLine>) -> Result<(), Error> {
    let mut read = || -> io::Result<Result<(), BadLine>> {
        let mut input = BufReader::new(File::open(&path)?.take(LARGEST));
        let mut line = Vec::new();
        while input.read_until(b'\n', &mut line)? > 0 {
            let text = line.trim_ascii_end();
            if !text.starts_with(b"+OK")
                && text != b"."
                && let Err(error) = push(text)
            {
                return Ok(Err(error));
            }
            line.clear();
        }
        Ok(Ok(()))
    };
    match read() {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Error::Line { path, error }),
        Err(error) => Err(Error::Read { path, error }),
    }
}

/// The answer for some ten million messages.
const LARGEST: u64 = 1 << 30;
