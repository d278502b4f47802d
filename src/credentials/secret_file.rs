//! Files that hold a secret which a store needs and a configuration must not show: a password.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::protocol::Secret;

/// Why a file with a secret cannot be used. Shows the path, but no part of the text.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("{0} does not exist; write the secret to it, in one line")]
    Missing(PathBuf),
    #[error("{0} cannot be read: {1}")]
    Unreadable(PathBuf, io::Error),
    #[error("{0} is not a small file; write the secret to one, in one line")]
    NotSmall(PathBuf),
    #[error("{0} can be read by every user of this machine; correct that with chmod o-r")]
    Exposed(PathBuf),
    #[error("{0} does not have one line; write the secret alone")]
    NotOneLine(PathBuf),
}

/// Reads a file that holds a secret in one line, which is not empty.
pub(super) fn read(path: &Path) -> Result<Secret<String>, Error> {
    let cannot = |error: io::Error| match error.kind() == io::ErrorKind::NotFound {
        true => Error::Missing(path.into()),
        false => Error::Unreadable(path.into(), error),
    };
    let metadata = fs::metadata(path).map_err(cannot)?;
    if !metadata.is_file() || metadata.len() > MAX_SECRET_OCTETS {
        return Err(Error::NotSmall(path.into()));
    }
    if metadata.mode() & 0o004 != 0 {
        return Err(Error::Exposed(path.into()));
    }
    let text = Secret::new(fs::read_to_string(path).map_err(cannot)?);
    let line = text.expose().trim_end_matches(['\r', '\n']);
    if line.is_empty() || line.contains(['\r', '\n', '\0']) {
        return Err(Error::NotOneLine(path.into()));
    }
    Ok(Secret::new(line.to_owned()))
}

/// Longer than any password or key in a line.
const MAX_SECRET_OCTETS: u64 = 16 * 1024;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn secret(text: &str, mode: u32) -> Result<String, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
        read(file.path()).map(|secret| secret.expose().clone()).map_err(|why| why.to_string())
    }

    #[test]
    fn a_secret_is_a_line_that_not_everybody_may_read() {
        assert_eq!(secret("tanstaaf\n", 0o600), Ok("tanstaaf".into()));
        assert_eq!(secret(" two words \r\n", 0o640), Ok(" two words ".into()));
        for (text, mode, hint) in [
            ("tanstaaf\n", 0o644, "chmod o-r"),
            ("", 0o600, "one line"),
            ("\n", 0o600, "one line"),
            ("tanstaaf\nmore\n", 0o600, "one line"),
            (&"tanstaaf".repeat(4096), 0o600, "small file"),
        ] {
            let why = secret(text, mode).unwrap_err();
            assert!(why.contains(hint) && !why.contains("tanstaaf"), "{why}");
        }
        for (path, hint) in [("/", "small file"), ("/no/such", "write the secret to it")] {
            let why = read(Path::new(path)).unwrap_err().to_string();
            assert!(why.contains(path) && why.contains(hint), "{why}");
        }
    }
}
