//! One connection to the server, before or after login: commands, their replies, and the record of
//! both.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use super::record::Record;
use super::rule::{Finding, require};
use crate::cli::client::{Connection, Error, Stream};

/// A connection. Its methods block.
pub(super) struct Dialogue {
    runtime: Rc<Runtime>,
    record: Rc<RefCell<Record>>,
    wire: Wire,
}

enum Wire {
    Plain(Connection<TcpStream>),
    Tls(Box<Connection<Stream>>),
}

/// The first line of a reply.
#[derive(Debug)]
pub(super) struct Reply {
    line: Vec<u8>,
    /// The line as it is shown.
    text: String,
}

/// A message as it was sent.
#[derive(Debug)]
pub(super) struct Message {
    /// Without the dots that were added to lines.
    pub(super) text: Vec<u8>,
    /// A line that begins with a dot that was not doubled.
    pub(super) single_dot: Option<String>,
    /// The number of lines that begin with a dot.
    pub(super) dotted: usize,
    /// A line that does not end with CRLF.
    pub(super) no_crlf: Option<String>,
}

impl Dialogue {
    pub(super) fn plain(
        runtime: &Rc<Runtime>,
        record: &Rc<RefCell<Record>>,
        stream: TcpStream,
        patience: Duration,
    ) -> Self {
        let wire = Wire::Plain(Connection::new(stream, patience));
        Self { runtime: Rc::clone(runtime), record: Rc::clone(record), wire }
    }

    pub(super) fn secure(
        runtime: &Rc<Runtime>,
        record: &Rc<RefCell<Record>>,
        stream: Stream,
        patience: Duration,
    ) -> Self {
        let wire = Wire::Tls(Box::new(Connection::new(stream, patience)));
        Self { runtime: Rc::clone(runtime), record: Rc::clone(record), wire }
    }

    /// The stream for a handshake, if everything that the server sent has been read.
    pub(super) fn into_stream(self) -> Result<TcpStream, Finding> {
        match self.wire {
            Wire::Plain(connection) => Ok(connection.into_stream()?),
            Wire::Tls(_) => Err(Finding::not_tested("TLS is already active")),
        }
    }

    /// Sends these octets, which are complete commands or a part of one.
    pub(super) fn send(&mut self, octets: &[u8]) -> Result<(), Finding> {
        self.record.borrow_mut().sent(octets);
        Ok(self.transmit(octets)?)
    }

    /// The next first line of a reply.
    pub(super) fn reply(&mut self) -> Result<Reply, Finding> {
        let line = self.unrecorded(MAX_LINE)?;
        Ok(self.first_line(line))
    }

    /// Sends a command, and waits for the first line of its reply.
    pub(super) fn ask(&mut self, command: &str) -> Result<Reply, Finding> {
        self.send(format!("{command}\r\n").as_bytes())?;
        self.reply()
    }

    /// Sends a command that the server has to accept.
    pub(super) fn accepts(&mut self, command: &str) -> Result<Reply, Finding> {
        let reply = self.ask(command)?;
        require(reply.is_ok(), || format!("{} is refused", name(command)))?;
        Ok(reply)
    }

    /// Sends a command that the server has to refuse with `-ERR`.
    pub(super) fn refuses(&mut self, command: &str) -> Result<(), Finding> {
        let reply = self.ask(command)?;
        require(reply.is_err(), || format!("{} does not get -ERR", name(command)))
    }

    /// Sends a command that the server has to refuse, with `-ERR` or by closing the connection.
    pub(super) fn refuses_or_closes(&mut self, command: &str, why: &str) -> Result<(), Finding> {
        let command = format!("{command}\r\n");
        self.record.borrow_mut().sent(command.as_bytes());
        let received = self.transmit(command.as_bytes()).and_then(|()| self.receive(MAX_LINE));
        match self.unless_closed(received)? {
            Some(line) => require(self.first_line(line).is_err(), || why.to_owned()),
            None => Ok(()),
        }
    }

