//! Reading `restante.uids` and writing to it, so that it is on the disk before a client sees it.

use std::io::{self, BufReader, BufWriter, Write};
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;

use rustix::fs::{OFlags, Stat, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;

use super::super::file_id::FileId;
use super::super::lock::Root;
use super::super::own_file;
use super::super::stamp::Moment;
use super::super::system::{Input, Output, fdatasync, fsync, ftruncate, futimens};
use super::super::wait::Wait;
use super::line::LONGEST_NAME;
use super::text::Batch;
use super::{Error, Mark, STATE_FILE, State};

impl State {
    /// Reads the file of a Maildir. Without a file there are no messages, and the first batch makes
    /// one with `origin`: the sources of the unique-ids, say `dovecot,base-name`.
    ///
    /// `last` is the mark that the last session had: up to there, the file is on the disk.
    ///
    /// # Errors
    /// When there is a file that cannot be used. Then no listing may be shown: clients would fetch
    /// the messages again.
    pub(in super::super) fn read(
        root: &Root,
        origin: &str,
        last: Option<Mark>,
    ) -> Result<Self, Error> {
        let open = || own_file::open(root, STATE_FILE, OFlags::RDONLY, Wait::IfNeedBe);
        let opened = match open() {
            // Since it was started, the server has not made a file there.
            Err(own_file::Error::OfAnotherUser(_)) => {
                if let Err(error) = own_file::find_owner(root, NEW_FILE) {
                    let path = root.path().display();
                    tracing::debug!(%path, %error, "the owner of new files is unknown");
                }
                open()?
            }
            opened => opened?,
        };
        let Some((file, stat)) = opened else {
            let origin = origin.bytes().take(LONGEST_NAME).collect();
            return Ok(Self { origin, ..Self::default() });
        };
        if stat.st_size > LARGEST {
            return Err(Error::TooLarge);
        }
        let open = || BufReader::with_capacity(BUFFER, Input::of(&file));
        let found = Found::of(&stat);
        let mut state = Self { file: Some(found), ..Self::parse(open, last)? };
        let is_whole = state.end.is_some_and(|end| end.octets == found.octets);
        state.written = is_whole.then(|| Moment::of_modification(&stat));
        if !(is_whole && last == Some(state.mark())) {
            // A server that was killed may have written a batch without syncing it.
            let synced = fdatasync(&file).map_err(io::Error::from);
            synced.and_then(|()| sync_directory(root)).map_err(Error::Read)?;
        }
        Ok(state)
    }

    /// Writes a batch, which has been added to the records. Nothing is written if it is empty.
    ///
    /// # Errors
    /// When the batch may not be on the disk.
    pub(super) fn write(
        &mut self,
        root: &Root,
        batch: &Batch,
        now: NonZeroU32,
    ) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        // A file with another name, say in a backup, is left as it is.
        let must_be_new = self.file.is_none_or(|file| file.is_linked);
        if must_be_new || self.is_rewrite_due(batch, now) {
            match self.rewrite(root, now) {
                Ok(()) => return sync_directory(root).map_err(Error::Write),
                Err(error) if must_be_new => return Err(Error::Write(error)),
                // A full disk may have room for the batch alone.
                Err(error) => tracing::debug!(%error, "{STATE_FILE} cannot be rewritten"),
            }
        }
        self.append(root, batch)
    }

    /// Replaces the file by one without the lines that are of no use any more.
    fn rewrite(&mut self, root: &Root, now: NonZeroU32) -> io::Result<()> {
        self.generation += 1;
        let mut end = None;
        let replaced = own_file::replace(root, STATE_FILE, NEW_FILE, |file| {
            let mut output = BufWriter::with_capacity(BUFFER, Output(file));
            end = Some(self.write_to(&mut output, now)?);
            let Output(file) = output.into_inner()?;
            Ok(fsync(file)?)
        });
        match replaced {
            Ok(()) => self.end = end,
            Err(_) => self.generation -= 1,
        }
        replaced
    }

    fn append(&mut self, root: &Root, batch: &Batch) -> Result<(), Error> {
        let access = OFlags::WRONLY | OFlags::APPEND;
        let opened = own_file::open(root, STATE_FILE, access, Wait::IfNeedBe)?;
        let (Some((file, stat)), Some(end)) = (opened, self.end) else {
            return Err(Error::Changed);
        };
        let found = Found::of(&stat);
        if self.file != Some(found) {
            return Err(Error::Changed);
        }
        let (text, new_end) = batch.after(end);
        let mut output = Output(file.into());
        let mut write = || -> io::Result<()> {
            if found.octets != end.octets {
                ftruncate(&output.0, end.octets)?;
            }
            output.write_all(&text)?;
            Ok(fdatasync(&output.0)?)
        };
        if let Err(error) = write() {
            // Otherwise the next login would find the batch, which may never reach the disk.
            ftruncate(&output.0, end.octets).ok();
            keep_modification(&output.0, &stat).ok();
            return Err(Error::Write(error));
        }
        self.end = Some(new_end);
        Ok(())
    }
}

/// Gives a file the time of its last modification back: it has no new batch.
fn keep_modification(file: &OwnedFd, stat: &Stat) -> io::Result<()> {
    let tv_nsec = i64::try_from(stat.st_mtime_nsec).map_err(io::Error::other)?;
    let last_modification = Timespec { tv_sec: stat.st_mtime, tv_nsec };
    let last_access = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    Ok(futimens(file, &Timestamps { last_access, last_modification })?)
}

/// A file that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    id: FileId,
    octets: u64,
    /// Whether it has another name, too.
    is_linked: bool,
}

impl Found {
    fn of(stat: &Stat) -> Self {
        let octets = u64::try_from(stat.st_size).unwrap_or_default();
        Self { id: FileId::of(stat), octets, is_linked: stat.st_nlink > 1 }
    }
}

/// Syncs the names of the files in a Maildir.
pub(in super::super) fn sync_directory(root: &Root) -> io::Result<()> {
    match fsync(root.directory()) {
        // The errors of file systems that cannot sync a directory.
        Ok(()) | Err(Errno::INVAL | Errno::BADF) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

const NEW_FILE: &str = "restante.uids.new";

/// The file of some ten million messages. A larger one is not read.
const LARGEST: i64 = 1 << 30;

const BUFFER: usize = 64 << 10;
