//! The watchdog of the service manager. It is notified only while the server makes progress. Without
//! a notification for `WatchdogSec=`, the service manager restarts the server.
//!
//! A separate thread, which does not depend on the runtime, checks twice in that time:
//!
//! - **the worker threads**, by a task that one of them must run. If one hangs, the others do its
//!   work; if all hang, no client is served.
//! - **each accept loop**, by a ping that it answers in its next round. If one hangs, the clients of
//!   its port wait for ever.
//! - **the threads for hashes**, by a job that one of them must run. If none is free, no user can log
//!   in, but there may only be many logins. So it is logged, and the server is restarted only if this
//!   lasts for [`MOST_TURNS`] turns.
//!
//! A file system that does not answer blocks only the threads for mail on it. A restart would not help,
//! so this is only logged.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc as tokio_mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tracing::{error, info, warn};

use super::service_manager::ServiceManager;
use crate::threads::{self, Pool};

/// How many turns the threads for hashes may take for one job: 10 minutes with `WatchdogSec=1min`.
const MOST_TURNS: u32 = 20;

/// Starts the watchdog, if the service manager requests one. It ends when the returned guard is
/// dropped.
pub(super) fn start(
    parts: &Arc<Parts>,
    service_manager: Arc<ServiceManager>,
) -> Option<Sender<()>> {
    let allowed = sd_notify::watchdog_enabled()?;
    let (guard, end) = mpsc::channel();
    let parts = Arc::clone(parts);
    let (hashes, mail) = (Hashes::default(), Mail::default());
    let watchdog = Watchdog { parts, hashes, mail, turn: allowed / 2, service_manager, end };
    match thread::Builder::new().name("watchdog".into()).spawn(|| watchdog.run()) {
        Ok(_) => Some(guard),
        Err(error) => {
            // The service manager will restart the server, which is right if it cannot start threads.
            error!("the watchdog cannot be started: {error}");
            None
        }
    }
}

struct Watchdog {
    parts: Arc<Parts>,
    hashes: Hashes,
    mail: Mail,
    /// Half of the time that the service manager allows.
    turn: Duration,
    service_manager: Arc<ServiceManager>,
    end: Receiver<()>,
}

impl Watchdog {
    fn run(mut self) {
        loop {
            let mut round = self.parts.ask();
            let mut waited = false;
            while !round.wait(self.turn / 2) {
                if self.is_over() {
                    return;
                }
                if !waited {
                    error!(
                        missing = round.missing(),
                        "the server makes no progress; the service manager restarts it unless \
                         this is over soon"
                    );
                }
                waited = true;
            }
            if waited {
                info!("the server makes progress again");
            }
            self.mail.log(threads::mail().stuck());
            if self.hashes.are_alive(threads::hashes()) {
                self.service_manager.alive();
            }
            match self.end.recv_timeout(self.turn) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.end.try_recv(), Err(TryRecvError::Disconnected))
    }
}

/// The parts that must answer at once.
pub(super) struct Parts {
    runtime: Handle,
    accept_loops: Vec<AcceptLoop>,
}

impl Parts {
    /// The parts of a server in the current runtime.
    pub(super) fn new(accept_loops: Vec<AcceptLoop>) -> Self {
        Self { runtime: Handle::current(), accept_loops }
    }

    /// Asks all of them.
    pub(super) fn ask(&self) -> Round {
        let (sender, answers) = mpsc::channel();
        let mut missing = BTreeSet::new();
        let mut ask = |part: String| {
            missing.insert(part.clone());
            Ping { part, answers: sender.clone() }
        };
        let ping = ask("worker threads".into());
        self.runtime.spawn(async { ping.answer() });
        let mut unsent = Vec::new();
        for accept_loop in &self.accept_loops {
            let ping = ask(format!("listener {}", accept_loop.address));
            // If the loop has ended, the ping is dropped.
            if let Err(TrySendError::Full(ping)) = accept_loop.pings.try_send(ping) {
                unsent.push(ping);
            }
        }
        Round { missing, answers, _unsent: unsent }
    }
}

/// The watchdog's end of an accept loop.
pub(super) struct AcceptLoop {
    address: SocketAddr,
    pings: tokio_mpsc::Sender<Ping>,
}

impl AcceptLoop {
    /// The two ends: that of the watchdog, and that of the accept loop.
    pub(super) fn new(address: SocketAddr) -> (Self, tokio_mpsc::Receiver<Ping>) {
        let (pings, asked) = tokio_mpsc::channel(PINGS);
        (Self { address, pings }, asked)
    }
}

/// Asks whether a part of the server makes progress. If it is dropped, the part has ended.
#[derive(Debug)]
pub(super) struct Ping {
    part: String,
    answers: Sender<String>,
}

impl Ping {
    pub(super) fn answer(self) {
        // It fails if the watchdog has ended.
        drop(self.answers.send(self.part));
    }
}

/// How many pings may wait for an accept loop: of the watchdog, and of those who ask for its health.
const PINGS: usize = 4;

/// Pings that were sent together.
pub(super) struct Round {
    missing: BTreeSet<String>,
    answers: Receiver<String>,
    /// Those for accept loops that have not answered the pings before.
    _unsent: Vec<Ping>,
}

