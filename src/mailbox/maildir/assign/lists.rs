//! Reading the lists in which other servers keep the unique-ids and flags of a Maildir.
//!
//! A user may be able to write to the directory of a list. So it is opened without following a link
//! and without waiting, must be a regular file, and is read line by line.

use std::collections::HashSet;
use std::io::{self, BufReader, Read as _, Take};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, OFlags};
use rustix::io::Errno;

use super::super::super::Failure;
use super::super::folder::{OpenFile, TO_READ};
use super::super::guard::Objection;
use super::super::lock::Root;
use super::super::resolve::open_directory;
use super::super::system::{Input, statat};
use super::super::wait::{Wait, open_at};
use super::settings::{Place, Places, Settings};
use crate::config::UidlSource;
use crate::uidl::{
    COURIER_LIST, CourierError, CourierList, DOVECOT_LIST, DovecotError, DovecotList, IdMap,
    KeywordError, MapError, keyword_letter,
};

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
                    let read = |input: &mut Buffered<'_>| Ok(DovecotList::read(input, is_wanted)?);
                    lists.dovecot = reader.dovecot(DOVECOT_LIST, read)?;
                }
                UidlSource::Courier => {
                    let read = |input: &mut Buffered<'_>| Ok(CourierList::read(input, is_wanted)?);
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

/// Dovecot's list, to be replaced, with the records of all files.
///
/// # Errors
/// When it cannot be used.
pub(in super::super) fn dovecot_list(
    root: &Root,
    places: &Places,
) -> Result<Option<DovecotList>, Failure> {
    let read = |input: &mut Buffered<'_>| {
        DovecotList::read(input, |_| true).map_err(ListError::DovecotToReplace)
    };
    Reader { root, places }.dovecot(DOVECOT_LIST, read)
}

/// Courier's list, to be replaced, without its records.
///
/// # Errors
/// When it cannot be used.
pub(in super::super) fn courier_list(root: &Root) -> Result<Option<CourierList>, Failure> {
    let read = |input: &mut Buffered<'_>| {
        CourierList::read(input, |_| false).map_err(ListError::CourierToReplace)
    };
    Reader { root, places: &Places::default() }.in_maildir(COURIER_LIST, read)
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
    let read = |input: &mut Buffered<'_>| Ok(keyword_letter(input, keyword)?);
    Ok(Reader { root, places }.dovecot(DOVECOT_KEYWORDS, read)?.flatten())
}

/// The objection to a list of another server in a Maildir that no configured source reads.
///
/// # Errors
/// When it cannot be known whether there is one.
pub(super) fn unclaimed(root: &Root, places: &Places) -> Result<Option<Objection>, Failure> {
    let of = |list, source_word| Some(Objection::Unclaimed { list, source_word });
    if (Reader { root, places }).dovecot_exists()? {
        return Ok(of(DOVECOT_LIST, "dovecot"));
    }
    let courier = exists(root.directory(), COURIER_LIST, root.path())?;
    Ok(if courier { of(COURIER_LIST, "courier") } else { None })
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
        read: impl FnOnce(&mut Buffered<'_>) -> Result<T, ListError>,
    ) -> Result<Option<T>, Failure> {
        match &self.places.control {
            Some(place) => {
                let directory = Directory { path: &place.path, place };
                directory.read(name, read)
            }
            None => self.in_maildir(name, read),
        }
    }

    fn in_maildir<T>(
        &self,
        name: &str,
        read: impl FnOnce(&mut Buffered<'_>) -> Result<T, ListError>,
    ) -> Result<Option<T>, Failure> {
        read_file(self.root.directory(), name, &self.root.path().join(name), read)
    }

    fn map(&self) -> Result<Option<IdMap>, Failure> {
        let Some(place) = &self.places.map else { return Ok(None) };
        let (Some(path), Some(name)) = (place.path.parent(), place.path.file_name()) else {
            return Ok(None);
        };
        let separator = self.root.separator();
        Directory { path, place }
            .read(name, |input| Ok(IdMap::read(input, |name| separator.before_flags(name))?))
    }

    fn dovecot_exists(&self) -> Result<bool, Failure> {
        let Some(place) = &self.places.control else {
            return exists(self.root.directory(), DOVECOT_LIST, self.root.path());
        };
        match (Directory { path: &place.path, place }).open() {
            Ok(Some(directory)) => exists(directory, DOVECOT_LIST, &place.path),
            Ok(None) => Ok(false),
            Err(failure) if failure.source().kind() == io::ErrorKind::NotADirectory => Ok(false),
            Err(failure) => Err(failure),
        }
    }
}

/// A directory outside the Maildir.
struct Directory<'a> {
    path: &'a Path,
    /// The setting that leads there.
    place: &'a Place,
}

