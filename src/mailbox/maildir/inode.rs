//! Inode numbers: they distinguish files of the same unique name, and a file from another that has
//! taken its name.
//!
//! Reading a directory gives them, and renaming a file does not change them. They are used only on
//! file systems with stable numbers, see `file_system`; elsewhere they are `None`.

use super::stamp::Moment;

/// The inode number of a file. 0 is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Inode(u64);

impl Inode {
    /// An inode, unless the number is 0.
    pub(super) fn new(number: u64) -> Option<Self> {
        (number != 0).then_some(Self(number))
    }

    /// The number; 0 for `None`.
    pub(super) fn number(inode: Option<Self>) -> u64 {
        inode.map_or(0, |inode| inode.0)
    }
}

/// Whether a file that was found may be the expected one. Without an expected inode, any may.
pub(super) fn may_be(expected: Option<Inode>, found: Option<Inode>) -> bool {
    expected.is_none() || expected == found
}

/// A file that a session knows, to distinguish it from one that takes its name later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KnownFile {
    /// Its inode; `None` when it is identified by its name alone.
    pub(super) inode: Option<Inode>,
    /// A time at which it existed.
    pub(super) seen: Moment,
}

/// The identity of a file that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) inode: Option<Inode>,
    /// When it was made; `None` if the file system does not record that.
    pub(super) born: Option<Moment>,
    /// When it was looked at.
    pub(super) now: Moment,
}

impl KnownFile {
    /// Whether this is the file.
    ///
    /// The number of a removed file may be reused, on some file systems for the very next file.
    /// Such a file was made after the known one was seen. (A file from the future was made before
    /// the clock was set back, so it is older.)
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
    fn a_file_is_identified_by_its_number_and_by_when_it_was_made() {
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
