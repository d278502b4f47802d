//! Stands between the program and a store that is elsewhere: nobody waits for one that is down.
//!
//! - A call that fails or runs out of time is a suspicion, no more: it may be the fault of the
//!   question, and one client's garbage must not shut out the others. A suspicion sends the
//!   *probe*, a question that a working store can always answer; *its* failure opens the breaker.
//!   Where connections are refused that takes a moment; where the store hangs, as long as the probe
//!   may take, while the calls under way wait for their own deadline, no more than `at_once`.
//! - While it is open, calls are answered at once with the reason, and the store is left alone but
//!   for the probe: after 1 s, then after twice as long each time, at most every 10 s. The first
//!   probe that succeeds closes it.
//! - The first probe runs when the breaker is made, so that a store that is down from the start is
//!   known to be.
//! - However many calls fail, there is one probe at a time, and at most one a second.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

/// Lets calls to a store through while it works. See the head of this file for the rules.
pub struct Breaker {
    shared: Arc<Shared>,
    turns: Semaphore,
    /// Ends with the breaker.
    _prober: AbortOnDropHandle<()>,
}

struct Shared {
    /// The name of the store in the log.
    label: String,
    /// Why the store is down.
    down: watch::Sender<Option<String>>,
    suspicion: Notify,
}

impl Breaker {
    /// A breaker for the store that the log knows as `label`: at most `at_once` calls at a time, and
    /// a `probe` that has to be answered within `deadline`. Has to be called within a runtime.
    pub fn new<P: Future<Output = Result<(), String>> + Send + 'static>(
        label: String,
        at_once: NonZeroU32,
        deadline: Duration,
        probe: impl Fn() -> P + Send + 'static,
    ) -> Self {
        let permits = usize::try_from(at_once.get()).unwrap_or(usize::MAX);
        let shared =
            Arc::new(Shared { label, down: watch::Sender::new(None), suspicion: Notify::new() });
        shared.suspicion.notify_one();
        let prober = tokio::spawn(keep_probing(Arc::clone(&shared), deadline, probe));
        Self {
            shared,
            turns: Semaphore::new(permits.min(Semaphore::MAX_PERMITS)),
            _prober: AbortOnDropHandle::new(prober),
        }
    }

    /// Does `work` with the store, unless it is down.
    ///
    /// # Errors
    /// What `work` says; or that it was not done within `deadline`, the wait for a turn included;
    /// or why the store is down. Never anything about a password.
    pub async fn call<T>(
        &self,
        deadline: Duration,
        work: impl Future<Output = Result<T, String>>,
    ) -> Result<T, String> {
        let until = Instant::now() + deadline;
        let mut down = self.shared.down.subscribe();
        let turn = tokio::select! {
            biased;
            why = opened(&mut down) => return Err(why),
            turn = timeout_at(until, self.turns.acquire()) => turn,
        };
        let outcome = match turn {
            // A turn that comes with the deadline is none: the store is not touched.
            Ok(Ok(_turn)) if Instant::now() >= until => Err(late(deadline)),
            Ok(Ok(_turn)) => timeout_at(until, work).await.unwrap_or_else(|_| Err(late(deadline))),
            Ok(Err(closed)) => Err(closed.to_string()),
            Err(_elapsed) => Err(late(deadline)),
        };
        if outcome.is_err() {
            self.shared.suspicion.notify_one();
        }
        outcome
    }

    /// Why the store is down, if it is known to be.
    pub fn down(&self) -> Option<String> {
        self.shared.down.borrow().clone()
    }
}

impl Shared {
    fn open(&self, why: String) {
        self.down.send_modify(|down| {
            if down.is_none() {
                warn!(store = self.label, why, "the store is down; logins are put off");
            }
            *down = Some(why);
        });
    }

    fn close(&self) {
        self.down.send_if_modified(|down| {
            let was_down = down.take().is_some();
            if was_down {
                info!(store = self.label, "the store works again");
            }
            was_down
        });
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker")
            .field("label", &self.shared.label)
            .field("down", &self.down())
            .finish_non_exhaustive()
    }
}

/// Waits until the breaker is open.
async fn opened(down: &mut watch::Receiver<Option<String>>) -> String {
    let open = down.wait_for(Option::is_some).await;
    // The sender lives as long as the breaker.
    open.ok().and_then(|why| why.clone()).unwrap_or_default()
}

async fn keep_probing<P: Future<Output = Result<(), String>>>(
    shared: Arc<Shared>,
    deadline: Duration,
    probe: impl Fn() -> P,
) {
    loop {
        shared.suspicion.notified().await;
        let mut pause = SHORTEST_PAUSE;
        while let Err(why) =
            timeout(deadline, probe()).await.unwrap_or_else(|_| Err(late(deadline)))
        {
            shared.open(why);
            sleep(pause).await;
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
        shared.close();
        sleep(SHORTEST_PAUSE).await;
    }
}

fn late(deadline: Duration) -> String {
    format!("no answer within {deadline:?}")
}

const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
