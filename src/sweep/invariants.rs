//! The invariants of `docs/RELIABILITY.md`, which hold after a session whatever failed in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::str::Utf8Error;

use flate2::read::GzDecoder;

use super::client::is_multi_line;
use super::record::Exchange;
use super::scenario::{files, late_message};

/// A message as it was before the session.
#[derive(Clone, Debug)]
pub(super) struct Original {
    /// The octets of its file.
    pub(super) stored: Vec<u8>,
    /// The octets that a client receives.
    pub(super) sent: Vec<u8>,
}

/// The messages of a Maildir, by unique-id.
pub(super) type Originals = BTreeMap<String, Original>;

impl Original {
    pub(super) fn new(stored: Vec<u8>) -> Self {
        let sent = sent(&plain(&stored));
        Self { stored, sent }
    }
}

/// What is known of a session besides its commands and replies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Circumstances {
    /// A message could not be sent to its end, and the connection was closed.
    pub(super) body_failed: bool,
    /// The process was killed.
    pub(super) killed: bool,
    /// Messages could not be opened for want of permission: a listing may omit them.
    pub(super) unreadable_messages: bool,
}

/// What the client asked for, and whether it succeeded.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// The unique-ids that were marked when QUIT was sent.
    pub(super) committed: BTreeSet<String>,
    /// The reply to QUIT was `+OK`.
    pub(super) confirmed: bool,
    /// A command failed, or the connection was closed.
    pub(super) refused: bool,
}

/// Checks the replies of a session, one after the other.
pub(super) struct ReplyChecker<'a> {
    originals: &'a Originals,
    circumstances: Circumstances,
    listing: BTreeMap<&'a str, &'a str>,
    sizes: BTreeMap<&'a str, u64>,
    marked: BTreeSet<String>,
    outcome: Outcome,
    problems: Vec<String>,
}

impl<'a> ReplyChecker<'a> {
    pub(super) fn check(
        originals: &'a Originals,
        circumstances: Circumstances,
        exchanges: &'a [Exchange],
    ) -> (Outcome, Vec<String>) {
        let mut checker = ReplyChecker {
            originals,
            circumstances,
            listing: BTreeMap::new(),
            sizes: BTreeMap::new(),
            marked: BTreeSet::new(),
            outcome: Outcome::default(),
            problems: Vec::new(),
        };
        for (at, exchange) in exchanges.iter().enumerate() {
            let last = at + 1 == exchanges.len();
            if let Err(problem) = checker.exchange(exchange, last) {
                let reply = String::from_utf8_lossy(&exchange.reply);
                let reply = reply.chars().take(80).collect::<String>().escape_debug().to_string();
                checker.problems.push(format!("I3: {:?}: {problem}: {reply}", exchange.command));
            }
        }
        (checker.outcome, checker.problems)
    }

    fn exchange(&mut self, exchange: &'a Exchange, last: bool) -> Result<(), ReplyError> {
        let Exchange { command, reply } = exchange;
        let is_body = command.starts_with("RETR") || command.starts_with("TOP");
        let excused = last && (self.circumstances.killed || self.circumstances.body_failed);
        let may_be_cut = excused && (is_body || self.circumstances.killed);
        if command == "QUIT" {
            self.outcome.committed = self.marked.clone();
        }
        let Some(end) = reply.windows(2).position(|pair| pair == b"\r\n") else {
            self.outcome.refused = true;
            return ensure(may_be_cut, ReplyError::NoReply);
        };
        let (status, body) = reply.split_at(end + 2);
        let status = str::from_utf8(status)?.trim_end();
        if status.starts_with("-ERR") {
            self.outcome.refused = true;
            return ensure(body.is_empty(), ReplyError::SecondReply);
        }
        ensure(status.starts_with("+OK"), ReplyError::NoStatus)?;
        if !is_multi_line(command) {
            self.single_line(command, status)?;
            return ensure(body.is_empty(), ReplyError::SecondReply);
        }
        let Some(content) = content(body) else {
            self.outcome.refused = true;
            return ensure(may_be_cut, ReplyError::NoFinalDot);
        };
        self.multi_line(command, status, &content, body)
    }

    fn single_line(&mut self, command: &str, status: &'a str) -> Result<(), ReplyError> {
        let mut words = command.split(' ');
        match (words.next().unwrap(), words.next()) {
            ("STAT", None) => {
                let mut numbers = status.split(' ').skip(1);
                self.sizes.insert("STAT", numbers.nth(1).unwrap().parse().unwrap());
            }
            ("DELE", Some(number)) => {
                let unique_id = self.listing.get(number).ok_or(ReplyError::UnknownNumber)?;
                self.marked.insert((*unique_id).to_owned());
            }
            ("QUIT", None) => self.outcome.confirmed = true,
            _ => {}
        }
        Ok(())
    }

