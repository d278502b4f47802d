//! A record of a session's commands and replies. It survives the death of the process.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use crate::session::Stream;

/// What client and server have sent, in order.
#[derive(Clone)]
pub(super) struct Record(Arc<Mutex<Entries>>);

struct Entries {
    bytes: Vec<u8>,
    /// Written to before an octet is sent, if the process is to be killed.
    file: Option<File>,
}

/// A command and its reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Exchange {
    /// Empty for the greeting.
    pub(super) command: String,
    pub(super) reply: Vec<u8>,
}

impl Record {
    pub(super) fn in_memory() -> Self {
        Self(Arc::new(Mutex::new(Entries { bytes: Vec::new(), file: None })))
    }

    pub(super) fn in_file(path: &Path) -> Self {
        let file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        Self(Arc::new(Mutex::new(Entries { bytes: Vec::new(), file: Some(file) })))
    }

    /// Records a command that the client is about to send.
    pub(super) fn command(&self, command: &str) {
        self.enter(COMMAND, command.as_bytes());
    }

    /// The commands so far, with their replies.
    pub(super) fn exchanges(&self) -> Vec<Exchange> {
        parse(&self.0.lock().unwrap().bytes)
    }

    fn enter(&self, whose: u8, bytes: &[u8]) {
        let mut written = self.0.lock().unwrap();
        let length = u32::try_from(bytes.len()).unwrap().to_le_bytes();
        let entry = [&[whose], &length[..], bytes].concat();
        match &mut written.file {
            Some(file) => file.write_all(&entry).unwrap(),
            None => written.bytes.extend(entry),
        }
    }
}

/// Reads the record in a file.
pub(super) fn parse(mut bytes: &[u8]) -> Vec<Exchange> {
    let mut exchanges = vec![Exchange { command: String::new(), reply: Vec::new() }];
    while let [whose, a, b, c, d, rest @ ..] = bytes {
        let length = usize::try_from(u32::from_le_bytes([*a, *b, *c, *d])).unwrap();
        // The process may have been killed while it wrote this entry.
        let (entry, rest) = rest.split_at(length.min(rest.len()));
        bytes = rest;
        if *whose == COMMAND {
            let command = String::from_utf8(entry.to_vec()).unwrap();
            exchanges.push(Exchange { command, reply: Vec::new() });
        } else {
            exchanges.last_mut().unwrap().reply.extend(entry);
        }
    }
    exchanges
}

/// The server's end of a pipe; records all that the server sends.
pub(super) struct RecordedStream {
    pub(super) stream: DuplexStream,
    pub(super) record: Record,
}

impl Stream for RecordedStream {
    fn acknowledge(&self) {}

    fn limit_silence(&self, _most: Option<Duration>) {}
}

impl AsyncRead for RecordedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for RecordedStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let length = ready!(Pin::new(&mut this.stream).poll_write(context, bytes))?;
        this.record.enter(REPLY, &bytes[..length]);
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

const COMMAND: u8 = b'C';
const REPLY: u8 = b'S';