impl Directory<'_> {
    /// `None` if the user has none.
    fn open(&self) -> Result<Option<OwnedFd>, Failure> {
        match open_directory(self.path, OFlags::PATH, Wait::IfNeedBe) {
            Ok(directory) => Ok(Some(directory)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.check_root().map(|()| None)
            }
            Err(error) => Err(Failure::new(format!("open {}", self.path.display()), error)),
        }
    }

    fn read<T>(
        &self,
        name: impl AsRef<Path>,
        read: impl FnOnce(&mut Buffered<'_>) -> Result<T, ListError>,
    ) -> Result<Option<T>, Failure> {
        let Some(directory) = self.open()? else { return Ok(None) };
        let path = self.path.join(&name);
        let read = read_file(&directory, name.as_ref(), &path, read)?;
        if read.is_none() {
            self.check_root()?;
        }
        Ok(read)
    }

    /// The part of the path that all users share must exist. Else it is mistyped, or not mounted,
    /// and all users would seem to have no list.
    fn check_root(&self) -> Result<(), Failure> {
        let Place { root: Some(root), key, .. } = self.place else { return Ok(()) };
        let path = if root.as_os_str().is_empty() { Path::new(".") } else { root };
        let what = || format!("find {}, where {key} has the lists of all users", path.display());
        let found = statat(CWD, path, AtFlags::empty());
        found.map(drop).map_err(|error| Failure::new(what(), error.into()))
    }
}

type Buffered<'a> = BufReader<Take<Input<'a>>>;

fn read_file<T>(
    directory: impl AsFd,
    name: impl AsRef<Path>,
    path: &Path,
    read: impl FnOnce(&mut Buffered<'_>) -> Result<T, ListError>,
) -> Result<Option<T>, Failure> {
    let failed = |error: io::Error| Failure::new(format!("read {}", path.display()), error);
    let file = match open_at(directory, name.as_ref(), TO_READ, Wait::IfNeedBe) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(failed(error.into())),
    };
    let OpenFile { file, size, .. } = OpenFile::of(file).map_err(failed)?;
    let largest =
        if name.as_ref() == Path::new(DOVECOT_KEYWORDS) { MOST_KEYWORDS } else { LARGEST };
    let too_large = || failed(io::Error::other(ListError::TooLarge(largest)));
    if size > largest {
        return Err(too_large());
    }
    // It may grow while it is read.
    let input = Input::of(&file).take(largest + 1);
    let mut input = BufReader::with_capacity(BUFFER, input);
    let list = read(&mut input).map_err(|error| failed(io::Error::other(error)))?;
    if input.get_ref().limit() == 0 { Err(too_large()) } else { Ok(Some(list)) }
}

/// Whether there is a regular file with this name in a directory, which is at `path`.
fn exists(directory: impl AsFd, name: &str, path: &Path) -> Result<bool, Failure> {
    match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
        Err(error) => {
            let what = format!("look for {}", path.join(name).display());
            Err(Failure::new(what, error.into()))
        }
    }
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
    #[error(
        "{0}; restore the file from a backup, or remove it: then IMAP clients download the mail again"
    )]
    DovecotToReplace(#[source] DovecotError),
    #[error("{0}; restore the file from a backup, or remove it")]
    CourierToReplace(#[source] CourierError),
    #[error("{0}")]
    Map(#[from] MapError),
    #[error("{0}")]
    Keywords(#[from] KeywordError),
    #[error("larger than {0} octets, which is the most that is read")]
    TooLarge(u64),
}

const DOVECOT_KEYWORDS: &str = "dovecot-keywords";

const BUFFER: usize = 64 << 10;

/// The most octets of a list: some ten million messages.
const LARGEST: u64 = 1 << 30;

/// The most octets of `dovecot-keywords`. In file names there are letters for 26 keywords only.
const MOST_KEYWORDS: u64 = 64 << 10;
