//! Maildirs and their users, the same in each run and for both servers.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use nix::unistd::{User, geteuid};

/// The password of all users.
pub(crate) const PASSWORD: &str = "tanstaaf";

/// The number of users in the credential file. Each may get a Maildir.
pub(crate) const USERS: u32 = 20_000;

/// The user of the servers if they are started as root.
pub(crate) const RUN_AS: &str = "nobody";

/// A server may read a file or directory twice if it has changed within this time.
const REST: Duration = Duration::from_secs(4);

/// The content of a Maildir. All messages are in `cur`, to which Dovecot would move them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Content {
    pub(crate) messages: u32,
    /// The approximate octets of a message file.
    pub(crate) size: usize,
    /// Distinguishes Maildirs with the same content.
    pub(crate) copy: u32,
}

impl Content {
    /// The first Maildir of its kind.
    pub(crate) const fn new(messages: u32, size: usize) -> Self {
        Self { messages, size, copy: 0 }
    }

    /// Another one with the same content.
    pub(crate) const fn copy(self, copy: u32) -> Self {
        Self { copy, ..self }
    }
}

/// The mail of one server.
pub(crate) struct Maildirs {
    root: PathBuf,
    owner: Option<(u32, u32)>,
    users: RefCell<HashMap<Content, String>>,
    made: Cell<Instant>,
}

impl Maildirs {
    /// Creates them below this directory.
    pub(crate) fn new(root: PathBuf) -> io::Result<Self> {
        let owner = match geteuid().is_root() {
            true => User::from_name(RUN_AS)?.map(|user| (user.uid.as_raw(), user.gid.as_raw())),
            false => None,
        };
        let maildirs =
            Self { root, owner, users: RefCell::default(), made: Cell::new(Instant::now()) };
        maildirs.folder(&maildirs.root)?;
        Ok(maildirs)
    }

    /// Their directory. A Maildir is `USER/Maildir` below it.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The Maildir of a user.
    pub(crate) fn path(&self, user: &str) -> PathBuf {
        self.root.join(user).join("Maildir")
    }

    /// The user with this content, which is created at the first call.
    pub(crate) fn user(&self, content: Content) -> io::Result<String> {
        if let Some(user) = self.users.borrow().get(&content) {
            return Ok(user.clone());
        }
        let number = self.users.borrow().len();
        if number >= USERS as usize {
            return Err(io::Error::other("more Maildirs than users"));
        }
        let user = name(number);
        self.make(&user, content)?;
        self.users.borrow_mut().insert(content, user.clone());
        Ok(user)
    }

    /// The same, created afresh: without an index of either server, and with all messages.
    pub(crate) fn fresh(&self, content: Content) -> io::Result<String> {
        let user = self.user(content)?;
        fs::remove_dir_all(self.root.join(&user))?;
        self.make(&user, content)?;
        Ok(user)
    }

    /// Waits until the last created Maildir has not changed for a while, as is usual. Returns whether
    /// it had to wait.
    pub(crate) fn rest(&self) -> bool {
        let left = REST.saturating_sub(self.made.get().elapsed());
        thread::sleep(left);
        !left.is_zero()
    }

    /// Removes the servers' own files from a Maildir.
    pub(crate) fn forget(&self, user: &str) -> io::Result<()> {
        for entry in fs::read_dir(self.path(user))? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn make(&self, user: &str, content: Content) -> io::Result<()> {
        self.folder(&self.root.join(user))?;
        let path = self.path(user);
        self.folder(&path)?;
        for part in ["new", "cur", "tmp"] {
            self.folder(&path.join(part))?;
        }
        let mut text = Vec::with_capacity(content.size + 100);
        for number in 0..content.messages {
            message(&mut text, number, content.size);
            let file = path.join("cur").join(file_name(number, text.len()));
            fs::write(&file, &text)?;
            self.hand_over(&file, 0o600)?;
        }
        self.made.set(Instant::now());
        Ok(())
    }

    fn folder(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)?;
        self.hand_over(path, 0o700)
    }

    /// Gives a file to the user of the servers.
    pub(crate) fn hand_over(&self, path: &Path, mode: u32) -> io::Result<()> {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        match self.owner {
            Some((user, group)) => chown(path, Some(user), Some(group)),
            None => Ok(()),
        }
    }
}

/// The credential file, in the form that both servers read.
pub(crate) fn credentials() -> String {
    let mut text = String::new();
    for number in 0..USERS as usize {
        text.push_str(&name(number));
        text.push_str(":{PLAIN}");
        text.push_str(PASSWORD);
        text.push('\n');
    }
    text
}

fn name(number: usize) -> String {
    format!("user{number:05}")
}

/// File names as delivery agents and servers make them, with and without the size.
fn file_name(number: u32, size: usize) -> String {
    let microseconds = u64::from(number) * 7919 % 1_000_000;
    let unique = format!("{}.M{microseconds}P{}.post", 1_700_000_000 + number, 1000 + number % 999);
    match number % 4 {
        0 => format!("{unique},S={size}:2,S"),
        1 => format!("{unique},S={size}:2,"),
        2 => format!("{unique}:2,S"),
        _ => format!("{unique}:2,"),
    }
}

/// A message with a unique header, and lines of 70 to 90 characters that end with LF.
fn message(text: &mut Vec<u8>, number: u32, size: usize) {
    const WORDS: &str = "held at the post office until its owner calls for it; one true reply per \
                         command, exact sizes and stable names, whatever becomes of the line ";
    let mut head = String::new();
    // Writing to a String cannot fail.
    write!(
        head,
        "Return-Path: <list-{number}@example.org>\n\
         Received: from mx{}.example.org by post.example.net; Tue, 14 Nov 2023 22:13:20 +0000\n\
         From: Sender {number} <sender{number}@example.org>\n\
         To: Owner <owner@example.net>\n\
         Subject: Message number {number}\n\
         Message-ID: <{number}.{size}@example.org>\n\
         Content-Type: text/plain; charset=us-ascii\n\n",
        number % 7,
    )
    .ok();
    text.clear();
    text.extend_from_slice(head.as_bytes());
    let mut words = WORDS.bytes().cycle().skip(number as usize % WORDS.len());
    let mut line = number as usize;
    while text.len() < size {
        // One line in 97 begins with a dot, which must be stuffed.
        if line.is_multiple_of(97) {
            text.push(b'.');
        }
        let length = (70 + line * 31 % 21).min(size - text.len());
        text.extend(words.by_ref().take(length));
        text.push(b'\n');
        line += 1;
    }
}
