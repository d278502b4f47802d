//! What file systems can be relied on to do; of one that is not known here, nothing is expected.

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

    /// The file system on which something is.
    pub(super) fn of(file: impl AsFd) -> Self {
        let kind = fstatfs(file).ok().and_then(|status| u32::try_from(status.f_type).ok());
        kind.map_or(Self::UNKNOWN, Self)
    }

    /// Whether it asks nobody, neither another machine nor another process, before it opens a
    /// file that it has in memory, and can read without waiting.
    pub(super) fn supports_nowait(self) -> bool {
        [Self::EXT, Self::XFS, Self::BTRFS, Self::F2FS].contains(&self)
    }

    /// Whether the number of a file that reading its directory gives is the one that looking at the
    /// file gives, and stays the same as long as there is the file.
    ///
    /// In overlayfs a file may get another one when it is renamed first. On NFS what was read of a
    /// directory may be older than the file; in FUSE numbers may mean nothing.
    pub(super) fn has_stable_inodes(self) -> bool {
        self.has_reliable_ctime() && self != Self::OVERLAYFS
    }

    /// Whether it stamps a directory at every change in it.
    ///
    /// On a network, or in a program of somebody's own, a stamp may come late or never.
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
    fn nothing_is_expected_of_a_file_system_that_is_not_known() {
        let proc = FileSystem::of(File::open("/proc").unwrap());
        assert!(!proc.supports_nowait() && !proc.has_reliable_ctime(), "{proc:?}");
        assert!(
            !FileSystem::UNKNOWN.supports_nowait() && !FileSystem::UNKNOWN.has_reliable_ctime()
        );
        assert!(!proc.has_stable_inodes() && !FileSystem::UNKNOWN.has_stable_inodes());
    }
}
