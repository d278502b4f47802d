//! What must be so after a session, whatever went wrong in it: the invariants of
//! `docs/RELIABILITY.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::path::Path;

use flate2::read::GzDecoder;

use super::dialogue::is_multi_line;
use super::record::Exchange;
use super::scenario::{files, late_message};

/// A message as it was before anything went wrong.
#[derive(Clone, Debug)]
pub(super) struct Original {
    /// The bytes of its file.
    pub(super) stored: Vec<u8>,
    /// What a client gets.
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

/// What is known of a session besides what was said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Circumstances {
    /// A message could not be sent to its end, and the connection was closed.
    pub(super) body_failed: bool,
    /// The process died.
    pub(super) killed: bool,
    /// Messages could not be opened for want of permission: a listing may go without them.
    pub(super) closed_messages: bool,
}

/// What a session asked for and was told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// The unique-ids that were marked when QUIT was sent.
    pub(super) committed: BTreeSet<String>,
    /// It was told that they are gone.
    pub(super) told: bool,
    /// It was told of a failure, or the connection was closed.
    pub(super) refused: bool,
}

/// Reads a conversation, and looks for what should not have been said.
pub(super) struct Reader<'a> {
    originals: &'a Originals,
    circumstances: Circumstances,
    listing: BTreeMap<&'a str, &'a str>,
    sizes: BTreeMap<&'a str, u64>,
    marked: BTreeSet<String>,
    outcome: Outcome,
    problems: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn read(
        originals: &'a Originals,
        circumstances: Circumstances,
        exchanges: &'a [Exchange],
    ) -> (Outcome, Vec<String>) {
        let mut reader = Reader {
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
            if let Err(problem) = reader.exchange(exchange, last) {
                let said = String::from_utf8_lossy(&exchange.reply);
                let said = said.chars().take(80).collect::<String>().escape_debug().to_string();
                reader.problems.push(format!("I3: {:?}: {problem}: {said}", exchange.command));
            }
        }
        (reader.outcome, reader.problems)
    }

    fn exchange(&mut self, exchange: &'a Exchange, last: bool) -> Result<(), String> {
        let Exchange { command, reply } = exchange;
        let is_body = command.starts_with("RETR") || command.starts_with("TOP");
        let excused = last && (self.circumstances.killed || self.circumstances.body_failed);
        let may_be_cut = excused && (is_body || self.circumstances.killed);
        if command == "QUIT" {
            self.outcome.committed = self.marked.clone();
        }
        let Some(end) = reply.windows(2).position(|pair| pair == b"\r\n") else {
            self.outcome.refused = true;
            return if may_be_cut { Ok(()) } else { Err("no reply".to_owned()) };
        };
        let (status, body) = reply.split_at(end + 2);
        let status = str::from_utf8(status).map_err(|_| "not text")?.trim_end();
        if status.starts_with("-ERR") {
            self.outcome.refused = true;
            return if body.is_empty() { Ok(()) } else { Err("more than one reply".to_owned()) };
        }
        if !status.starts_with("+OK") {
            return Err("no status".to_owned());
        }
        if !is_multi_line(command) {
            self.single(command, status)?;
            return if body.is_empty() { Ok(()) } else { Err("more than one reply".to_owned()) };
        }
        let Some(content) = content(body) else {
            self.outcome.refused = true;
            return if may_be_cut { Ok(()) } else { Err("no end".to_owned()) };
        };
        self.multi(command, status, &content, body)
    }

    fn single(&mut self, command: &str, status: &'a str) -> Result<(), String> {
        let mut words = command.split(' ');
        match (words.next().unwrap(), words.next()) {
            ("STAT", None) => {
                let mut numbers = status.split(' ').skip(1);
                self.sizes.insert("STAT", numbers.nth(1).unwrap().parse().unwrap());
            }
            ("DELE", Some(number)) => {
                let unique_id = self.listing.get(number).ok_or("no such message")?;
                self.marked.insert((*unique_id).to_owned());
            }
            ("QUIT", None) => self.outcome.told = true,
            _ => {}
        }
        Ok(())
    }

    fn multi(
        &mut self,
        command: &str,
        status: &str,
        content: &[u8],
        body: &'a [u8],
    ) -> Result<(), String> {
        let mut words = command.split(' ');
        let verb = words.next().unwrap();
        let Some(number) = words.next() else { return self.listing(verb, body) };
        let unique_id = *self.listing.get(number).ok_or("no such message")?;
        let expected = self.expected(unique_id).ok_or("a strange message")?;
        if verb == "TOP" {
            return if expected.starts_with(content) { Ok(()) } else { Err("wrong".to_owned()) };
        }
        if content != expected {
            return Err(format!("{} octets, and not those of {unique_id}", content.len()));
        }
        let announced = status.split(' ').nth(1).and_then(|octets| octets.parse().ok());
        if announced != Some(content.len())
            || self.sizes.get(number) != Some(&(content.len() as u64))
        {
            return Err(format!("{} octets are sent", content.len()));
        }
        Ok(())
    }

    fn listing(&mut self, verb: &str, body: &'a [u8]) -> Result<(), String> {
        let text = str::from_utf8(body).map_err(|_| "not text")?;
        let lines = text.lines().filter(|line| *line != ".");
        let pairs = lines.map(|line| line.split_once(' ').unwrap()).collect::<Vec<_>>();
        if verb == "LIST" {
            self.sizes.extend(pairs.iter().map(|(number, size)| (*number, size.parse().unwrap())));
            let sum: u64 =
                self.sizes.iter().filter(|(of, _)| **of != "STAT").map(|(_, size)| size).sum();
            return if self.sizes["STAT"] == sum { Ok(()) } else { Err(format!("sum {sum}")) };
        }
        self.listing = pairs.iter().copied().collect();
        let known = self.listing.values().copied().collect::<BTreeSet<_>>();
        if known.len() != pairs.len() {
            return Err("a unique-id twice".to_owned());
        }
        if let Some(missing) = self.originals.keys().find(|id| !known.contains(id.as_str()))
            && !self.circumstances.closed_messages
        {
            return Err(format!("a partial listing, without {missing}"));
        }
        for (number, unique_id) in &pairs {
            let expected = self.expected(unique_id).ok_or("a strange unique-id")?;
            if self.sizes.get(number) != Some(&(expected.len() as u64)) {
                return Err(format!("wrong octets of {unique_id}"));
            }
        }
        Ok(())
    }

    fn expected(&self, unique_id: &str) -> Option<Vec<u8>> {
        match self.originals.get(unique_id) {
            Some(original) => Some(original.sent.clone()),
            None => unique_id.starts_with("9.late-").then(|| sent(&late_message(unique_id))),
        }
    }
}