impl Round {
    /// Waits until each ping has been answered or dropped, for at most `limit` each.
    pub(super) fn wait(&mut self, limit: Duration) -> bool {
        loop {
            match self.answers.recv_timeout(limit) {
                Ok(part) => drop(self.missing.remove(&part)),
                Err(RecvTimeoutError::Disconnected) => return true,
                Err(RecvTimeoutError::Timeout) => return false,
            }
        }
    }

    /// The parts that have not answered.
    pub(super) fn missing(&self) -> String {
        self.missing.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
    }
}

/// The threads for hashes, and the job that they have to run.
#[derive(Default)]
struct Hashes {
    job: Option<Receiver<()>>,
    turns: u32,
}

impl Hashes {
    /// Called once per turn. Whether the last job has run, or still may.
    fn are_alive(&mut self, pool: &Pool) -> bool {
        if let Some(job) = &self.job
            && matches!(job.try_recv(), Err(TryRecvError::Empty))
        {
            self.turns = self.turns.saturating_add(1);
            if self.turns == 1 {
                warn!("no thread is free to verify passwords: few can log in");
            } else if self.turns == MOST_TURNS {
                error!(
                    "still no thread is free to verify passwords; the service manager restarts \
                     the server"
                );
            }
            return self.turns < MOST_TURNS;
        }
        if self.turns > 0 {
            info!("threads are free to verify passwords again");
        }
        let (done, job) = mpsc::channel();
        // If it is refused, the next turn tries again.
        let taken = pool.start(move || drop(done)).is_ok();
        (self.job, self.turns) = (taken.then_some(job), 0);
        true
    }
}

/// The file systems on which no thread is free to read mail.
#[derive(Default)]
struct Mail {
    stuck: BTreeSet<Arc<str>>,
}

impl Mail {
    /// Logs the beginning and the end for each file system.
    fn log(&mut self, stuck: Vec<Arc<str>>) {
        let stuck: BTreeSet<_> = stuck.into_iter().collect();
        for what in stuck.difference(&self.stuck) {
            warn!("no thread is free for {what}: does the file system not answer?");
        }
        for what in self.stuck.difference(&stuck) {
            info!("threads are free for {what} again");
        }
        self.stuck = stuck;
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::{Builder, Runtime};

    use super::*;
    use crate::threads::Bounds;

    const LONG: Duration = Duration::from_secs(60);

    fn runtime() -> Runtime {
        Builder::new_multi_thread().worker_threads(2).build().unwrap()
    }

    /// Keeps a thread busy until what it gives back is dropped.
    fn hang(begin: impl FnOnce(Box<dyn FnOnce() + Send>)) -> Sender<()> {
        let (guard, end) = mpsc::channel::<()>();
        let (started, has_started) = mpsc::channel();
        begin(Box::new(move || {
            started.send(()).unwrap();
            assert!(end.recv().is_err());
        }));
        has_started.recv().unwrap();
        guard
    }

    fn hang_worker(runtime: &Runtime) -> Sender<()> {
        hang(|work| drop(runtime.spawn(async { work() })))
    }

    fn accept_loop() -> (AcceptLoop, tokio_mpsc::Receiver<Ping>) {
        AcceptLoop::new("127.0.0.1:995".parse().unwrap())
    }

    #[test]
    fn a_runtime_is_alive_until_all_its_workers_hang() {
        let runtime = runtime();
        let parts = Parts { runtime: runtime.handle().clone(), accept_loops: Vec::new() };
        assert!(parts.ask().wait(LONG));
        let one = hang_worker(&runtime);
        assert!(parts.ask().wait(LONG), "the other worker serves");
        let other = hang_worker(&runtime);
        let mut round = parts.ask();
        assert!(!round.wait(Duration::ZERO));
        assert_eq!(round.missing(), "worker threads");
        drop((one, other));
        assert!(round.wait(LONG));
        assert_eq!(round.missing(), "");
    }

    #[test]
    fn an_accept_loop_that_does_not_come_round_is_missed_until_it_ends() {
        let runtime = runtime();
        let (accept_loop, mut asked) = accept_loop();
        let parts = Parts { runtime: runtime.handle().clone(), accept_loops: vec![accept_loop] };
        let answering = runtime.spawn(async move {
            asked.recv().await.unwrap().answer();
            asked
        });
        assert!(parts.ask().wait(LONG));
        let asked = runtime.block_on(answering).unwrap();
        let mut round = parts.ask();
        let only_it = |round: &Round| round.missing() == "listener 127.0.0.1:995";
        while !only_it(&round) {
            assert!(!round.wait(Duration::ZERO));
        }
        drop(asked);
        assert!(round.wait(LONG), "it has ended, and with it the ping");
        assert!(parts.ask().wait(LONG));
    }

    #[test]
    fn threads_that_are_all_busy_are_borne_for_long_but_not_for_ever() {
        let bounds = Bounds { most: 1, queued: 9, wait: LONG };
        let (pool, mut hashes) = (Pool::new("test", "tests".into(), bounds), Hashes::default());
        let guard = hang(|work| pool.start(work).unwrap());
        assert!((0..MOST_TURNS).all(|_| hashes.are_alive(&pool)));
        assert!(!hashes.are_alive(&pool));
        assert!(!hashes.are_alive(&pool));
        drop(guard);
        // The job is run now.
        assert!(hashes.job.as_ref().unwrap().recv().is_err());
        assert!(hashes.are_alive(&pool));
        assert_eq!(hashes.turns, 0);
    }
}
