//! Whether folders are as they were when they were read, told from their time stamps.
//!
//! A directory that has changed has another stamp, but for one trap: stamps have a grain, and a
//! second change in the same tick leaves no trace. So stamps stand for what was read only when the
//! clock that makes them had passed them *before* the reading began: then every later change gets
//! a later stamp. That clock is the file system's own, read off a file that has just been touched
//! there: no grain has to be known, and no other machine's clock trusted.

use std::time::SystemTime;

use rustix::fs::{Stat, Statx, StatxFlags};

use super::file_id::FileId;

/// A point in time by the clock of a file system, in nanoseconds since 1970.
///
/// What does not fit is later than everything else, and so never passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(i64);

impl Moment {
    /// The time by the clock of the system, which is that of a file system on its own disks.
    pub(super) fn now() -> Self {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let nanoseconds = since_epoch.ok().and_then(|time| i64::try_from(time.as_nanos()).ok());
        // Before 1970 is before everything that is known.
        Self(nanoseconds.unwrap_or(i64::MIN))
    }

    /// When the inode was changed last: set by the clock, never by a program.
    pub(super) fn of_change(stat: &Stat) -> Self {
        Self::new(stat.st_ctime, i64::try_from(stat.st_ctime_nsec).ok())
    }

    /// When the file was made, if the file system knows.
    pub(super) fn of_birth(stat: &Statx) -> Option<Self> {
        let Statx { stx_mask, stx_btime, .. } = stat;
        let known = StatxFlags::from_bits_retain(*stx_mask).contains(StatxFlags::BTIME);
        known.then(|| Self::new(stx_btime.tv_sec, Some(stx_btime.tv_nsec.into())))
    }

    fn new(seconds: i64, nanoseconds: Option<i64>) -> Self {
        let moment = seconds.checked_mul(1_000_000_000).zip(nanoseconds);
        let moment = moment.and_then(|(seconds, fraction)| seconds.checked_add(fraction));
        Self(moment.unwrap_or(i64::MAX))
    }

    /// So many nanoseconds after 1970.
    #[cfg(test)]
    pub(super) fn at(nanoseconds: i64) -> Self {
        Self(nanoseconds)
    }
}

/// Which directory a folder is, and when it was changed last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    id: FileId,
    changed: Moment,
}

impl Stamp {
    /// A stamp for a test.
    #[cfg(test)]
    pub(super) fn new(id: FileId, changed: Moment) -> Self {
        Self { id, changed }
    }

    /// The stamp of a directory.
    pub(super) fn of(stat: &Stat) -> Self {
        Self { id: FileId::of(stat), changed: Moment::of_change(stat) }
    }
}

/// The stamps of both folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamps {
    pub(super) new: Stamp,
    pub(super) cur: Stamp,
}

/// What a listing rests on: while it [holds](Self::holds), reading the folders again would yield
/// the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Basis {
    stamps: Stamps,
    clock: Moment,
}

impl Basis {
    /// The basis of what is read while the folders have these stamps, after `clock` was read;
    /// nothing when a change may leave no trace in them.
    ///
    /// A stamp from the future, left by a clock that was set back, is no basis: the clock may
    /// come to it again.
    pub(super) fn new(stamps: Stamps, clock: Moment) -> Option<Self> {
        let settled = stamps.new.changed < clock && stamps.cur.changed < clock;
        settled.then_some(Self { stamps, clock })
    }

    /// Whether it holds for folders that have these stamps at this time: a clock that was set back
    /// proves nothing.
    pub(super) fn holds(&self, stamps: Stamps, now: Moment) -> bool {
        self.stamps == stamps && self.clock <= now
    }

    /// The basis in seven words, as the index keeps it.
    pub(super) fn to_words(self) -> [u64; 7] {
        let Stamps { new, cur } = self.stamps;
        let (new_id, cur_id) = (new.id.to_words(), cur.id.to_words());
        let time = |moment: Moment| moment.0.cast_unsigned();
        let [new_changed, cur_changed] = [time(new.changed), time(cur.changed)];
        let clock = time(self.clock);
        [new_id[0], new_id[1], new_changed, cur_id[0], cur_id[1], cur_changed, clock]
    }

    /// Reads what [`to_words`](Self::to_words) gave; nothing when it can be no basis.
    pub(super) fn from_words(words: [u64; 7]) -> Option<Self> {
        let [new_device, new_inode, new_changed, cur_device, cur_inode, cur_changed, clock] = words;
        let time = |word: u64| Moment(word.cast_signed());
        let stamp = |id, changed| Stamp { id: FileId::from_words(id), changed: time(changed) };
        let stamps = Stamps {
            new: stamp([new_device, new_inode], new_changed),
            cur: stamp([cur_device, cur_inode], cur_changed),
        };
        Self::new(stamps, time(clock))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamps(new: i64, cur: i64) -> Stamps {
        let stamp =
            |inode, changed| Stamp { id: FileId::from_words([1, inode]), changed: Moment(changed) };
        Stamps { new: stamp(2, new), cur: stamp(3, cur) }
    }

    #[test]
    fn a_basis_needs_a_clock_that_has_passed_both_stamps() {
        for (new, cur, clock, sound) in [
            (10, 20, 21, true),
            (10, 20, 20, false),
            (20, 10, 20, false),
            (10, 30, 20, false),
            (-5, 0, 1, true),
            (i64::MAX, 0, i64::MAX, false),
        ] {
            let basis = Basis::new(stamps(new, cur), Moment(clock));
            assert_eq!(basis.is_some(), sound, "{new} {cur} {clock}");
        }
    }

    #[test]
    fn a_basis_holds_until_a_stamp_is_another_or_the_clock_is_set_back() {
        let basis = Basis::new(stamps(10, 20), Moment(30)).unwrap();
        assert!(basis.holds(stamps(10, 20), Moment(30)));
        assert!(basis.holds(stamps(10, 20), Moment(1000)));
        assert!(!basis.holds(stamps(10, 20), Moment(29)));
        assert!(!basis.holds(stamps(11, 20), Moment(31)));
        assert!(!basis.holds(stamps(10, 19), Moment(31)));
        let mut other = stamps(10, 20);
        other.cur.id = FileId::from_words([1, 4]);
        assert!(!basis.holds(other, Moment(31)), "another directory of the same age");
    }

    #[test]
    fn words_give_the_basis_back_and_nonsense_gives_none() {
        let basis = Basis::new(stamps(10, -20), Moment(30)).unwrap();
        assert_eq!(Basis::from_words(basis.to_words()), Some(basis));
        assert_eq!(Basis::from_words([0; 7]), None);
        assert_eq!(Basis::from_words([u64::MAX; 7]), None);
    }
}
