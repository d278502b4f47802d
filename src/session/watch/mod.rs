//! Watches: the dialogue of sessions as it happens, for an operator.
//!
//! - While nobody watches, a line costs a session one atomic read.
//! - A session never waits for a watch: what does not fit into its queue is left out and counted.
//! - `shown`: what is shown of a line, which is nothing that may be secret.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;

use super::connections::{Connections, Handle};
use crate::protocol::{Line, Username};

pub(super) mod shown;

/// The watches of a server.
#[derive(Debug, Default)]
pub(super) struct Watches {
    is_any: AtomicBool,
    all: RwLock<Vec<Arc<Watcher>>>,
}

/// The side of a watch that the sessions have.
struct Watcher {
    selects: Box<dyn Fn(&Handle) -> bool + Send + Sync>,
    /// Each line with the number of lines that were left out before it.
    queue: mpsc::Sender<(u64, WatchedLine)>,
    left_out: AtomicU64,
}

/// A watch of some connections, until it is dropped.
#[derive(Debug)]
pub struct Watch {
    connections: Arc<Connections>,
    watcher: Arc<Watcher>,
    queue: mpsc::Receiver<(u64, WatchedLine)>,
    /// A line that comes after a [`Watched::LeftOut`].
    next: Option<WatchedLine>,
}

/// What a watch yields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    /// A line.
    Line(WatchedLine),
    /// The number of lines that were left out, because they came faster than they were taken.
    LeftOut(u64),
}

/// A line of a dialogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedLine {
    /// When it was read or put into the output.
    pub at: SystemTime,
    /// The number of the connection.
    pub number: u64,
    /// The user who has logged in.
    pub user: Option<Username>,
    /// Who says it.
    pub from: Speaker,
    /// What is shown of it: characters that a terminal shows, and nothing that may be secret.
    pub text: String,
}

/// Who says a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// The client.
    Client,
    /// The session, to the client.
    Server,
    /// Nobody: something has happened to the connection.
    Connection,
}

impl Connections {
    /// Watches the connections that `selects` chooses, those that are there and those that come.
    /// `selects` is asked for each line, because a connection has a user only after login.
    pub fn watch(
        self: &Arc<Self>,
        selects: impl Fn(&Handle) -> bool + Send + Sync + 'static,
    ) -> Watch {
        let (sender, queue) = mpsc::channel(QUEUE);
        let watcher = Arc::new(Watcher {
            selects: Box::new(selects),
            queue: sender,
            left_out: AtomicU64::new(0),
        });
        self.watches().change(|all| all.push(Arc::clone(&watcher)));
        Watch { connections: Arc::clone(self), watcher, queue, next: None }
    }
}

impl Watch {
    /// Waits for what comes next. Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Watched {
        if let Some(line) = self.next.take() {
            return Watched::Line(line);
        }
        let next = match self.queue.try_recv() {
            Ok(next) => Some(next),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => {
                match self.watcher.left_out.swap(0, Ordering::Relaxed) {
                    // The sender lives as long as the watch.
                    0 => self.queue.recv().await,
                    left_out => return Watched::LeftOut(left_out),
                }
            }
        };
        match next {
            Some((0, line)) => Watched::Line(line),
            Some((left_out, line)) => {
                self.next = Some(line);
                Watched::LeftOut(left_out)
            }
            None => std::future::pending().await,
        }
    }

    /// Whether something can be taken without waiting.
    pub fn is_ready(&self) -> bool {
        self.next.is_some() || !self.queue.is_empty()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let is_other = |watcher: &Arc<Watcher>| !Arc::ptr_eq(watcher, &self.watcher);
        self.connections.watches().change(|all| all.retain(is_other));
    }
}

impl Watches {
    /// Whether there is a watch of any connection.
    pub(super) fn is_any(&self) -> bool {
        self.is_any.load(Ordering::Relaxed)
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Arc<Watcher>>)) {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut all);
        self.is_any.store(!all.is_empty(), Ordering::Relaxed);
    }

    /// Gives a line to the watches of a connection. `text` is called if there is one.
    #[cold]
    pub(super) fn tell(&self, handle: &Handle, from: Speaker, text: impl FnOnce() -> String) {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        let mut watchers = all.iter().filter(|watcher| (watcher.selects)(handle)).peekable();
        if watchers.peek().is_none() {
            return;
        }
        let (number, user) = (handle.number(), handle.user());
        let line = WatchedLine {
            at: SystemTime::now(),
            number,
            user,
            from,
            text: shown::printable(&text()),
        };
        for watcher in watchers {
            watcher.put(line.clone());
        }
    }
}

impl Watcher {
    fn put(&self, line: WatchedLine) {
        let before = self.left_out.swap(0, Ordering::Relaxed);
        if self.queue.try_send((before, line)).is_err() {
            self.left_out.fetch_add(before + 1, Ordering::Relaxed);
        }
    }
}

/// The lines of a multi-line reply, of which a watch is told the first ones and then the number.
pub(super) struct ShownLines<'h> {
    handle: &'h Handle,
    lines: u64,
}

impl<'h> ShownLines<'h> {
    pub(super) fn new(handle: &'h Handle) -> Self {
        Self { handle, lines: 0 }
    }

    pub(super) fn tell(&mut self, line: &impl Line) {
        self.lines += 1;
        if self.lines <= MOST_LINES {
            self.handle.tell(Speaker::Server, || shown::line(line));
        }
    }

    /// All lines have come.
    pub(super) fn end(self) {
        if let more @ 1.. = self.lines.saturating_sub(MOST_LINES) {
            self.handle.tell(Speaker::Server, || format!("<{more} more lines>"));
        }
        self.handle.tell(Speaker::Server, || ".".to_owned());
    }
}

/// The lines of a reply that are shown.
const MOST_LINES: u64 = 20;

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher").field("left_out", &self.left_out).finish_non_exhaustive()
    }
}

/// Lines that wait for a watch. Each has a reply of 512 octets at most.
const QUEUE: usize = 1024;

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[tokio::test]
    async fn a_watch_that_is_not_read_leaves_lines_out_and_says_how_many() {
        let connections = Arc::<Connections>::default();
        let open = connections.enter(SocketAddr::from(([192, 0, 2, 1], 50_000)));
        let handle = open.handle();
        let tell = |n: usize| handle.tell(Speaker::Client, || n.to_string());
        tell(0);
        let mut watch = connections.watch(|handle| handle.number() == 1);
        let other = connections.watch(|handle| handle.number() == 2);
        for n in 1..=QUEUE + 37 {
            tell(n);
        }
        let mut line = async || match watch.next().await {
            Watched::Line(line) => line.text,
            Watched::LeftOut(lines) => format!("{lines} left out"),
        };
        assert_eq!(line().await, "1");
        tell(QUEUE + 38);
        for n in 2..=QUEUE {
            assert_eq!(line().await, n.to_string());
        }
        assert_eq!(line().await, "37 left out");
        assert_eq!(line().await, (QUEUE + 38).to_string());
        for n in 0..=QUEUE {
            tell(n);
        }
        for n in 0..QUEUE {
            assert_eq!(line().await, n.to_string());
        }
        // Nothing follows that would say it.
        assert_eq!(line().await, "1 left out");
        assert!(!other.is_ready());
        drop(watch);
        assert!(connections.watches().is_any());
        drop(other);
        assert!(!connections.watches().is_any());
    }
}
