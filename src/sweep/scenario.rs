//! The scenarios: a Maildir, what the client does with it, and what other programs do meanwhile.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

/// A Maildir and what happens in it.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) action: Action,
    pub(super) index: Index,
    pub(super) other_programs: OtherPrograms,
    pub(super) contents: Contents,
    pub(super) file_system: FileSystem,
    pub(super) server: Server,
}

/// What the client does once it is logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// STAT, LIST and UIDL, then QUIT.
    Poll,
    /// RETR and TOP of all, then QUIT.
    Fetch,
    /// DELE of some, then QUIT.
    Delete,
    /// RETR and DELE of all, then QUIT.
    Move,
    /// DELE of some, and the connection is closed without QUIT.
    Disconnect,
}

/// The index that earlier sessions have left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Index {
    None,
    Valid,
    /// Cut off in the middle.
    Truncated,
    /// With one bit changed.
    Corrupt,
}

/// What other programs do during the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OtherPrograms {
    None,
    /// Deliver a message before some calls.
    Deliver,
    /// Set and clear flags before some calls; this moves messages from `new` to `cur` first.
    Flag,
}

/// The contents of the Maildir.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contents {
    Plain,
    /// With `maildirsize`, sizes in names, and compressed messages.
    Quota,
    /// With two files of one unique name.
    Namesakes,
}

/// The server that has served the Maildir.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Server {
    Restante,
    /// Its list is a source of unique-ids.
    Dovecot,
}

/// The file system that the files seem to be on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileSystem {
    /// A disk of this machine: what is in memory is read on the worker thread.
    Ext4,
    /// Another machine: nothing is read on the worker thread, and no time stamp is relied on.
    Nfs,
}

impl FileSystem {
    /// Its magic number.
    pub(super) fn kind(self) -> u32 {
        match self {
            Self::Ext4 => 0xEF53,
            Self::Nfs => 0x6969,
        }
    }
}

impl Scenario {
    const BASE: Self = Self {
        name: "",
        action: Action::Poll,
        index: Index::None,
        other_programs: OtherPrograms::None,
        contents: Contents::Plain,
        file_system: FileSystem::Ext4,
        server: Server::Restante,
    };

    pub(super) const ALL: [Self; 17] = [
        Self { name: "poll-first", ..Self::BASE },
        Self { name: "poll-again", index: Index::Valid, ..Self::BASE },
        Self { name: "poll-network", file_system: FileSystem::Nfs, ..Self::BASE },
        Self { name: "index-cut", index: Index::Truncated, ..Self::BASE },
        Self { name: "index-garbled", index: Index::Corrupt, action: Action::Delete, ..Self::BASE },
        Self { name: "fetch-first", action: Action::Fetch, ..Self::BASE },
        Self { name: "fetch-again", action: Action::Fetch, index: Index::Valid, ..Self::BASE },
        Self {
            name: "fetch-compressed",
            action: Action::Fetch,
            contents: Contents::Quota,
            ..Self::BASE
        },
        Self { name: "delete", action: Action::Delete, index: Index::Valid, ..Self::BASE },
        Self {
            name: "delete-network",
            action: Action::Delete,
            file_system: FileSystem::Nfs,
            ..Self::BASE
        },
        Self {
            name: "move-quota",
            action: Action::Move,
            contents: Contents::Quota,
            index: Index::Valid,
            ..Self::BASE
        },
        Self {
            name: "delete-namesake",
            action: Action::Delete,
            contents: Contents::Namesakes,
            index: Index::Valid,
            ..Self::BASE
        },
        Self { name: "leave", action: Action::Disconnect, ..Self::BASE },
        Self {
            name: "delete-delivery",
            action: Action::Delete,
            other_programs: OtherPrograms::Deliver,
            index: Index::Valid,
            ..Self::BASE
        },
        Self {
            name: "move-flags",
            action: Action::Move,
            other_programs: OtherPrograms::Flag,
            ..Self::BASE
        },
        Self {
            name: "dovecot-first",
            action: Action::Delete,
            server: Server::Dovecot,
            ..Self::BASE
        },
        Self {
            name: "dovecot-again",
            action: Action::Delete,
            index: Index::Valid,
            other_programs: OtherPrograms::Deliver,
            server: Server::Dovecot,
            ..Self::BASE
        },
    ];

    /// Whether it removes messages.
    pub(super) fn removes(&self) -> bool {
        matches!(self.action, Action::Delete | Action::Move)
    }