    /// Sends a command with a reply of several lines; `None` if it is refused.
    pub(super) fn listing(&mut self, command: &str) -> Result<Option<Vec<Vec<u8>>>, Finding> {
        match self.ask(command)? {
            reply if reply.is_ok() => Ok(Some(self.lines()?)),
            reply if reply.is_err() => Ok(None),
            _ => Err(Finding::broken(format!("{} gets neither +OK nor -ERR", name(command)))),
        }
    }

    /// The rest of a reply of several lines, without line endings.
    pub(super) fn lines(&mut self) -> Result<Vec<Vec<u8>>, Finding> {
        let mut lines = Vec::new();
        loop {
            let line = self.line()?;
            let line = line.strip_suffix(b"\n").unwrap_or(&line);
            match line.strip_suffix(b"\r").unwrap_or(line) {
                b"." => return Ok(lines),
                [b'.', line @ ..] | line => lines.push(line.to_vec()),
            }
            require(lines.len() <= MOST_LINES, || {
                format!("a reply has more than {MOST_LINES} lines, and no dot that ends it")
            })?;
        }
    }

    /// Sends RETR or TOP, and reads the message, whose text is not recorded; `None` if it is refused.
    pub(super) fn message(&mut self, command: &str) -> Result<Option<Message>, Finding> {
        if !self.ask(command)?.is_ok() {
            return Ok(None);
        }
        let mut message = Message { text: Vec::new(), single_dot: None, dotted: 0, no_crlf: None };
        loop {
            let line = self.unrecorded(MAX_MESSAGE)?;
            if matches!(line.as_slice(), b".\r\n" | b".\n") {
                if line == b".\n" {
                    message.no_crlf.get_or_insert_with(|| "the final dot".to_owned());
                }
                break;
            }
            message.add(&line, |line| self.shown(line));
            require(message.text.len() <= MAX_MESSAGE, || {
                format!("the reply to {command} has more than {MAX_MESSAGE} octets")
            })?;
        }
        self.note(&format!("S: a message of {} octets", message.text.len()));
        Ok(Some(message))
    }

    /// Whether the server has closed the connection.
    pub(super) fn is_closed(&mut self) -> Result<bool, Finding> {
        let received = self.receive(MAX_LINE);
        match self.unless_closed(received) {
            Ok(None) => Ok(true),
            Err(Error::Silent(_)) => Ok(false),
            Err(error) => Err(error.into()),
            Ok(Some(line)) => {
                self.record.borrow_mut().received(&line);
                Err(Finding::broken(format!("the server sends \"{}\"", self.shown(&line))))
            }
        }
    }

    /// Waits.
    pub(super) fn wait(&self, time: Duration) {
        self.runtime.block_on(async { tokio::time::sleep(time).await });
    }

    /// Records what is neither a command nor a line.
    pub(super) fn note(&self, what: &str) {
        self.record.borrow_mut().note(what);
    }

    /// Records the first line of a reply.
    fn first_line(&self, line: Vec<u8>) -> Reply {
        let mut record = self.record.borrow_mut();
        record.received(&line);
        let text = record.observe(&line);
        Reply { line, text }
    }

    /// Text of the server as it is shown.
    pub(super) fn shown(&self, text: &[u8]) -> String {
        self.record.borrow().shown(text)
    }

    fn line(&mut self) -> Result<Vec<u8>, Finding> {
        let line = self.unrecorded(MAX_LINE)?;
        self.record.borrow_mut().received(&line);
        Ok(line)
    }

    fn unrecorded(&mut self, most: usize) -> Result<Vec<u8>, Finding> {
        self.receive(most).map_err(|error| {
            self.note(&error.to_string());
            error.into()
        })
    }

    fn receive(&mut self, most: usize) -> Result<Vec<u8>, Error> {
        let line = match &mut self.wire {
            Wire::Plain(connection) => self.runtime.block_on(connection.whole_line(most)),
            Wire::Tls(connection) => self.runtime.block_on(connection.whole_line(most)),
        };
        line.map(<[u8]>::to_vec)
    }

