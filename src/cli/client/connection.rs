//! Lines to and from a server, each of a bounded length and time.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

use super::{Error, MAX_LINE, Shown, within};

/// A connection to a server.
#[derive(Debug)]
pub(in super::super) struct Connection<S> {
    stream: BufReader<S>,
    line: Vec<u8>,
    patience: Duration,
}

/// The first line of a reply.
#[derive(Debug)]
pub(in super::super) enum Status {
    Ok,
    Err(Shown),
    /// The server expects a response (RFC 5034 §4).
    Continue,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// A connection to a server that has this long for each line.
    pub(in super::super) fn new(stream: S, patience: Duration) -> Self {
        Self { stream: BufReader::new(stream), line: Vec::new(), patience }
    }

    /// Sends commands, each with its CRLF.
    pub(in super::super) async fn send(&mut self, commands: &[u8]) -> Result<(), Error> {
        within(self.patience, self.stream.write_all(commands)).await??;
        Ok(within(self.patience, self.stream.flush()).await??)
    }

    /// The first line of a reply.
    pub(in super::super) async fn status(&mut self) -> Result<Status, Error> {
        match self.line(MAX_LINE).await? {
            [b'+', b' ', ..] | b"+" => Ok(Status::Continue),
            line if begins(line, b"+OK") => Ok(Status::Ok),
            line if begins(line, b"-ERR") => Ok(Status::Err(Shown::new(line))),
            line => Err(Error::NotPop3(Shown::new(line))),
        }
    }

    /// The next line of a reply of several lines, with at most so many octets; `None` after the last
    /// one.
    pub(in super::super) async fn next_line(
        &mut self,
        most: usize,
    ) -> Result<Option<&[u8]>, Error> {
        // RFC 1939 §3: a line that begins with a dot has one more.
        Ok(match self.line(most).await? {
            b"." => None,
            [b'.', line @ ..] | line => Some(line),
        })
    }

    /// The next line as it is, with its line ending.
    pub(in super::super) async fn whole_line(&mut self, most: usize) -> Result<&[u8], Error> {
        self.line.clear();
        let mut bounded = (&mut self.stream).take(most as u64 + 1);
        within(self.patience, bounded.read_until(b'\n', &mut self.line)).await??;
        match self.line.last() {
            Some(b'\n') => Ok(&self.line),
            Some(_) if self.line.len() > most => Err(Error::LongLine(most)),
            Some(_) | None => Err(Error::Closed),
        }
    }

    /// The stream, if everything that the server sent has been read.
    pub(in super::super) fn into_stream(self) -> Result<S, Error> {
        if self.stream.buffer().is_empty() {
            Ok(self.stream.into_inner())
        } else {
            Err(Error::TextBeforeTls)
        }
    }

    /// The next line, without its line ending.
    async fn line(&mut self, most: usize) -> Result<&[u8], Error> {
        let line = self.whole_line(most).await?;
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        Ok(line.strip_suffix(b"\r").unwrap_or(line))
    }
}

fn begins(line: &[u8], word: &[u8]) -> bool {
    line.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
}
