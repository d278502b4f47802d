//! The only place that reads from or writes to the stream of a session.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf};
use tokio::task::yield_now;
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroize as _;

use super::End;
use crate::mailbox::Message;
use crate::protocol::{Appetite, Encoder, Extent, Line, LineDecoder, LineFault, LineLimit, Reply};

/// What a session runs on: a socket, TLS over one, or a pipe in memory.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {
    /// Acknowledges at once what has been read: the client may be holding back the rest of its line
    /// until then. Called each time that a session waits in the middle of a line.
    fn acknowledge(&self);

    /// Has the system end the connection when what was sent is not acknowledged for so long, or when
    /// nothing was sent and the client has been gone for so long.
    fn limit_silence(&self, most: Duration);
}

/// How long a client may be gone without a trace while the session waits for its next command.
pub const SILENCE: Duration = Duration::from_secs(120);

impl Stream for DuplexStream {
    /// Nobody waits for that.
    fn acknowledge(&self) {}

    /// A pipe does not break in silence.
    fn limit_silence(&self, _most: Duration) {}
}

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
    /// Whether the client is given the time of a slow reader: it may be silent because it has more
    /// than it has read.
    patient: bool,
    /// Octets sent since other sessions last had their turn.
    sent: usize,
    write_timeout: Duration,
    login_deadline: Option<Instant>,
}

/// When to stop waiting for the client, and what that means.
pub(super) struct Patience {
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
    pub(super) fn next_line(&mut self, limit: LineLimit) -> Result<Option<&[u8]>, LineFault> {
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
        patience: Patience,
        recalled: impl Future<Output = End>,
    ) -> Result<(), End> {
        // A session that waits holds no buffers.
        self.output = Vec::new();
        self.input.reclaim();
        let read = timeout_at(patience.until, receive(self.stream, &mut self.input));
        let count = tokio::select! {
            biased;
            read = read => match read {
                Err(_elapsed) => return Err(patience.or),
                Ok(read) => read.map_err(lost)?,
            },
            end = recalled => return Err(end),
        };
        if count == 0 {
            return Err(End::PeerClosed);
        }
        // Who sends has read what it was sent.
        if std::mem::take(&mut self.patient) {
            self.stream.limit_silence(SILENCE);
        }
        Ok(())
    }

