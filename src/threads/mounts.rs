//! Which file system a path or a file is on, and whether it is local, read from
//! `/proc/self/mountinfo`.
//!
//! The file systems themselves are not asked, because one that does not answer would block.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Statx, StatxFlags};

/// Whether a file is on a disk of this machine. Then its file system asks no other machine and no
/// other process, and a file in memory can be opened and read without waiting.
///
/// `file` must come from a call of `statx` with `MNT_ID`, and with `STATX_DONT_SYNC` if waiting is
/// not allowed.
///
/// A file system on a block device is local. Btrfs is local as well, but shows no block device, and
/// the device numbers of its subvolumes are in no table, so it is recognised by the mount.
pub fn is_local(file: &Statx) -> bool {
    let has_block_device = file.stx_dev_major != 0;
    has_block_device
        || StatxFlags::from_bits_retain(file.stx_mask).contains(StatxFlags::MNT_ID)
            && Mounts::current().local.contains(&file.stx_mnt_id)
}

/// A file system, by its device numbers; empty if there is no table of mounts.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Device(Box<[u8]>);

/// The mounts of this process.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    /// Signals changes of the mounts. `None` without `/proc`.
    table: Option<File>,
    places: HashMap<PathBuf, Device>,
    /// The mounts of local file systems that show no block device.
    local: HashSet<u64>,
}

impl Mounts {
    /// The mounts as they are now.
    pub(super) fn current() -> MutexGuard<'static, Self> {
        static MOUNTS: LazyLock<Mutex<Mounts>> = LazyLock::new(|| Mutex::new(Mounts::read()));
        let mut mounts = MOUNTS.lock().unwrap_or_else(PoisonError::into_inner);
        mounts.refresh();
        mounts
    }

    fn read() -> Self {
        let mut mounts = Self { table: File::open("/proc/self/mountinfo").ok(), ..Self::default() };
        mounts.read_again();
        mounts
    }

    /// Reads the table again if something was mounted or unmounted.
    fn refresh(&mut self) {
        let Some(table) = &self.table else { return };
        // proc(5): POLLPRI and POLLERR say that the mounts have changed since the last poll.
        let mut asked = [PollFd::new(table, PollFlags::PRI | PollFlags::ERR)];
        let at_once = Timespec::default();
        let changed = matches!(poll(&mut asked, Some(&at_once)), Ok(1..));
        if changed {
            self.read_again();
        }
    }

    /// The file system of a path, and where it is mounted.
    pub(super) fn of<'a>(&self, path: &'a Path) -> (Device, &'a Path) {
        let found = path.ancestors().find_map(|place| Some((self.places.get(place)?, place)));
        found.map_or_else(
            || (Device::default(), Path::new("/")),
            |(device, at)| (device.clone(), at),
        )
    }

    fn read_again(&mut self) {
        let Some(mut table) = self.table.as_ref() else { return };
        let mut text = Vec::new();
        if table.rewind().is_ok() && table.read_to_end(&mut text).is_ok() {
            self.places = places(&text);
            self.local = local(&text);
        }
    }
}

/// The file system at each mount point. Of several at one place, the last one is on top.
fn places(text: &[u8]) -> HashMap<PathBuf, Device> {
    let lines = text.split(|&octet| octet == b'\n');
    lines
        .filter_map(|line| {
            // `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw`
            let mut fields = line.split(|&octet| octet == b' ');
            let device = fields.nth(2)?;
            let place = fields.nth(1)?;
            Some((PathBuf::from(OsString::from_vec(unescaped(place))), Device(device.into())))
        })
        .collect()
}

/// The numbers of the mounts of Btrfs.
fn local(text: &[u8]) -> HashSet<u64> {
    let lines = text.split(|&octet| octet == b'\n');
    lines
        .filter_map(|line| {
            let mut fields = line.split(|&octet| octet == b' ');
            let mount = str::from_utf8(fields.next()?).ok()?.parse().ok()?;
            let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
            (kind == b"btrfs").then_some(mount)
        })
        .collect()
}

/// Decodes a field, in which space, tab, line feed and backslash are octal escapes.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut octets = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let escaped = after.get(..3).filter(|_| first == b'\\');
        let number =
            escaped.and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 8).ok());
        octets.push(number.unwrap_or(first));
        rest = if number.is_some() { after.get(3..).unwrap_or_default() } else { after };
    }
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"22 27 0:21 / /proc rw,relatime - proc proc rw\n\
        27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
        40 27 0:44 / /srv/mail rw - nfs4 server:/mail rw\n\
        41 40 0:45 / /srv/mail/a\\040b\\134c rw shared:3 master:1 - fuse.sshfs x rw\n\
        42 27 8:1 / /srv/mail2 rw - ext4 /dev/sda1 rw\n\
        43 42 8:17 / /srv/mail2 rw - ext4 /dev/sdb1 rw\n\
        44 27 0:46 /a /srv/mail3 rw shared:4 - btrfs /dev/sdc1 rw,subvol=/a\n\
        45 27 0:46 / /srv/btrfs\\040- rw - btrfs /dev/sdc1 rw\n";

    #[test]
    fn a_path_is_on_the_nearest_mount() {
        let mounts = Mounts { places: places(TABLE), ..Mounts::default() };
        for (path, device, at) in [
            ("/srv/mail/mrose/Maildir", "0:44", "/srv/mail"),
            ("/srv/mail", "0:44", "/srv/mail"),
            ("/srv/mail/a b\\c/Maildir", "0:45", "/srv/mail/a b\\c"),
            ("/srv/mail2/mrose", "8:17", "/srv/mail2"),
            ("/srv/mailing/mrose", "254:0", "/"),
            ("/", "254:0", "/"),
        ] {
            let (Device(found), place) = mounts.of(Path::new(path));
            assert_eq!((&*found, place), (device.as_bytes(), Path::new(at)), "{path}");
        }
    }

    #[test]
    fn without_a_table_there_is_one_file_system() {
        let mounts = Mounts::default();
        assert_eq!(mounts.of(Path::new("/a/b")).0, mounts.of(Path::new("/c")).0);
    }

    #[test]
    fn the_mounts_of_this_machine_are_read() {
        let mounts = Mounts::current();
        assert_ne!(mounts.of(Path::new("/proc")).0, mounts.of(Path::new("/")).0);
    }

    fn look_at(path: &str) -> Statx {
        let flags = rustix::fs::AtFlags::STATX_DONT_SYNC;
        rustix::fs::statx(rustix::fs::CWD, path, flags, StatxFlags::MNT_ID).unwrap()
    }

    #[test]
    fn btrfs_is_local_and_proc_is_not() {
        assert_eq!(local(TABLE), HashSet::from([44, 45]));
        let mut proc = look_at("/proc");
        assert!(!is_local(&proc));
        let number = proc.stx_mnt_id;
        assert!(Mounts::current().places.contains_key(Path::new("/proc")));
        let table = format!("{number} 1 0:46 / /proc rw - btrfs /dev/sdc1 rw\n");
        assert_eq!(local(table.as_bytes()), HashSet::from([number]));
        proc.stx_dev_major = 8;
        assert!(is_local(&proc));
    }
}
