//! Clients that are slow, silent, or gone.

use std::future::pending;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, Empty, Join, Sink,
    duplex, empty, join, sink,
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::login::Identity;
use crate::mailbox::memory::MemoryStore;
use crate::mailbox::{Mailbox as _, Maildrop as _, Position};
use crate::session::Taken;

impl Stream for Join<Empty, Sink> {
    fn acknowledge(&self) {}

    fn limit_silence(&self, _most: Option<Duration>) {}
}

/// A pipe that counts the calls of `acknowledge`, and records the limits of silence.
struct Counted {
    pipe: DuplexStream,
    acknowledged: AtomicU32,
    limits: Mutex<Vec<Option<Duration>>>,
    /// The octets that it reports as taken.
    taken: Arc<AtomicU64>,
}

impl Counted {
    fn new(pipe: DuplexStream) -> Self {
        let (acknowledged, taken) = (AtomicU32::new(0), Arc::new(AtomicU64::new(ALL)));
        Self { pipe, acknowledged, limits: Mutex::default(), taken }
    }
}

const ALL: u64 = u64::MAX;

impl Stream for Counted {
    fn acknowledge(&self) {
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
    }

    fn limit_silence(&self, most: Option<Duration>) {
        self.limits.lock().unwrap().push(most);
    }

    fn taken(&self) -> Taken {
        let octets = self.taken.load(Ordering::Relaxed);
        Taken { octets, all: octets == ALL }
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

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(context)
    }
}

#[tokio::test(start_paused = true)]
async fn a_part_of_a_line_is_acknowledged_while_the_rest_is_awaited() {
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
            // The second time the rest of the line does not come.
            for _ in 0..2 {
                let deadline = Instant::now() + second;
                match wire.fill(deadline, pin!(pending())).await {
                    Ok(()) | Err(End::LoginTimeout) => {}
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
async fn a_client_with_more_to_read_may_be_silent_for_longer_until_it_sends_again() {
    let (mut client, pipe) = duplex(64 * 1024);
    let mut stream = Counted::new(pipe);
    let minute = Duration::from_secs(60);
    let deadline = || Instant::now() + minute;
    for (lines, limits) in [(1, &[][..]), (20_000, &[None, Some(SILENCE)]), (10, &[])] {
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
            wire.fill(deadline(), pin!(pending())).await.unwrap();
        }
        assert_eq!(*stream.limits.lock().unwrap(), limits, "{lines}");
    }
}

const LIMIT: Duration = Duration::from_secs(300);

/// The time from the end of `client` to the end of `session`, and its result.
async fn ending(
    client: impl Future<Output = ()>,
    session: impl Future<Output = Result<(), End>>,
) -> (Duration, Result<(), End>) {
    let client = async {
        client.await;
        Instant::now()
    };
    let session = async { (session.await, Instant::now()) };
    let (stopped, (outcome, ended)) = tokio::join!(client, session);
    (ended - stopped, outcome)
}

/// Takes an octet a minute for an hour.
async fn take_slowly(taken: Arc<AtomicU64>) {
    for _ in 0..60 {
        sleep(LIMIT / 5).await;
        taken.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_written_to_until_it_stops() {
    let (_client, pipe) = duplex(64);
    let mut stream = Counted::new(pipe);
    stream.taken = Arc::default();
    let taken = Arc::clone(&stream.taken);
    let mut wire = Wire::new(&mut stream, LIMIT, Instant::now() + LIMIT);
    wire.lift_deadline();
    wire.line(&"x".repeat(1000).as_str());
    wire.carries_mail = true;
    let (after, outcome) = ending(take_slowly(taken), wire.flush()).await;
    assert!(matches!(outcome, Err(End::WriteTimeout)));
    assert!(after >= LIMIT && after < LIMIT + Duration::from_secs(6), "{after:?}");
    assert_eq!(*stream.limits.lock().unwrap(), [None]);
}

/// All output has been written, and the session waits for the next command.
#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_not_idle_until_it_stops() {
    for (everything, expected) in [(false, End::WriteTimeout), (true, End::IdleTimeout)] {
        let (_client, pipe) = duplex(64 << 10);
        let mut stream = Counted::new(pipe);
        stream.taken = Arc::default();
        let (taken, end) = (Arc::clone(&stream.taken), Arc::clone(&stream.taken));
        let client = async {
            take_slowly(taken).await;
            if everything {
                end.store(ALL, Ordering::Relaxed);
            }
        };
        let mut wire = Wire::new(&mut stream, LIMIT, Instant::now() + LIMIT);
        wire.lift_deadline();
        wire.line(&"x".repeat(40_000).as_str());
        wire.flush().await.unwrap();
        let idle = Instant::now() + 2 * LIMIT;
        let (after, outcome) = ending(client, wire.fill(idle, pin!(pending()))).await;
        assert_eq!(outcome.unwrap_err().to_string(), expected.to_string());
        let limit = if everything { 2 * LIMIT } else { LIMIT };
        let slack = Duration::from_secs(6);
        assert!(after >= limit - slack && after < limit + slack, "{everything}: {after:?}");
        let strict = everything.then_some(Some(SILENCE));
        let limits: Vec<_> = std::iter::once(None).chain(strict).collect();
        assert_eq!(*stream.limits.lock().unwrap(), limits);
    }
}

#[tokio::test(start_paused = true)]
async fn before_login_taking_a_little_does_not_help() {
    let (_client, pipe) = duplex(64);
    let mut stream = Counted::new(pipe);
    stream.taken = Arc::default();
    let taken = Arc::clone(&stream.taken);
    let begun = Instant::now();
    let mut wire = Wire::new(&mut stream, LIMIT, begun + LIMIT / 2);
    wire.line(&"x".repeat(1000).as_str());
    tokio::select! {
        () = take_slowly(taken) => panic!("it is still being written to"),
        outcome = wire.flush() => assert!(matches!(outcome, Err(End::LoginTimeout))),
    }
    assert!(begun.elapsed() < LIMIT / 2 + Duration::from_secs(1));
}

#[tokio::test]
async fn other_sessions_have_their_turn_while_a_message_is_sent() {
    let identity = Identity::for_test("mrose");
    let store = MemoryStore::default();
    store.deliver(identity.username(), "1", vec![b'x'; 20 * Wire::TURN]);
    let maildrop = store.open(&identity, &CancellationToken::default()).await.unwrap();
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
