//! The only place that reads from or writes to the stream of a session.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::ReadBuf;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout, timeout_at};
use zeroize::Zeroize as _;

use super::end::End;
use super::pace::Pace;
use super::stream::{SILENCE, Stream};
use crate::mailbox::Message;
use crate::protocol::{Encoder, Extent, Line, LineDecoder, LineError, LineLimit, Progress, Reply};

/// A stream with a bounded buffer on each side.
///
/// Output is held back until the client has to be waited for or the buffer is full, so that the
/// replies to pipelined commands share a write (RFC 2449 §6.6).
pub(super) struct Wire<'s> {
    stream: &'s mut dyn Stream,
    input: LineDecoder,
    output: Vec<u8>,
    /// Whether a message, or a part of one, is in `output`.
    carries_mail: bool,
    /// Whether nobody takes replies any more.
    peer_gone: bool,
    /// Whether the client may be silent because it has not read all that it was sent: then the session
    /// looks whether it takes something, and the system does not limit its silence.
    patient: bool,
    /// Octets sent since other sessions last had their turn.
    sent: usize,
    write_timeout: Duration,
    login_deadline: Option<Instant>,
}

/// When to stop waiting for the client, and what that means.
pub(super) struct Deadline {
    pub(super) until: Instant,
    pub(super) or: End,
}

impl<'s> Wire<'s> {
    pub(super) fn new(
        stream: &'s mut dyn Stream,
        write_timeout: Duration,
        login_deadline: Instant,
    ) -> Self {
        let login_deadline = Some(login_deadline);
        let (input, output) = (LineDecoder::default(), Vec::new());
        Self {
            stream,
            input,
            output,
            carries_mail: false,
            peer_gone: false,
            patient: false,
            sent: 0,
            write_timeout,
            login_deadline,
        }
    }

    /// The client has logged in: from now on it may take its time, as long as it takes something.
    pub(super) fn lift_deadline(&mut self) {
        self.login_deadline = None;
    }

    /// The next line that has come whole, if there is one.
    pub(super) fn next_line(&mut self, limit: LineLimit) -> Result<Option<&[u8]>, LineError> {
        self.input.next_line(limit)
    }

    /// What has come and has not been read as a line.
    pub(super) fn unread(&self) -> &[u8] {
        self.input.unread()
    }

    /// Whether the client is known to be gone. What it has sent before is still there to be read.
    pub(super) fn peer_gone(&self) -> bool {
        self.peer_gone
    }

    /// Sends what is held back if there is mail in it, and fails unless all of it could be sent.
    pub(super) async fn flush_mail(&mut self) -> Result<(), End> {
        if self.carries_mail { self.flush().await } else { Ok(()) }
    }

    /// Sends the last of it. Fails when the client is gone, however long it has been so.
    pub(super) async fn finish(&mut self) -> Result<(), End> {
        self.flush().await?;
        if self.peer_gone { Err(End::PeerClosed) } else { Ok(()) }
    }

    /// Waits for more from the client, who has been sent everything by now, unless the session is
    /// `recalled` before.
    pub(super) async fn fill(
        &mut self,
        deadline: Deadline,
        recalled: impl Future<Output = End>,
    ) -> Result<(), End> {
        // A session that waits holds no buffers.
        self.output = Vec::new();
        self.input.reclaim();
        let count = tokio::select! {
            biased;
            read = self.read(deadline) => read?,
            end = recalled => return Err(end),
        };
        if count == 0 {
            return Err(End::PeerClosed);
        }
        // Who sends has read what it was sent.
        if self.patient {
            self.be_strict();
        }
        Ok(())
    }

    /// Waits for octets from the client. It is not idle while it takes what it was sent before.
    async fn read(&mut self, mut deadline: Deadline) -> Result<usize, End> {
        let mut pace = Pace::new(self.write_timeout);
        loop {
            let look = if self.patient { pace.next_look() } else { deadline.until };
            let until = look.min(deadline.until);
            if let Ok(read) = timeout_at(until, receive(self.stream, &mut self.input)).await {
                return read.map_err(lost);
            }
            if deadline.until <= Instant::now() {
                return Err(deadline.or);
            }
            let taken = self.stream.taken();
            if let Some(busy) = pace.look(taken.octets) {
                if self.login_deadline.is_none() {
                    deadline.until += busy;
                }
            } else if pace.has_stopped() && !taken.all {
                return Err(End::WriteTimeout);
            }
            if taken.all {
                self.be_strict();
            }
        }
    }

    /// The client has taken all that it was sent.
    fn be_strict(&mut self) {
        self.patient = false;
        self.stream.limit_silence(Some(SILENCE));
    }

    /// Puts a status line into the buffer.
    pub(super) fn reply(&mut self, reply: &Reply) {
        reply.encode(&mut self.output);
    }

    /// Sends a last line if the client takes it at once. It gets nothing when it has not taken all
    /// that was before: some of that may have been sent.
    pub(super) async fn parting(&mut self, reply: &Reply) {
        if self.output.is_empty() {
            self.reply(reply);
            let _not_taken = timeout(Duration::ZERO, self.flush()).await;
        }
    }

    /// Puts a line into the buffer.
    pub(super) fn line(&mut self, line: &impl Line) {
        line.encode(&mut self.output);
        self.output.extend_from_slice(b"\r\n");
    }

