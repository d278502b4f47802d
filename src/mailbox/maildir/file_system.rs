//! What each file system guarantees. An unknown one guarantees nothing.

use std::os::fd::AsFd;

use super::system::fstatfs;

/// A kind of file system, by its magic number in statfs(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileSystem(u32);

impl FileSystem {
    const EXT: Self = Self(0xEF53);
    const XFS: Self = Self(0x5846_5342);
    const BTRFS: Self = Self(0x9123_683E);
    const F2FS: Self = Self(0xF2F5_2010);
    const ZFS: Self = Self(0x2FC1_2FC1);
    const BCACHEFS: Self = Self(0xCA45_1A4E);
    const TMPFS: Self = Self(0x0102_1994);
    const OVERLAYFS: Self = Self(0x794C_7630);
    const UNKNOWN: Self = Self(0);

    /// The file system of an open file.
    pub(super) fn of(file: impl AsFd) -> Self {
        let kind = fstatfs(file).ok().and_then(|status| u32::try_from(status.f_type).ok());
        kind.map_or(Self::UNKNOWN, Self)
    }

    /// Whether a file that is in memory can be opened and read without waiting (`RESOLVE_CACHED`,
    /// `RWF_NOWAIT`): the file system is local, see [`threads::is_local`], and supports both.
    ///
    /// [`threads::is_local`]: crate::threads::is_local
    pub(super) fn supports_nowait(self) -> bool {
        [Self::EXT, Self::XFS, Self::BTRFS, Self::F2FS].contains(&self)
    }

    /// Whether a directory gives the same inode number for a file as stat(2), and the number stays
    /// the same for the life of the file.
    ///
    /// On overlayfs the first rename of a file may change its number. On NFS the entries of a
    /// directory may be older than the file. FUSE file systems may make numbers up.
    pub(super) fn has_stable_inodes(self) -> bool {
        self.has_reliable_ctime() && self != Self::OVERLAYFS
    }

    /// Whether each change in a directory changes its ctime at once, and each rename that of the file.
    ///
    /// On network and FUSE file systems the ctime may change late or never.
    pub(super) fn has_reliable_ctime(self) -> bool {
        self.supports_nowait()
            || [Self::ZFS, Self::BCACHEFS, Self::TMPFS, Self::OVERLAYFS].contains(&self)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn an_unknown_file_system_guarantees_nothing() {
        let proc = FileSystem::of(File::open("/proc").unwrap());
        assert!(!proc.supports_nowait() && !proc.has_reliable_ctime(), "{proc:?}");
        assert!(
            !FileSystem::UNKNOWN.supports_nowait() && !FileSystem::UNKNOWN.has_reliable_ctime()
        );
        assert!(!proc.has_stable_inodes() && !FileSystem::UNKNOWN.has_stable_inodes());
    }
}
