//! Reading the lists in which other servers keep the unique-ids and flags of a Maildir.
//!
//! A user may be able to write to the directory of a list. So it is opened without following a link
//! and without waiting, must be a regular file, and is read line by line.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader};
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, OFlags};
use rustix::io::Errno;

use super::super::super::Failure;
use super::super::folder::{OpenFile, TO_READ};
use super::super::lock::Root;
use super::super::resolve::open_directory;
use super::super::system::{Input, statat};
use super::super::uidl::{
    CourierError, CourierList, DovecotError, DovecotList, IdMap, KeywordError, MapError,
    keyword_letter,
};
use super::super::wait::{Wait, open_at};
use super::settings::{Places, Settings};
use crate::config::UidlSource;

/// The lists of a user; `None` for those that do not exist or are not wanted.
#[derive(Debug, Default)]
pub(super) struct Lists {
    pub(super) dovecot: Option<DovecotList>,
    pub(super) courier: Option<CourierList>,
    pub(super) map: Option<IdMap>,
}

impl Lists {
    /// Reads the lists of all sources; of each, what is about the given base names.
    ///
    /// # Errors
    /// When a list cannot be used at all. The rest of a damaged list is left out with a warning.
    pub(super) fn read(
        root: &Root,
        settings: &Settings,
        places: &Places,
        base_names: &[&[u8]],
    ) -> Result<Self, Failure> {
        let reader = Reader { root, places };
        let mut lists = Self::default();
        let wanted = base_names.iter().copied().collect::<HashSet<_>>();
        let is_wanted = |name: &[u8]| wanted.contains(name);
        for source in settings.sources() {
            match source {
                UidlSource::Dovecot => {
                    let read = |input: Buffered<'_>| Ok(DovecotList::read(input, is_wanted)?);
                    lists.dovecot = reader.dovecot(DOVECOT_LIST, read)?;
                }
                UidlSource::Courier => {
                    let read = |input: Buffered<'_>| Ok(CourierList::read(input, is_wanted)?);
                    lists.courier = reader.in_maildir(COURIER_LIST, read)?;
                }
                UidlSource::Map => lists.map = reader.map()?,
                UidlSource::BaseName | UidlSource::Name => {}
            }
        }
        lists.warn(root.path());
        Ok(lists)
    }

    fn warn(&self, maildir: &Path) {
        let path = maildir.display();
        if let Some(bad) = self.dovecot.as_ref().and_then(|list| list.damage.as_ref()) {
            tracing::warn!(%path, "{DOVECOT_LIST}: {bad}; the rest of the list is not used");
        }
        let ignored = self.courier.as_ref().map_or(0, |list| list.ignored_lines);
        if ignored > 0 {
            tracing::warn!(%path, ignored, "{COURIER_LIST}: lines that are no record are ignored");
        }
    }
}

/// The letter in file names of the keyword by which messages are hidden.
///
/// # Errors
/// When Dovecot's list of keywords cannot be read.
pub(super) fn deleted_letter(
    root: &Root,
    settings: &Settings,
    places: &Places,
) -> Result<Option<u8>, Failure> {
    let Some(keyword) = &settings.deleted_flag else { return Ok(None) };
    let read = |input: Buffered<'_>| Ok(keyword_letter(input, keyword)?);
    Ok(Reader { root, places }.dovecot(DOVECOT_KEYWORDS, read)?.flatten())
}

/// The list of another server in a Maildir: its name, and the value of `uidl` to take it over.
pub(super) fn unclaimed(root: &Root, places: &Places) -> Option<Unclaimed> {
    let reader = Reader { root, places };
    if reader.dovecot_exists() {
        return Some(Unclaimed::Dovecot);
    }
    exists(root.directory(), COURIER_LIST).then_some(Unclaimed::Courier)
}

/// A list that no configured source reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Unclaimed {
    Dovecot,
    Courier,
}

struct Reader<'a> {
    root: &'a Root,
    places: &'a Places,
}

impl Reader<'_> {
    /// Reads a file of Dovecot.
    fn dovecot<T>(
        &self,
        name: &str,
        read: impl FnOnce(Buffered<'_>) -> Result<T, ListError>,
    ) -> Result<Option<T>, Failure> {
        match &self.places.control {
            Some(directory) => in_directory(directory, name, read),
            None => self.in_maildir(name, read),
        }
    }

    fn in_maildir<T>(
        &self,
        name: &str,
        read: impl FnOnce(Buffered<'_>) -> Result<T, ListError>,
    ) -> Result<Option<T>, Failure> {
        read_file(self.root.directory(), name, &self.root.path().join(name), read)
    }

    fn map(&self) -> Result<Option<IdMap>, Failure> {
        let Some(path) = &self.places.map else { return Ok(None) };
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(None);
        };
        in_directory(directory, name, |input| Ok(IdMap::read(input)?))
    }

    fn dovecot_exists(&self) -> bool {
        match &self.places.control {
            Some(directory) => open_directory(directory, OFlags::PATH, Wait::IfNeedBe)
                .is_ok_and(|directory| exists(directory, DOVECOT_LIST)),
            None => exists(self.root.directory(), DOVECOT_LIST),
        }
    }
}

type Buffered<'a> = BufReader<Input<'a>>;

fn in_directory<T>(
    directory: &Path,
    name: impl AsRef<Path>,
    read: impl FnOnce(Buffered<'_>) -> Result<T, ListError>,
) -> Result<Option<T>, Failure> {
    let path = directory.join(&name);
    match open_directory(directory, OFlags::PATH, Wait::IfNeedBe) {
        Ok(directory) => read_file(&directory, name.as_ref(), &path, read),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::new(format!("open {}", directory.display()), error)),
    }
}

fn read_file<T>(
    directory: impl AsFd,
    name: impl AsRef<Path>,
    path: &Path,
    read: impl FnOnce(Buffered<'_>) -> Result<T, ListError>,
) -> Result<Option<T>, Failure> {
    let failed = |error: io::Error| Failure::new(format!("read {}", path.display()), error);
    let file = match open_at(directory, name.as_ref(), TO_READ, Wait::IfNeedBe) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(failed(error.into())),
    };
    let OpenFile { file, .. } = OpenFile::of(file).map_err(failed)?;
    let input = buffered(&file);
    read(input).map(Some).map_err(|error| failed(io::Error::other(error)))
}

fn buffered(file: &File) -> Buffered<'_> {
    BufReader::with_capacity(BUFFER, Input::of(file))
}

fn exists(directory: impl AsFd, name: &str) -> bool {
    let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW);
    stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
}

/// Why a list cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum ListError {
    #[error(
        "{0}; restore the file from a backup, or take \"dovecot\" out of maildir.uidl: then clients \
         download the mail again"
    )]
    Dovecot(#[from] DovecotError),
    #[error(
        "{0}; restore the file from a backup, or take \"courier\" out of maildir.uidl: then clients \
         download the mail again"
    )]
    Courier(#[from] CourierError),
    #[error("{0}")]
    Map(#[from] MapError),
    #[error("{0}")]
    Keywords(#[from] KeywordError),
}

const DOVECOT_LIST: &str = "dovecot-uidlist";
const DOVECOT_KEYWORDS: &str = "dovecot-keywords";
const COURIER_LIST: &str = "courierpop3dsizelist";

const BUFFER: usize = 64 << 10;
