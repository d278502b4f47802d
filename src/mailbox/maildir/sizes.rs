//! From files to a listing: sizes from the index, or counted where it has none.
//!
//! Counting reads the message; it happens once in the life of a message.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::io::Errno;

use super::super::Failure;
use super::chase::{Visit, Wanted, chase};
use super::folder::{Folders, Ignored};
use super::listing::{Builder, Key, Listing, Sizes};
use super::scan::{FoundFile, Scan, scan};
use super::seen::Seen;
use crate::protocol::OctetCounter;

/// How a listing came about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Report {
    /// How often both folders were read.
    pub(super) passes: u32,
    /// How many message files were opened and counted.
    pub(super) opened: u32,
    /// How many could not be opened.
    pub(super) left_out: u32,
    /// Whether the index is not what it should be.
    pub(super) index_is_stale: bool,
}

/// Takes the listing of a Maildir.
///
/// # Errors
/// When it cannot be taken whole. A message that cannot be opened itself is left out.
pub(super) fn take_listing(folders: &Folders) -> Result<(Listing, Report), Failure> {
    let Scan { mut seen, mut files, index, passes } = scan(folders)?;
    let mut cursor = index.cursor();
    let find = |file: &FoundFile| cursor.find(&key(&seen, file));
    let mut sizes = files.iter().map(find).map(Known::from).collect::<Vec<_>>();
    let index_has_more = cursor.has_more();

    let mut counting =
        Counting { folders, buffer: Vec::new(), opened: 0, left_out: Ignored::default() };
    let index_has_less = sizes.contains(&Known::Not);
    if index_has_less {
        counting.all(&mut seen, &mut files, &mut sizes)?;
    }
    let mut builder = Builder::default();
    for (file, known) in files.iter().zip(&sizes) {
        if let Known::Sizes(sizes) = known {
            let place = (file.sighting.folder, seen.name(&file.sighting));
            builder.push(place, file.namesake, *sizes)?;
        }
    }
    let left_out = counting.left_out.count;
    if let Some(first) = counting.left_out.first {
        if builder.is_empty() {
            // One message that cannot be opened is its own trouble; all of them are the Maildir's.
            let error = io::Error::other(format!("no message can be opened, the first is {first}"));
            let what = format!("read {}", folders.root().path().display());
            return Err(Failure::new(what, error));
        }
        tracing::warn!(count = left_out, first, "messages that cannot be opened are left out");
    }
    let report = Report {
        passes,
        opened: counting.opened,
        left_out,
        index_is_stale: index_has_more || counting.opened > 0,
    };
    Ok((builder.finish(), report))
}

/// Counts the octets of the first `size` bytes of a file, as RETR sends them (RFC 1939 §11).
///
/// # Errors
/// `UnexpectedEof` when the file is shorter.
pub(super) fn count(file: &File, size: u64, buffer: &mut Vec<u8>) -> io::Result<u64> {
    buffer.resize(BUFFER, 0);
    let mut counter = OctetCounter::new();
    let mut offset = 0;
    while offset < size {
        let most = usize::try_from(size - offset).map_or(BUFFER, |left| left.min(BUFFER));
        let part = buffer.get_mut(..most).unwrap_or_default();
        file.read_exact_at(part, offset)?;
        counter.update(part);
        offset += part.len() as u64;
    }
    Ok(counter.finish())
}

/// What is known of the sizes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Sizes(Sizes),
    Not,
    /// It cannot be read, or is gone.
    Never,
}

impl From<Option<Sizes>> for Known {
    fn from(sizes: Option<Sizes>) -> Self {
        sizes.map_or(Self::Not, Self::Sizes)
    }
}

struct Counting<'a> {
    folders: &'a Folders,
    buffer: Vec<u8>,
    opened: u32,
    left_out: Ignored,
}

