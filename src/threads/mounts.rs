//! Which file system a path is on, from what the kernel says of mounts in `/proc/self/mountinfo`.
//!
//! No path is looked at: one on a file system that does not answer would hang.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// A file system, by its device numbers. Nothing is known of it where there is no table of mounts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Device(Box<[u8]>);

/// The mounts of this process.
#[derive(Debug)]
pub(super) struct Mounts {
    /// Says when there are others. Nothing where there is no `/proc`.
    table: Option<File>,
    places: HashMap<PathBuf, Device>,
}

impl Mounts {
    /// The mounts as they are now.
    pub(super) fn read() -> Self {
        let mut mounts =
            Self { table: File::open("/proc/self/mountinfo").ok(), places: HashMap::new() };
        mounts.read_again();
        mounts
    }

    /// Takes over what has been mounted or unmounted since.
    pub(super) fn follow(&mut self) {
        let Some(table) = &self.table else { return };
        // proc(5): POLLPRI and POLLERR say that the mounts have changed since this was last asked.
        let mut asked = [PollFd::new(table, PollFlags::PRI | PollFlags::ERR)];
        let at_once = Timespec::default();
        let changed = matches!(poll(&mut asked, Some(&at_once)), Ok(1..));
        if changed {
            self.read_again();
        }
    }

    /// The file system of a path, and where that is mounted.
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
        }
    }
}

/// What is mounted where; of several at one place, the last one is on top.
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

/// Space, tab, line feed and backslash are written as octal numbers.
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
        43 42 8:17 / /srv/mail2 rw - ext4 /dev/sdb1 rw\n";

    #[test]
    fn a_path_is_on_what_is_mounted_nearest() {
        let mounts = Mounts { table: None, places: places(TABLE) };
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
        let mounts = Mounts { table: None, places: places(b"") };
        assert_eq!(mounts.of(Path::new("/a/b")).0, mounts.of(Path::new("/c")).0);
    }

    #[test]
    fn the_mounts_of_this_machine_are_read() {
        let mut mounts = Mounts::read();
        mounts.follow();
        assert_ne!(mounts.of(Path::new("/proc")).0, mounts.of(Path::new("/")).0);
    }
}