    fn multi_line(
        &mut self,
        command: &str,
        status: &str,
        content: &[u8],
        body: &'a [u8],
    ) -> Result<(), ReplyError> {
        let mut words = command.split(' ');
        let verb = words.next().unwrap();
        let Some(number) = words.next() else { return self.listing(verb, body) };
        let unique_id = *self.listing.get(number).ok_or(ReplyError::UnknownNumber)?;
        let expected = self.expected(unique_id)?;
        if verb == "TOP" {
            return ensure(expected.starts_with(content), ReplyError::WrongLines);
        }
        let octets = content.len();
        if content != expected {
            return Err(ReplyError::WrongMessage { octets, unique_id: unique_id.to_owned() });
        }
        let announced = status.split(' ').nth(1).and_then(|octets| octets.parse().ok());
        let as_listed = self.sizes.get(number) == Some(&(octets as u64));
        ensure(announced == Some(octets) && as_listed, ReplyError::OtherOctets(octets))
    }

    fn listing(&mut self, verb: &str, body: &'a [u8]) -> Result<(), ReplyError> {
        let lines = str::from_utf8(body)?.lines().filter(|line| *line != ".");
        let pairs = lines.map(|line| line.split_once(' ').unwrap()).collect::<Vec<_>>();
        if verb == "LIST" {
            self.sizes.extend(pairs.iter().map(|(number, size)| (*number, size.parse().unwrap())));
            let sum: u64 =
                self.sizes.iter().filter(|(of, _)| **of != "STAT").map(|(_, size)| size).sum();
            return ensure(self.sizes["STAT"] == sum, ReplyError::OtherSum(sum));
        }
        self.listing = pairs.iter().copied().collect();
        let known = self.listing.values().copied().collect::<BTreeSet<_>>();
        ensure(known.len() == pairs.len(), ReplyError::DuplicateUniqueId)?;
        if let Some(missing) = self.originals.keys().find(|id| !known.contains(id.as_str()))
            && !self.circumstances.unreadable_messages
        {
            return Err(ReplyError::PartialListing { missing: missing.clone() });
        }
        for (number, unique_id) in &pairs {
            let octets = self.expected(unique_id)?.len() as u64;
            let listed = self.sizes.get(number) == Some(&octets);
            ensure(listed, ReplyError::WrongOctets((*unique_id).to_owned()))?;
        }
        Ok(())
    }

    fn expected(&self, unique_id: &str) -> Result<Vec<u8>, ReplyError> {
        match self.originals.get(unique_id) {
            Some(original) => Ok(original.sent.clone()),
            None if unique_id.starts_with("9.late-") => Ok(sent(&late_message(unique_id))),
            None => Err(ReplyError::UnknownMessage(unique_id.to_owned())),
        }
    }
}

/// What is wrong with a reply (invariant I3).
#[derive(Debug, thiserror::Error)]
enum ReplyError {
    #[error("no reply")]
    NoReply,
    #[error("more than one reply")]
    SecondReply,
    #[error("neither +OK nor -ERR")]
    NoStatus,
    #[error("not UTF-8")]
    NotUtf8(#[from] Utf8Error),
    #[error("no final dot")]
    NoFinalDot,
    #[error("+OK for a message-number that is not listed")]
    UnknownNumber,
    #[error("unknown message {0}")]
    UnknownMessage(String),
    #[error("not the first lines of the message")]
    WrongLines,
    #[error("{octets} octets that are not those of {unique_id}")]
    WrongMessage { octets: usize, unique_id: String },
    #[error("{0} octets are sent, other than announced or listed")]
    OtherOctets(usize),
    #[error("the listed octets sum up to {0}, other than STAT says")]
    OtherSum(u64),
    #[error("a unique-id is listed twice")]
    DuplicateUniqueId,
    #[error("a partial listing, without {missing}")]
    PartialListing { missing: String },
    #[error("wrong octets of {0} are listed")]
    WrongOctets(String),
}

fn ensure(holds: bool, error: ReplyError) -> Result<(), ReplyError> {
    if holds { Ok(()) } else { Err(error) }
}

/// Checks the files that a session has left. Returns the unique-ids of the messages among them.
pub(super) fn check_files(
    maildir: &Path,
    originals: &Originals,
    outcome: &Outcome,
) -> (BTreeSet<String>, Vec<String>) {
    let mut problems = Vec::new();
    let mut there = BTreeSet::new();
    let mut remaining =
        files(maildir).iter().map(|path| fs::read(path).unwrap()).collect::<Vec<_>>();
    let late = fs::read_dir(maildir.parent().unwrap().join("delivered")).unwrap();
    let late = late.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let late = late.map(|name| (name.clone(), late_message(&name)));
    let all = originals.iter().map(|(id, original)| (id.clone(), original.stored.clone()));
    for (unique_id, stored) in all.chain(late) {
        let before = remaining.len();
        remaining.retain(|bytes| *bytes != stored);
        let committed = outcome.committed.contains(&unique_id);
        match (before - remaining.len(), committed) {
            (0, true) => {}
            (1, true) if outcome.confirmed => {
                problems
                    .push(format!("I3: {unique_id} is there, although QUIT was answered with +OK"));
            }
            (1, _) => drop(there.insert(unique_id)),
            (count, _) => problems.push(format!("I1: {unique_id} is there {count} times")),
        }
    }
    for unknown in remaining {
        let text = String::from_utf8_lossy(&unknown).chars().take(80).collect::<String>();
        problems.push(format!("I1: an unknown file: {}", text.escape_debug()));
    }
    for entry in fs::read_dir(maildir).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !ALLOWED.contains(&name.as_str()) {
            problems.push(format!("I1: {name} is left in the Maildir"));
        }
    }
    (there, problems)
}