impl Counting<'_> {
    /// Counts where sizes are not known.
    fn all(
        &mut self,
        seen: &mut Seen,
        files: &mut [FoundFile],
        sizes: &mut [Known],
    ) -> Result<(), Failure> {
        let mut unknown = files
            .iter()
            .zip(&mut *sizes)
            .enumerate()
            .filter(|(_, (_, known))| **known == Known::Not)
            .collect::<Vec<_>>();
        // Inodes that are close to each other are close to each other on a disk.
        unknown.sort_unstable_by_key(|(_, (file, _))| file.sighting.inode);
        let mut renamed = Vec::new();
        for (at, (file, known)) in unknown {
            match self.one(file, seen.name(&file.sighting))? {
                Some(counted) => *known = counted,
                None => renamed.push((at, seen.unique(&file.sighting).to_vec())),
            }
        }
        self.again(seen, files, sizes, &renamed)
    }

    /// Counts those that have been renamed since they were seen.
    fn again(
        &mut self,
        seen: &mut Seen,
        files: &mut [FoundFile],
        sizes: &mut [Known],
        renamed: &[(usize, Vec<u8>)],
    ) -> Result<(), Failure> {
        let wanted = renamed.iter().filter_map(|(at, unique)| {
            Some(Wanted { unique, id: files.get(*at)?.namesake.id(), token: *at })
        });
        let mut failure = None;
        let mut found = Vec::new();
        let not_found = chase(self.folders, wanted.collect(), |&at, places| {
            let Some(mut file) = files.get(at).copied() else { return Visit::Done };
            for place in places {
                file.sighting.folder = place.folder;
                match self.one(&file, &place.name) {
                    Ok(Some(known)) => {
                        found.push((at, place.clone(), known));
                        return Visit::Done;
                    }
                    Ok(None) => {}
                    Err(error) => {
                        failure.get_or_insert(error);
                        return Visit::Done;
                    }
                }
            }
            Visit::Missed
        })?;
        if let Some(failure) = failure {
            return Err(failure);
        }
        for (at, place, known) in found {
            if let (Some(file), Some(sizes)) = (files.get_mut(at), sizes.get_mut(at))
                && let Some(sighting) = seen.add(&place, file.sighting.inode, file.sighting.pass)
            {
                file.sighting = sighting;
                *sizes = known;
            }
        }
        if !not_found.elusive.is_empty() {
            let error = io::Error::other("a message is renamed all the time");
            let what = format!("read {}", self.folders.root().path().display());
            return Err(Failure::new(what, error));
        }
        Ok(())
    }

    /// Counts one; nothing when it is not there.
    fn one(&mut self, file: &FoundFile, name: &[u8]) -> Result<Option<Known>, Failure> {
        let folder = file.sighting.folder;
        let counted = self.folders.open_file(folder, name).and_then(|open| {
            if file.namesake.id().is_some_and(|id| id != open.id) {
                return Err(io::ErrorKind::NotFound.into());
            }
            let octets = count(&open.file, open.size, &mut self.buffer)?;
            Ok(Sizes { physical: open.size, octets })
        });
        match counted {
            Ok(sizes) => {
                self.opened += 1;
                Ok(Some(Known::Sizes(sizes)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                let path = self.folders.describe(folder, name);
                if !is_about_this_file_alone(&error) {
                    return Err(Failure::new(format!("read {path}"), error));
                }
                self.left_out.add(|| format!("{path}: {error}"));
                Ok(Some(Known::Never))
            }
        }
    }
}

fn key<'a>(seen: &'a Seen, file: &FoundFile) -> Key<'a> {
    Key::new(file.sighting.folder, seen.name(&file.sighting), file.namesake)
}

/// Whether an error says something of the file that was to be read. Any other, say too many open
/// files or a disk that gives errors, would leave out messages that are in order.
fn is_about_this_file_alone(error: &io::Error) -> bool {
    match Errno::from_io_error(error) {
        Some(errno) => matches!(errno, Errno::ACCESS | Errno::PERM | Errno::LOOP | Errno::NXIO),
        // Not a regular file, or cut short while it was read.
        None => matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof),
    }
}

const BUFFER: usize = 64 << 10;