    /// Puts a status line into the buffer.
    pub(super) fn reply(&mut self, reply: &Reply) {
        reply.encode(&mut self.output);
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
                if encoder.encode(piece, &mut self.output) == Appetite::Sated {
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

    /// The time-out starts anew with each octet that is taken: a slow reader is not a dead one.
    async fn send(&mut self) -> Result<(), End> {
        let mut rest = self.output.as_slice();
        while !rest.is_empty() {
            let patience = patience(self.write_timeout, self.login_deadline);
            if !self.patient && rest.len() >= Self::ENOUGH {
                self.patient = true;
                self.stream.limit_silence(self.write_timeout + LATER);
            }
            let write = write(self.stream, rest, &mut self.patient, self.write_timeout);
            let taken = timeout_at(patience.until, write)
                .await
                .map_err(|_elapsed| patience.or)?
                .map_err(lost)?;
            if taken == 0 {
                return Err(End::PeerClosed);
            }
            rest = rest.get(taken..).unwrap_or_default();
            self.sent += taken;
        }
        let patience = patience(self.write_timeout, self.login_deadline);
        timeout_at(patience.until, self.stream.flush())
            .await
            .map_err(|_elapsed| patience.or)?
            .map_err(lost)?;
        self.output.clear();
        self.carries_mail = false;
        // A client that is as fast as the server would keep this thread to itself.
        if self.sent >= Self::TURN {
            self.sent = 0;
            yield_now().await;
        }
        Ok(())
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

/// Writes what the stream takes. Once it takes nothing, the client is given the time of a slow reader.
async fn write(
    stream: &mut dyn Stream,
    octets: &[u8],
    patient: &mut bool,
    write_timeout: Duration,
) -> io::Result<usize> {
    poll_fn(|context| {
        let polled = Pin::new(&mut *stream).poll_write(context, octets);
        if polled.is_pending() && !std::mem::replace(patient, true) {
            stream.limit_silence(write_timeout + LATER);
        }
        polled
    })
    .await
}

/// So much later than the session's own time-out, which knows more, the system ends a connection.
const LATER: Duration = Duration::from_secs(10);

/// How long a client may take nothing; before login, no longer than it has for that.
fn patience(write_timeout: Duration, login_deadline: Option<Instant>) -> Patience {
    let until = Instant::now() + write_timeout;
    match login_deadline {
        Some(deadline) if deadline < until => Patience { until: deadline, or: End::LoginTimeout },
        Some(_) | None => Patience { until, or: End::WriteTimeout },
    }
}

/// A stream that failed: mostly the client is simply gone.
fn lost(error: io::Error) -> End {
    if matches!(
        error.kind(),
        ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
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
mod tests {
    use std::future::pending;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::{Arc, Mutex};
    use std::task::Context;

    use tokio::io::{AsyncReadExt as _, Empty, Join, Sink, duplex, empty, join, sink};

    use super::*;
    use crate::auth::Identity;
    use crate::mailbox::memory::MemoryStore;
    use crate::mailbox::{Mailbox as _, Maildrop as _, Position};

    impl Stream for Join<Empty, Sink> {
        fn acknowledge(&self) {}

        fn limit_silence(&self, _most: Duration) {}
    }

    /// A pipe that counts what it is asked to acknowledge, and keeps the limits that it is given.
    struct Counted {
        pipe: DuplexStream,
        acknowledged: AtomicU32,
        limits: Mutex<Vec<Duration>>,
    }

    impl Counted {
        fn new(pipe: DuplexStream) -> Self {
            Self { pipe, acknowledged: AtomicU32::new(0), limits: Mutex::default() }
        }
    }

    impl Stream for Counted {
        fn acknowledge(&self) {
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
        }

        fn limit_silence(&self, most: Duration) {
            self.limits.lock().unwrap().push(most);
        }
    }

    impl AsyncRead for Counted {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            read: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.pipe).poll_read(context, read)
        }
    }

    impl AsyncWrite for Counted {
        fn poll_write(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            octets: &[u8],
        ) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.pipe).poll_write(context, octets)
        }

        fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.pipe).poll_flush(context)
        }

        fn poll_shutdown(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.pipe).poll_shutdown(context)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_ends_within_a_line_is_acknowledged_when_the_rest_is_waited_for() {
        let (mut client, pipe) = duplex(1024);
        let mut stream = Counted::new(pipe);
        let hour = Duration::from_secs(3600);
        let second = Duration::from_secs(1);
        for (sent, acknowledged) in [
            (&[&b"NOOP\r\n"[..]][..], false),
            (&[b"NOOP\r\nNOOP\r\n", b"QUIT\r\n"], false),
            (&[b"NOOP", b"\r\n"], true),
            (&[b"NOOP\r\nNO", b"OP", b"\r\n"], true),
        ] {
            stream.acknowledged = AtomicU32::new(0);
            let mut wire = Wire::new(&mut stream, hour, Instant::now() + hour);
            for piece in sent {
                client.write_all(piece).await.unwrap();
                // The second time nothing more comes.
                for _ in 0..2 {
                    let patience =
                        Patience { until: Instant::now() + second, or: End::IdleTimeout };
                    match wire.fill(patience, pending()).await {
                        Ok(()) | Err(End::IdleTimeout) => {}
                        Err(end) => panic!("{end}"),
                    }
                    while wire.next_line(LineLimit::Command).unwrap().is_some() {}
                }
            }
            let asked = stream.acknowledged.load(Ordering::Relaxed) > 0;
            assert_eq!(asked, acknowledged, "{sent:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_more_to_read_may_be_silent_for_longer_until_it_sends_again() {
        let (mut client, pipe) = duplex(64 * 1024);
        let mut stream = Counted::new(pipe);
        let minute = Duration::from_secs(60);
        let patience = || Patience { until: Instant::now() + minute, or: End::IdleTimeout };
        let slow = 10 * minute + LATER;
        for (lines, limits) in [(1, &[][..]), (20_000, &[slow, SILENCE]), (10, &[])] {
            stream.limits.lock().unwrap().clear();
            let mut wire = Wire::new(&mut stream, 10 * minute, Instant::now() + 30 * minute);
            for _ in 0..lines {
                wire.line(&"NOOP");
            }
            let mut unread = vec![0; lines * 6];
            let (sent, read) = tokio::join!(wire.flush(), client.read_exact(&mut unread));
            assert!(sent.is_ok() && read.is_ok());
            for _ in 0..2 {
                client.write_all(b"NOOP\r\n").await.unwrap();
                wire.fill(patience(), pending()).await.unwrap();
            }
            assert_eq!(*stream.limits.lock().unwrap(), limits, "{lines}");
        }
    }

    #[tokio::test]
    async fn other_sessions_have_their_turn_while_a_message_is_sent() {
        let identity = Identity::for_test("mrose");
        let store = MemoryStore::default();
        store.deliver(identity.username(), "1", vec![b'x'; 20 * Wire::TURN]);
        let maildrop = store.open(&identity).await.unwrap();
        let mut message = maildrop.message(Position(0)).await.unwrap();
        let turns = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&turns);
        tokio::spawn(async move {
            loop {
                counter.fetch_add(1, Ordering::Relaxed);
                yield_now().await;
            }
        });
        let mut stream = join(empty(), sink());
        let hour = Duration::from_secs(3600);
        let mut wire = Wire::new(&mut stream, hour, Instant::now() + hour);
        assert!(wire.body(&mut message, Extent::Whole).await.is_ok());
        assert!(turns.load(Ordering::Relaxed) >= 18);
    }
}
