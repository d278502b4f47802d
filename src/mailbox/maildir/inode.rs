//! The number of a file on its file system: what tells two files of the same name apart, and one
//! file from another that has taken its name.
//!
//! Reading a directory gives it for free, and no rename changes it. It counts only on file systems
//! that are known to number files for good, see `file_system`; elsewhere it is not known.

use std::fmt;

use super::stamp::Moment;

/// The number of a file; never 0, which no file has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Inode(u64);

impl Inode {
    /// The inode of a number, if it is one.
    pub(super) fn new(number: u64) -> Option<Self> {
        (number != 0).then_some(Self(number))
    }

    /// The number; 0 when it is not known.
    pub(super) fn number(inode: Option<Self>) -> u64 {
        inode.map_or(0, |inode| inode.0)
    }
}

impl fmt::Debug for Inode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "inode {}", self.0)
    }
}

/// Whether a file that was found may be the one that is meant; if that is not known, any may.
pub(super) fn may_be(meant: Option<Inode>, found: Option<Inode>) -> bool {
    meant.is_none() || meant == found
}

/// A file that a session knows, to be told from any other that has its name later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KnownFile {
    /// Its number; nothing when it is to be told by its name alone.
    pub(super) inode: Option<Inode>,
    /// When it was there.
    pub(super) seen: Moment,
}

/// What a look at a file tells of which one it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) inode: Option<Inode>,
    /// When it was made; not every file system knows.
    pub(super) born: Option<Moment>,
    /// When the look was taken.
    pub(super) now: Moment,
}

impl KnownFile {
    /// Whether this is the file.
    ///
    /// A number is free for another file once its own is removed, and some file systems give it to
    /// the very next one. That one was made after the other was seen. (A file that is older and has
    /// a date to come was made before the clock was set back.)
    pub(super) fn is(self, look: &Look) -> bool {
        let since = |born: Moment| self.seen < born && born <= look.now;
        self.inode.is_none() || self.inode == look.inode && !look.born.is_some_and(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(number: u64, born: Option<i64>) -> Look {
        let born = born.map(Moment::at);
        Look { inode: Inode::new(number), born, now: Moment::at(30) }
    }

    #[test]
    fn a_file_is_told_by_its_number_and_by_when_it_was_made() {
        let known = KnownFile { inode: Inode::new(7), seen: Moment::at(20) };
        for (number, born, expected) in [
            (7, None, true),
            (7, Some(10), true),
            (7, Some(20), true),
            (7, Some(21), false),
            (7, Some(30), false),
            (7, Some(31), true),
            (8, Some(10), false),
            (0, None, false),
        ] {
            assert_eq!(known.is(&look(number, born)), expected, "{number} {born:?}");
        }
        let by_name = KnownFile { inode: None, ..known };
        assert!(by_name.is(&look(7, Some(21))) && by_name.is(&look(0, None)));
    }
}
