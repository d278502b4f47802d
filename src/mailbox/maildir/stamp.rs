//! Whether folders have changed since they were read, decided by their time stamps.
//!
//! Each change gives a directory a new stamp, except that time stamps have a granularity: a second
//! change in the same tick leaves the stamp as it was. So a stamp is used only if the clock that
//! makes the stamps had passed it *before* the folder was read; then every later change gets a
//! later stamp. That clock is the file system's own, taken from a file that has just been touched:
//! its granularity need not be known, and no other machine's clock is trusted.

use std::time::{Duration, SystemTime};

use rustix::fs::{Stat, Statx, StatxFlags};

use super::file_id::FileId;

/// A point in time by the clock of a file system, in nanoseconds since 1970.
///
/// A time that does not fit is later than all others, so that no clock passes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(i64);

impl Moment {
    /// The time by the clock of the system, which local file systems use, too.
    pub(super) fn now() -> Self {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let nanoseconds = since_epoch.ok().and_then(|time| i64::try_from(time.as_nanos()).ok());
        // A clock before 1970 is before all stamps.
        Self(nanoseconds.unwrap_or(i64::MIN))
    }

    /// The ctime of a file, which no program can set.
    pub(super) fn of_change(stat: &Stat) -> Self {
        Self::new(stat.st_ctime, i64::try_from(stat.st_ctime_nsec).ok())
    }

    /// The mtime of a file, which programs can set.
    pub(super) fn of_modification(stat: &Stat) -> Self {
        Self::new(stat.st_mtime, i64::try_from(stat.st_mtime_nsec).ok())
    }

    /// When the file was made, if the file system records that.
    pub(super) fn of_birth(stat: &Statx) -> Option<Self> {
        let Statx { stx_mask, stx_btime, .. } = stat;
        let known = StatxFlags::from_bits_retain(*stx_mask).contains(StatxFlags::BTIME);
        known.then(|| Self::new(stx_btime.tv_sec, Some(stx_btime.tv_nsec.into())))
    }

    /// An earlier time.
    pub(super) fn before(self, by: Duration) -> Self {
        let nanoseconds = i64::try_from(by.as_nanos()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(nanoseconds))
    }

    fn new(seconds: i64, nanoseconds: Option<i64>) -> Self {
        let moment = seconds.checked_mul(1_000_000_000).zip(nanoseconds);
        let moment = moment.and_then(|(seconds, fraction)| seconds.checked_add(fraction));
        Self(moment.unwrap_or(i64::MAX))
    }

    /// This number of nanoseconds after 1970.
    #[cfg(test)]
    pub(super) fn at(nanoseconds: i64) -> Self {
        Self(nanoseconds)
    }
}

/// The identity of a folder and its last change.
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

/// The stamps by which a listing can be reused: while the basis [holds](Self::holds), reading the
/// folders again would give the same listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Basis {
    stamps: Stamps,
    clock: Moment,
}

impl Basis {
    /// The basis of a listing that is read, after `clock` was, while the folders have these stamps.
    /// `None` if a change might leave a stamp as it is.
    ///
    /// A stamp from the future, made before the clock was set back, gives no basis: the clock may
    /// reach it again.
    pub(super) fn new(stamps: Stamps, clock: Moment) -> Option<Self> {
        let settled = stamps.new.changed < clock && stamps.cur.changed < clock;
        settled.then_some(Self { stamps, clock })
    }

    /// Whether it holds for folders with these stamps at this time. It does not hold if the clock
    /// was set back.
    pub(super) fn holds(&self, stamps: Stamps, now: Moment) -> bool {
        self.stamps == stamps && self.clock <= now
    }

    /// A time after the last change of the folders before they were read. Whatever has been added since
    /// was added at this time or later.
    pub(super) fn clock(&self) -> Moment {
        self.clock
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

    /// Reads the words of [`to_words`](Self::to_words); `None` when they are no basis.
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