    /// What was received; `None` if the server has closed the connection.
    fn unless_closed(&self, received: Result<Vec<u8>, Error>) -> Result<Option<Vec<u8>>, Error> {
        match received {
            Err(Error::Closed | Error::Io(_)) => {
                self.note("the server closes the connection");
                Ok(None)
            }
            received => received.map(Some),
        }
    }

    fn transmit(&mut self, octets: &[u8]) -> Result<(), Error> {
        match &mut self.wire {
            Wire::Plain(connection) => self.runtime.block_on(connection.send(octets)),
            Wire::Tls(connection) => self.runtime.block_on(connection.send(octets)),
        }
    }
}

impl Reply {
    pub(super) fn is_ok(&self) -> bool {
        self.after(b"+OK").is_some()
    }

    pub(super) fn is_err(&self) -> bool {
        self.after(b"-ERR").is_some()
    }

    /// Whether the server expects a response (RFC 5034 §4).
    pub(super) fn is_challenge(&self) -> bool {
        self.line.starts_with(b"+ ") || self.line.trim_ascii_end() == b"+"
    }

    /// The same without a challenge in it.
    pub(super) fn is_empty_challenge(&self) -> bool {
        self.line == b"+ \r\n"
    }

    /// Whether it has this response code.
    pub(super) fn has_code(&self, code: &str) -> bool {
        let text = self.after(b"-ERR").unwrap_or_default();
        let code = format!(" [{code}]");
        text.get(..code.len()).is_some_and(|start| start.eq_ignore_ascii_case(code.as_bytes()))
    }

    /// The words after `+OK`.
    pub(super) fn words(&self) -> Vec<&[u8]> {
        let text = self.after(b"+OK").unwrap_or_default();
        text.strip_prefix(b" ").unwrap_or(text).split(|octet| *octet == b' ').collect()
    }

    /// The reply as it is shown.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    fn after(&self, status: &[u8]) -> Option<&[u8]> {
        let start = self.line.get(..status.len())?;
        let rest = self.line.get(status.len()..)?.trim_ascii_end();
        let is_whole = rest.is_empty() || rest.starts_with(b" ");
        (is_whole && start.eq_ignore_ascii_case(status)).then_some(rest)
    }
}

impl Message {
    fn add(&mut self, line: &[u8], shown: impl Fn(&[u8]) -> String) {
        if !line.ends_with(b"\r\n") {
            self.no_crlf.get_or_insert_with(|| shown(line));
        }
        self.dotted += usize::from(line.starts_with(b"."));
        match line {
            [b'.', b'.', ..] => self.text.extend_from_slice(line.get(1..).unwrap_or_default()),
            [b'.', rest @ ..] => {
                self.single_dot.get_or_insert_with(|| shown(line));
                self.text.extend_from_slice(rest);
            }
            _ => self.text.extend_from_slice(line),
        }
    }

    /// The header with the blank line that ends it, and the lines of the body.
    pub(super) fn parts(&self) -> (&[u8], Vec<&[u8]>) {
        let end = memchr::memmem::find(&self.text, b"\r\n\r\n").map(|at| at + 4);
        let end = if self.text.starts_with(b"\r\n") { Some(2) } else { end };
        let (header, body) = self.text.split_at(end.unwrap_or(self.text.len()));
        (header, body.split_inclusive(|octet| *octet == b'\n').collect())
    }
}

/// The keyword of a command, for the texts of findings.
fn name(command: &str) -> &str {
    match command.len() {
        0..=40 => command,
        _ => command.split(' ').next().unwrap_or(command),
    }
}

/// The longest line of a reply but for messages; those of replies are shorter.
const MAX_LINE: usize = 1 << 16;

/// The longest message that is read.
const MAX_MESSAGE: usize = 1 << 26;

/// The most lines of a listing.
const MOST_LINES: usize = 1_000_000;