    /// Creates the Maildir afresh, without an index.
    pub(super) fn build(&self, maildir: &Path) {
        drop(fs::remove_dir_all(maildir));
        for folder in ["", "tmp", "new", "cur"] {
            fs::create_dir(maildir.join(folder)).unwrap();
        }
        let put = |name: &str, bytes: &[u8]| fs::write(maildir.join(name), bytes).unwrap();
        put("new/1.a", b"Subject: one\n\n.\n..dots\nend\n");
        put("cur/2.b:2,S", &message("two", "\r\n", 20_000));
        put("cur/4.d:2,FS", &message("four", "\n", 150_000));
        put("cur/5.e:2,", b"Subject: five\n\nwithout an end");
        if self.server == Server::Dovecot {
            put("dovecot-uidlist", b"3 V7 N9\n2 :4.d\n3 Pthird O1 :3.c\n7 :1.a\n8 :2.b:2,\n");
        }
        match self.contents {
            Contents::Plain => put("new/3.c", &message("three", "\n", 3000)),
            Contents::Namesakes => {
                put("new/3.c", b"Subject: three\n\nin new\n");
                put("cur/3.c:2,S", b"Subject: three\n\nin cur, another one\n");
            }
            Contents::Quota => {
                let plain = message("three", "\n", 40_000);
                put(&format!("cur/3.c,S={}:2,S", plain.len()), &compress(&plain));
                let plain = message("six", "\r\n", 2000);
                put(&format!("new/6.f,S={}", plain.len()), &compress(&plain));
                put("maildirsize", b"10000000S\n230000 6\n");
            }
        }
    }

    /// Delivers mail that the list of the other server does not have.
    pub(super) fn deliver_new_mail(&self, maildir: &Path) {
        if self.server == Server::Dovecot {
            deliver(maildir, "9.late-0");
        }
    }

    /// Damages the index as the scenario says.
    pub(super) fn damage_index(&self, maildir: &Path) {
        let path = maildir.join("restante.index");
        match self.index {
            Index::None => drop(fs::remove_file(path)),
            Index::Valid => {}
            Index::Truncated => {
                let file = OpenOptions::new().write(true).open(path).unwrap();
                file.set_len(file.metadata().unwrap().len() / 2).unwrap();
            }
            Index::Corrupt => {
                let mut bytes = fs::read(&path).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 4;
                fs::write(path, bytes).unwrap();
            }
        }
    }

    /// What other programs do before each call, given the number of the call.
    pub(super) fn other(&self, maildir: &Path) -> Option<Box<dyn FnMut(u64) + Send>> {
        let maildir = maildir.to_owned();
        match self.other_programs {
            OtherPrograms::None => None,
            OtherPrograms::Deliver => Some(Box::new(move |call| {
                if call.is_multiple_of(9) && call < 100 {
                    deliver(&maildir, &format!("9.late-{call}"));
                }
            })),
            OtherPrograms::Flag => Some(Box::new(move |call| {
                if call.is_multiple_of(7) && call < 400 {
                    flag(&maildir, usize::try_from(call / 7).unwrap());
                }
            })),
        }
    }
}

/// The message that [`deliver`] delivers.
pub(super) fn late_message(name: &str) -> Vec<u8> {
    format!("Subject: {name}\n\ncame late\n").into_bytes()
}

/// Delivers through `tmp`, as a delivery agent does.
fn deliver(maildir: &Path, name: &str) {
    let tmp = maildir.join("tmp").join(name);
    File::create_new(&tmp).unwrap().write_all(&late_message(name)).unwrap();
    fs::rename(tmp, maildir.join("new").join(name)).unwrap();
    fs::write(maildir.parent().unwrap().join("delivered").join(name), "").unwrap();
}

/// Moves the next message in turn to `cur`, or changes its flag there.
fn flag(maildir: &Path, turn: usize) {
    let mut files = files(maildir);
    files.sort_by_key(|path| unique(path));
    if files.is_empty() {
        return;
    }
    let from = &files[turn % files.len()];
    let flags = if from.to_str().unwrap().ends_with('S') { "" } else { "S" };
    let to = maildir.join("cur").join(format!("{}:2,{flags}", unique(from)));
    if from != &to {
        fs::rename(from, to).unwrap();
    }
}

/// The message files of a Maildir.
pub(super) fn files(maildir: &Path) -> Vec<PathBuf> {
    let entries = |folder| fs::read_dir(maildir.join(folder)).unwrap();
    ["new", "cur"].into_iter().flat_map(entries).map(|entry| entry.unwrap().path()).collect()
}

fn unique(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().split(':').next().unwrap().to_owned()
}

fn message(subject: &str, end: &str, length: usize) -> Vec<u8> {
    let mut text = format!("Subject: {subject}{end}{end}");
    let mut line = 0;
    while text.len() < length {
        line += 1;
        text.push_str(&format!("{subject}, line {line}, and a few words more{end}"));
    }
    text.into_bytes()
}

fn compress(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}