/// The content of a reply of several lines, with dots unstuffed; `None` without the final dot.
fn content(body: &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    let mut lines = body.split_inclusive(|byte| *byte == b'\n');
    for line in &mut lines {
        match line {
            b".\r\n" => return lines.next().is_none().then_some(content),
            [b'.', rest @ ..] => content.extend(rest),
            line => content.extend(line),
        }
    }
    None
}

/// The octets that a client receives of a message.
pub(super) fn sent(plain: &[u8]) -> Vec<u8> {
    let lines = plain.split_inclusive(|byte| *byte == b'\n');
    let bare = lines.map(|line| line.strip_suffix(b"\n").unwrap_or(line));
    let bare = bare.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    bare.flat_map(|line| [line, b"\r\n"].concat()).collect()
}

fn plain(stored: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    if stored.starts_with(&[0x1f, 0x8b]) {
        GzDecoder::new(stored).read_to_end(&mut plain).unwrap();
        return plain;
    }
    stored.to_vec()
}

/// The names that may be in a Maildir.
const ALLOWED: [&str; 10] = [
    "cur",
    "new",
    "tmp",
    "maildirsize",
    "dovecot-uidlist",
    "restante.index",
    "restante.index.new",
    "restante.lock",
    "restante.uids",
    "restante.uids.new",
];

/// A sweep without violations means something only if violations are found.
#[test]
fn wrong_replies_are_found() {
    let originals = Originals::from([("1.a".to_owned(), Original::new(b"a\n".to_vec()))]);
    let session = [
        ("STAT", "+OK 1 3\r\n"),
        ("LIST", "+OK\r\n1 3\r\n.\r\n"),
        ("UIDL", "+OK\r\n1 1.a\r\n.\r\n"),
        ("RETR 1", "+OK 3 octets\r\na\r\n.\r\n"),
        ("TOP 1 2", "+OK\r\na\r\n.\r\n"),
        ("DELE 1", "+OK\r\n"),
        ("QUIT", "+OK\r\n"),
    ];
    let problems = |at, wrong: &str| {
        let exchanges = session.iter().enumerate().map(|(other, (command, right))| Exchange {
            command: (*command).to_owned(),
            reply: if other == at { wrong } else { right }.into(),
        });
        let circumstances =
            Circumstances { body_failed: false, killed: false, unreadable_messages: false };
        let exchanges = exchanges.collect::<Vec<_>>();
        ReplyChecker::check(&originals, circumstances, &exchanges).1.join("\n")
    };
    assert_eq!(problems(0, session[0].1), "");
    for (at, wrong, expected) in [
        (1, "+OK\r\n1 4\r\n.\r\n", "sum up to 4"),
        (2, "+OK\r\n.\r\n", "a partial listing, without 1.a"),
        (2, "+OK\r\n1 1.a\r\n2 1.a\r\n.\r\n", "a unique-id is listed twice"),
        (2, "+OK\r\n1 1.a\r\n2 x\r\n.\r\n", "unknown message x"),
        (2, "+OK\r\n2 1.a\r\n.\r\n", "wrong octets of 1.a are listed"),
        (3, "+OK 3 octets\r\na\r\n", "no final dot"),
        (3, "+OK 3 octets\r\nb\r\n.\r\n", "3 octets that are not those of 1.a"),
        (3, "+OK 4 octets\r\na\r\n.\r\n", "3 octets are sent, other than announced"),
        (4, "+OK\r\nb\r\n.\r\n", "not the first lines of the message"),
        (6, "", "\"QUIT\": no reply"),
        (6, "+OK\r\n+OK\r\n", "more than one reply"),
        (6, "hello\r\n", "neither +OK nor -ERR"),
    ] {
        let found = problems(at, wrong);
        assert!(found.contains(expected), "{expected}: {found}");
    }
}
