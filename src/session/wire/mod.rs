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
/// Output is held back until the session waits for the client or the buffer is full, so that the
/// replies to pipelined commands share a write (RFC 2449 §6.6).
pub(super) struct Wire<'s> {
    stream: &'s mut dyn Stream,
    input: LineDecoder,
    output: Vec<u8>,
    /// Whether `output` has a message or a part of one.
    carries_mail: bool,
    /// Whether the client is gone, so that replies are discarded.
    peer_gone: bool,
    /// Whether the client may be silent because it has not read all that it was sent. Then the system
    /// does not limit its silence, and the session checks whether it takes octets.
    may_be_silent: bool,
    /// Octets sent since other sessions last had their turn.
    sent: usize,
    write_timeout: Duration,
    login_deadline: Option<Instant>,
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
            may_be_silent: false,
            sent: 0,
            write_timeout,
            login_deadline,
        }
    }

    /// The client has logged in: from now on writes may take any time, as long as it takes octets.
    pub(super) fn lift_deadline(&mut self) {
        self.login_deadline = None;
    }

    /// The next complete line, if there is one.
    pub(super) fn next_line(&mut self, limit: LineLimit) -> Result<Option<&[u8]>, LineError> {
        self.input.next_line(limit)
    }

    /// The octets that have been received and not been read as a line.
    pub(super) fn unread(&self) -> &[u8] {
        self.input.unread()
    }

    /// Whether the client is known to be gone. What it has sent before can still be read.
    pub(super) fn peer_gone(&self) -> bool {
        self.peer_gone
    }

    /// Sends the buffer if it has mail in it. Fails unless all of it could be sent.
    pub(super) async fn flush_mail(&mut self) -> Result<(), End> {
        if self.carries_mail { self.flush().await } else { Ok(()) }
    }

    /// Sends the rest of the output. Fails if the client is gone, even since earlier.
    pub(super) async fn finish(&mut self) -> Result<(), End> {
        self.flush().await?;
        if self.peer_gone { Err(End::PeerClosed) } else { Ok(()) }
    }

    /// Waits for octets from the client, after all output has been sent, until a deadline, and unless
    /// the session is `recalled` before. The caller pins `recalled`: an argument takes its memory
    /// twice.
    pub(super) async fn fill(
        &mut self,
        deadline: Instant,
        recalled: Pin<&mut impl Future<Output = End>>,
    ) -> Result<(), End> {
        // A waiting session holds no buffers.
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
        // A client that sends has read what it was sent.
        if self.may_be_silent {
            self.limit_silence();
        }
        Ok(())
    }

    /// Waits for octets from the client. The client is not idle while it takes earlier output.
    fn read(&mut self, mut deadline: Instant) -> impl Future<Output = Result<usize, End>> {
        let mut pace = Pace::new(self.write_timeout);
        // A block, because the arguments of an `async fn` take their memory twice.
        async move {
            loop {
                let look = if self.may_be_silent { pace.next_look() } else { deadline };
                let until = look.min(deadline);
                if let Ok(read) = timeout_at(until, receive(self.stream, &mut self.input)).await {
                    return read.map_err(lost);
                }
                if deadline <= Instant::now() {
                    let is_logged_in = self.login_deadline.is_none();
                    return Err(if is_logged_in { End::IdleTimeout } else { End::LoginTimeout });
                }
                let taken = self.stream.taken();
                if let Some(busy) = pace.look(taken.octets) {
                    if self.login_deadline.is_none() {
                        deadline += busy;
                    }
                } else if pace.has_stopped() && !taken.all {
                    return Err(End::WriteTimeout);
                }
                if taken.all {
                    self.limit_silence();
                }
            }
        }
    }

    /// The client has taken all that it was sent.
    fn limit_silence(&mut self) {
        self.may_be_silent = false;
        self.stream.limit_silence(Some(SILENCE));
    }

    /// Appends a status line to the buffer.
    pub(super) fn reply(&mut self, reply: &Reply) {
        reply.encode(&mut self.output);
    }

    /// Sends a last line if the client takes it at once; returns whether it does. The line is omitted
    /// while earlier output is in the buffer, because a part of that may have been sent.
    pub(super) async fn farewell(&mut self, reply: &Reply) -> bool {
        if !self.output.is_empty() {
            return false;
        }
        self.reply(reply);
        matches!(timeout(Duration::ZERO, self.flush()).await, Ok(Ok(())))
    }

    /// Appends a line to the buffer.
    pub(super) fn line(&mut self, line: &impl Line) {
        line.encode(&mut self.output);
        self.output.extend_from_slice(b"\r\n");
    }

    /// Sends the buffer once it is full.
    pub(super) async fn flush_if_full(&mut self) -> Result<(), End> {
        if self.output.len() >= Self::FULL { self.flush().await } else { Ok(()) }
    }

    /// Sends a message as the body of a multi-line reply, including the final dot. Returns the number
    /// of octets before that.
    ///
    /// If the message cannot be read to its end, the dot is not sent and the session ends: the client
    /// must not take a part for the whole message.
    pub(super) async fn body(
        &mut self,
        message: &mut impl Message,
        extent: Extent,
    ) -> Result<u64, End> {
        let mut encoder = Encoder::new(extent);
        let mut octets = 0;
        'message: loop {
            let chunk = message.chunk().await.map_err(End::BodyFailed)?;
            if chunk.is_empty() {
                break;
            }
            for piece in chunk.chunks(Self::FULL) {
                self.carries_mail = true;
                let before = self.output.len();
                let progress = encoder.encode(piece, &mut self.output);
                octets += (self.output.len() - before) as u64;
                if progress == Progress::Complete {
                    break 'message;
                }
                self.flush_if_full().await?;
            }
        }
        encoder.finish(&mut self.output);
        self.carries_mail = true;
        self.flush_if_full().await?;
        Ok(octets)
    }

    /// Sends all that is in the buffer.
    ///
    /// A client that is gone may have sent QUIT before, which is obeyed (RFC 1939 §6 QUIT); from then on
    /// replies are discarded. That the client is gone is an error, which ends the session, only
    /// before login, where QUIT has no effect, and if mail is lost.
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
            if rest.len() >= Self::FULL {
                self.allow_silence();
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
        // A client that is as fast as the server would occupy this thread.
        if self.sent >= Self::TURN {
            self.sent = 0;
            yield_now().await;
        }
        Ok(())
    }

    /// Repeats `attempt` until it succeeds, for as long as the client takes octets, however slowly;
    /// before login, until the login deadline at most.
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
                    self.allow_silence();
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

    /// The client may not have taken all that it was sent.
    fn allow_silence(&mut self) {
        if !std::mem::replace(&mut self.may_be_silent, true) {
            self.stream.limit_silence(None);
        }
    }

    /// The size of a write, and the limit of the buffer.
    const FULL: usize = 32 * 1024;

    /// The octets that are sent before other sessions get their turn: a fraction of a millisecond.
    const TURN: usize = 1 << 20;
}

/// Reads what has been received, and returns the number of octets. The buffer is on the stack, only
/// while there are octets to read, and is zeroed, because it may have held a password.
async fn receive(stream: &mut dyn Stream, input: &mut LineDecoder) -> io::Result<usize> {
    poll_fn(|context| {
        let mut octets = [MaybeUninit::uninit(); READ];
        let mut read = ReadBuf::uninit(&mut octets);
        let polled = Pin::new(&mut *stream).poll_read(context, &mut read);
        // Only here: a line that arrives whole needs no system call for this.
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

/// Why a stream failed: usually the client is gone.
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
