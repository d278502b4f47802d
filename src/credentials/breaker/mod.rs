//! A circuit breaker for a store on another machine or in another program: no login waits for a
//! store that is down.
//!
//! - A call that fails or times out does not open the breaker: the question itself may be at fault,
//!   and one client's garbage must not shut out the others. It starts the *probe*, a question that a
//!   working store can always answer. If the probe fails, the breaker opens. Where connections are
//!   refused that takes a moment. Where the store hangs it takes the deadline of the probe, and
//!   meanwhile at most `at_once` calls wait for their own deadline.
//! - While the breaker is open, calls fail at once with the reason. Only the probe asks the store:
//!   after 1 s, then with pauses that double up to 10 s. The first probe that succeeds closes the
//!   breaker.
//! - The first probe runs when the breaker is made, to find a store that is down from the start.
//! - However many calls fail, there is one probe at a time, and at most one a second.

use std::fmt::{Debug, Display};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use super::Outage;
use crate::config::Asking;
use crate::counters;

/// Lets calls through to a store whose errors are `E`, while it works. The rules are at the head of
/// this file.
#[derive(Debug)]
pub(super) struct Breaker<E> {
    shared: Arc<Shared<E>>,
    permits: Semaphore,
    deadline: Duration,
    /// Ends with the breaker.
    _prober: AbortOnDropHandle<()>,
}

/// Why a store has not answered.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error<E> {
    /// The store has failed.
    #[error("{0}")]
    Store(E),
    /// The store has not answered in time.
    #[error("no answer within {0:?}")]
    Late(Duration),
}

#[derive(Debug)]
struct Shared<E> {
    /// The name of the store in the log.
    label: String,
    /// `None` while the store works.
    down: watch::Sender<Option<Down<E>>>,
    /// A call has failed.
    failed: Notify,
}

/// The store is down.
#[derive(Debug)]
struct Down<E> {
    why: Arc<Error<E>>,
    since: Instant,
}

impl<E: Debug + Display + Send + Sync + 'static> Breaker<E> {
    /// A breaker for `store`, which the log knows as `label`. `asking` says how
    /// many calls run at a time, and how long each of them and each `probe` may take. To be called
    /// within a runtime.
    pub(super) fn new<
        S: Send + Sync + 'static,
        P: Future<Output = Result<(), E>> + Send + 'static,
    >(
        label: String,
        Asking { deadline, at_once }: Asking,
        store: &Arc<S>,
        probe: impl Fn(Arc<S>) -> P + Send + 'static,
    ) -> Self {
        let store = Arc::clone(store);
        let probe = move || probe(Arc::clone(&store));
        let permits = usize::try_from(at_once.get()).unwrap_or(usize::MAX);
        let (down, failed) = (watch::Sender::new(None), Notify::new());
        let shared = Arc::new(Shared { label, down, failed });
        shared.failed.notify_one();
        let prober = tokio::spawn(keep_probing(Arc::clone(&shared), deadline, probe));
        Self {
            shared,
            permits: Semaphore::new(permits.min(Semaphore::MAX_PERMITS)),
            deadline,
            _prober: AbortOnDropHandle::new(prober),
        }
    }

    /// Does `work` with the store, unless it is down. The deadline includes the wait for a permit.
    ///
    /// # Errors
    /// Why there is no answer, or why the store is down. Never anything about a password.
    pub(super) async fn call<T>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Arc<Error<E>>> {
        let begun = Instant::now();
        let until = begun + self.deadline;
        let mut down = self.shared.down.subscribe();
        let permit = tokio::select! {
            biased;
            why = opened(&mut down) => return Err(why),
            permit = timeout_at(until, self.permits.acquire()) => permit,
        };
        let outcome = match permit {
            // A permit that comes with the deadline comes too late: the store is not asked.
            Ok(Ok(_permit)) if Instant::now() < until => timeout_at(until, work).await.ok(),
            Ok(_) | Err(_) => None,
        };
        let late = Err(Error::Late(self.deadline));
        let outcome = outcome.map_or(late, |done| done.map_err(Error::Store));
        if let Some(counters) = counters::on() {
            counters.stores.count(&self.shared.label, begun, outcome.is_err());
        }
        if outcome.is_err() {
            self.shared.failed.notify_one();
        }
        outcome.map_err(Arc::new)
    }

    /// Does `work` with the store, past the breaker.
    ///
    /// # Errors
    /// Why there is no answer.
    pub(super) fn bypass<T>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> impl Future<Output = Result<T, Error<E>>> {
        within(self.deadline, work)
    }

    /// Since when and why the store is down, if it is known to be.
    pub(super) fn down(&self) -> Option<Outage> {
        let down = self.shared.down.borrow();
        down.as_ref().map(|down| Outage { why: Arc::clone(&down.why).into(), since: down.since })
    }
}

impl<E: Display> Shared<E> {
    fn open(&self, why: Error<E>) {
        self.down.send_modify(|down| {
            if down.is_none() {
                warn!(store = self.label, %why, "the store is down; logins are put off");
            }
            let since = down.as_ref().map_or_else(Instant::now, |down| down.since);
            *down = Some(Down { why: Arc::new(why), since });
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

/// Waits until the breaker is open.
async fn opened<E>(down: &mut watch::Receiver<Option<Down<E>>>) -> Arc<Error<E>> {
    let down = down.wait_for(Option::is_some).await.ok();
    let why = down.and_then(|down| down.as_ref().map(|down| Arc::clone(&down.why)));
    match why {
        Some(why) => why,
        // The sender lives as long as the breaker.
        None => pending().await,
    }
}

async fn keep_probing<E: Display, P: Future<Output = Result<(), E>>>(
    shared: Arc<Shared<E>>,
    deadline: Duration,
    probe: impl Fn() -> P,
) {
    loop {
        shared.failed.notified().await;
        let mut pause = SHORTEST_PAUSE;
        while let Err(why) = within(deadline, probe()).await {
            shared.open(why);
            sleep(pause).await;
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
        shared.close();
        sleep(SHORTEST_PAUSE).await;
    }
}

/// Does `work` within the deadline.
async fn within<T, E>(
    deadline: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, Error<E>> {
    match timeout(deadline, work).await {
        Ok(done) => done.map_err(Error::Store),
        Err(_elapsed) => Err(Error::Late(deadline)),
    }
}

const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