/// Looks at the files that a session has left; gives the unique-ids that are there.
pub(super) fn survivors(
    maildir: &Path,
    originals: &Originals,
    outcome: &Outcome,
) -> (BTreeSet<String>, Vec<String>) {
    let mut problems = Vec::new();
    let mut there = BTreeSet::new();
    let mut left = files(maildir).iter().map(|path| fs::read(path).unwrap()).collect::<Vec<_>>();
    let late = fs::read_dir(maildir.parent().unwrap().join("delivered")).unwrap();
    let late = late.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let late = late.map(|name| (name.clone(), late_message(&name)));
    let all = originals.iter().map(|(id, original)| (id.clone(), original.stored.clone()));
    for (unique_id, stored) in all.chain(late) {
        let before = left.len();
        left.retain(|bytes| *bytes != stored);
        let committed = outcome.committed.contains(&unique_id);
        match (before - left.len(), committed) {
            (0, true) => {}
            (1, true) if outcome.told => {
                problems.push(format!("I3: {unique_id} is there, and +OK was said to QUIT"));
            }
            (1, _) => drop(there.insert(unique_id)),
            (count, _) => problems.push(format!("I1: {unique_id} is there {count} times")),
        }
    }
    for stranger in left {
        let text = String::from_utf8_lossy(&stranger).chars().take(80).collect::<String>();
        problems.push(format!("I1: a strange file: {}", text.escape_debug()));
    }
    for entry in fs::read_dir(maildir).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !OURS.contains(&name.as_str()) {
            problems.push(format!("I1: {name} is left in the Maildir"));
        }
    }
    (there, problems)
}

/// The content of a reply of several lines, without doubled dots; nothing without its end.
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

/// What a client gets of a message.
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

/// What may be in a Maildir besides messages.
const OURS: [&str; 7] =
    ["cur", "new", "tmp", "maildirsize", "restante.index", "restante.index.new", "restante.lock"];