    /// Sends the buffer when there is enough to be worth it.
    pub(super) async fn relieve(&mut self) -> Result<(), End> {
        if self.output.len() >= Self::ENOUGH { self.flush().await } else { Ok(()) }
    }

    /// Puts out a message as the body of a multi-line reply, final dot included.
    ///
    /// When the message cannot be read to its end, the dot is not sent and the session is over:
    /// the client must not take a part for the whole.
    pub(super) async fn body(
        &mut self,
        message: &mut impl Message,
        extent: Extent,
    ) -> Result<(), End> {
        let mut encoder = Encoder::new(extent);
        'message: loop {
            let chunk = message.chunk().await.map_err(End::BodyFailed)?;
            if chunk.is_empty() {
                break;
            }
            for piece in chunk.chunks(Self::ENOUGH) {
                self.carries_mail = true;
                if encoder.encode(piece, &mut self.output) == Progress::Complete {
                    break 'message;
                }
                self.relieve().await?;
            }
        }
        encoder.finish(&mut self.output);
        self.carries_mail = true;
        self.relieve().await
    }

    /// Sends all that is in the buffer.
    ///
    /// A client that does not take replies may be gone and yet have sent QUIT, which is obeyed
    /// (RFC 1939 §6 QUIT): replies are thrown away from then on. That is an error, and so the end of
    /// the session, before login, where no QUIT does anything, and when mail is lost.
    pub(super) async fn flush(&mut self) -> Result<(), End> {
        let sent = if self.peer_gone { Err(End::PeerClosed) } else { self.send().await };
        match sent {
            Err(End::PeerClosed) if self.login_deadline.is_none() && !self.carries_mail => {
                self.peer_gone = true;
                self.output.clear();
                Ok(())
            }
            outcome => outcome,
        }
    }

    async fn send(&mut self) -> Result<(), End> {
        let mut output = std::mem::take(&mut self.output);
        let mut rest = output.as_slice();
        while !rest.is_empty() {
            if rest.len() >= Self::ENOUGH {
                self.be_patient();
            }
            let taken = self.push(|stream, context| stream.poll_write(context, rest)).await?;
            if taken == 0 {
                return Err(End::PeerClosed);
            }
            rest = rest.get(taken..).unwrap_or_default();
            self.sent += taken;
        }
        self.push(|stream, context| stream.poll_flush(context)).await?;
        output.clear();
        self.output = output;
        self.carries_mail = false;
        // A client that is as fast as the server would keep this thread to itself.
        if self.sent >= Self::TURN {
            self.sent = 0;
            yield_now().await;
        }
        Ok(())
    }

    /// Does what may have to wait until the client has taken something: for as long as it takes
    /// anything at all, for a slow reader is not a dead one; before login, no longer than it has for
    /// that.
    async fn push<T>(
        &mut self,
        mut attempt: impl FnMut(Pin<&mut dyn Stream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Result<T, End> {
        let mut pace = Pace::new(self.write_timeout);
        loop {
            let look = pace.next_look();
            let until = self.login_deadline.map_or(look, |deadline| deadline.min(look));
            let attempt = poll_fn(|context| {
                let polled = attempt(Pin::new(&mut *self.stream), context);
                if polled.is_pending() {
                    self.be_patient();
                }
                polled
            });
            if let Ok(outcome) = timeout_at(until, attempt).await {
                return outcome.map_err(lost);
            }
            if self.login_deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Err(End::LoginTimeout);
            }
            if pace.look(self.stream.taken().octets).is_none() && pace.has_stopped() {
                return Err(End::WriteTimeout);
            }
        }
    }

    /// The client may have more to take than it has taken.
    fn be_patient(&mut self) {
        if !std::mem::replace(&mut self.patient, true) {
            self.stream.limit_silence(None);
        }
    }

    /// The size of a write, and the bound on what is held back.
    const ENOUGH: usize = 32 * 1024;

    /// So much is sent before other sessions have their turn: a fraction of a millisecond.
    const TURN: usize = 1 << 20;
}

/// Reads what has come, and says how many octets that is. The buffer is on the stack, and only while
/// there is something to read; it may have held a password.
async fn receive(stream: &mut dyn Stream, input: &mut LineDecoder) -> io::Result<usize> {
    poll_fn(|context| {
        let mut octets = [MaybeUninit::uninit(); READ];
        let mut read = ReadBuf::uninit(&mut octets);
        let polled = Pin::new(&mut *stream).poll_read(context, &mut read);
        // Only here: a line that comes whole costs no system call for this.
        if polled.is_pending() && !input.unread().is_empty() {
            stream.acknowledge();
        }
        ready!(polled)?;
        input.push(read.filled());
        let count = read.filled().len();
        read.initialized_mut().zeroize();
        Poll::Ready(Ok(count))
    })
    .await
}

const READ: usize = 1024;

/// A stream that failed: mostly the client is simply gone.
fn lost(error: io::Error) -> End {
    if matches!(
        error.kind(),
        ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NotConnected
            | ErrorKind::UnexpectedEof
            | ErrorKind::TimedOut
    ) {
        End::PeerClosed
    } else {
        End::Broken(error)
    }
}

#[cfg(test)]
mod tests;
