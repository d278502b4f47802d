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
mod tests {
    use std::future::pending;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::{Mutex, PoisonError};

    use tokio::task::yield_now;
    use tokio::time::advance;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(5);
    const SECOND: Duration = Duration::from_secs(1);

    /// A store that works, refuses or hangs, and counts how often it is touched.
    #[derive(Clone, Default)]
    struct Store(Arc<Condition>);

    #[derive(Default)]
    struct Condition {
        state: Mutex<State>,
        probes: AtomicU32,
        calls: AtomicU32,
    }

    #[derive(Clone, Copy, Default)]
    enum State {
        #[default]
        Works,
        Refuses,
        Hangs,
    }

    impl Store {
        fn becomes(&self, state: State) {
            *self.0.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
        }

        async fn answer(&self) -> Result<(), String> {
            let state = *self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
            match state {
                State::Works => Ok(()),
                State::Refuses => Err("connection refused".to_owned()),
                State::Hangs => pending().await,
            }
        }

        async fn query(&self) -> Result<(), String> {
            self.0.calls.fetch_add(1, Ordering::Relaxed);
            self.answer().await
        }

        async fn probe(self) -> Result<(), String> {
            self.0.probes.fetch_add(1, Ordering::Relaxed);
            self.answer().await
        }

        fn probes(&self) -> u32 {
            self.0.probes.load(Ordering::Relaxed)
        }

        fn calls(&self) -> u32 {
            self.0.calls.load(Ordering::Relaxed)
        }
    }

    fn breaker(store: &Store) -> Breaker {
        let at_once = NonZeroU32::new(2).unwrap();
        let store = store.clone();
        Breaker::new("sql".to_owned(), at_once, DEADLINE, move || store.clone().probe())
    }

    /// Lets a second pass, and the tasks run that it wakes.
    async fn second() {
        settle().await;
        advance(SECOND).await;
        settle().await;
    }

    async fn settle() {
        for _ in 0..10 {
            yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_call_opens_it_at_once_and_a_probe_closes_it() {
        let store = Store::default();
        let breaker = breaker(&store);
        second().await;
        assert_eq!(breaker.call(DEADLINE, store.query()).await, Ok(()));
        store.becomes(State::Refuses);
        let refused = Err("connection refused".to_owned());
        assert_eq!(breaker.call(DEADLINE, store.query()).await, refused);
        settle().await;
        assert_eq!(breaker.down(), Some("connection refused".to_owned()));
        let calls = store.calls();
        for _ in 0..100 {
            assert_eq!(breaker.call(DEADLINE, store.query()).await, refused);
        }
        assert_eq!(store.calls(), calls, "the store is left alone");
        store.becomes(State::Works);
        second().await;
        assert_eq!(breaker.down(), None);
        assert_eq!(breaker.call(DEADLINE, store.query()).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_is_down_from_the_start_is_known_to_be() {
        let store = Store::default();
        store.becomes(State::Refuses);
        let breaker = breaker(&store);
        settle().await;
        assert_eq!(breaker.down(), Some("connection refused".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_that_fails_by_its_own_fault_opens_nothing() {
        let store = Store::default();
        let breaker = breaker(&store);
        for _ in 0..100 {
            let garbage = async { Err::<(), _>("invalid byte sequence".to_owned()) };
            assert!(breaker.call(DEADLINE, garbage).await.is_err());
            settle().await;
            assert_eq!(breaker.down(), None);
        }
        for _ in 0..3 {
            let slow = breaker.call(DEADLINE, pending::<Result<(), String>>()).await;
            assert_eq!(slow, Err("no answer within 5s".to_owned()));
            settle().await;
            assert_eq!(breaker.down(), None);
        }
        // A hundred at once, and then one each time that another was late.
        assert!(store.probes() <= 5, "{} probes", store.probes());
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_hangs_opens_it_after_the_deadline_of_the_probe() {
        let store = Store::default();
        let breaker = breaker(&store);
        second().await;
        store.becomes(State::Hangs);
        let begun = Instant::now();
        assert!(breaker.call(DEADLINE, store.query()).await.is_err());
        assert_eq!(begun.elapsed(), DEADLINE);
        for _ in 0..5 {
            second().await;
        }
        assert_eq!(breaker.down(), Some("no answer within 5s".to_owned()));
        let begun = Instant::now();
        assert!(breaker.call(DEADLINE, store.query()).await.is_err());
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn probes_grow_rarer_and_there_is_one_at_a_time() {
        let store = Store::default();
        store.becomes(State::Refuses);
        let breaker = breaker(&store);
        let mut at = Vec::new();
        for seconds in 0..46 {
            let before = store.probes();
            if seconds == 0 {
                settle().await
            } else {
                second().await
            }
            if store.probes() > before {
                at.push(seconds);
            }
        }
        assert_eq!(at, [0, 1, 3, 7, 15, 25, 35, 45]);
        assert!(breaker.down().is_some());
        assert_eq!(store.probes(), 8);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_wait_their_turn_within_their_deadline() {
        let store = Store::default();
        let breaker = breaker(&store);
        second().await;
        store.becomes(State::Hangs);
        let begun = Instant::now();
        let calls = (0..5).map(|_| breaker.call(DEADLINE, store.query()));
        let calls: Vec<_> = calls.map(Box::pin).collect();
        let mut outcomes = Vec::new();
        let all = async {
            let [a, b, c, d, e] = <[_; 5]>::try_from(calls).ok().unwrap();
            let (a, b, c, d, e) = tokio::join!(a, b, c, d, e);
            outcomes.extend([a, b, c, d, e]);
        };
        all.await;
        assert!(outcomes.iter().all(Result::is_err));
        assert_eq!(begun.elapsed(), DEADLINE);
        assert_eq!(store.calls(), 2, "two at once and no more");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_turn_is_answered_when_it_opens() {
        let store = Store::default();
        let breaker = breaker(&store);
        second().await;
        let slow = || breaker.call(DEADLINE, pending::<Result<(), String>>());
        let waiting = async {
            settle().await;
            let begun = Instant::now();
            let outcome = breaker.call(DEADLINE, store.query()).await;
            (outcome, begun.elapsed())
        };
        let opening = async {
            settle().await;
            store.becomes(State::Refuses);
            breaker.shared.suspicion.notify_one();
        };
        let (_, _, (outcome, waited), ()) = tokio::join!(slow(), slow(), waiting, opening);
        assert_eq!(outcome, Err("connection refused".to_owned()));
        assert!(waited <= SECOND, "{waited:?}");
        assert_eq!(store.calls(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_given_up_makes_room() {
        let store = Store::default();
        let breaker = breaker(&store);
        store.becomes(State::Hangs);
        for _ in 0..10 {
            let call = breaker.call(DEADLINE, store.query());
            assert!(timeout(Duration::from_millis(1), call).await.is_err());
        }
        store.becomes(State::Works);
        assert_eq!(breaker.call(DEADLINE, store.query()).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_prober_ends_with_the_breaker() {
        let store = Store::default();
        store.becomes(State::Refuses);
        let breaker = breaker(&store);
        second().await;
        drop(breaker);
        settle().await;
        let probes = store.probes();
        for _ in 0..30 {
            second().await;
        }
        assert_eq!(store.probes(), probes);
        assert_eq!(Arc::strong_count(&store.0), 1, "the task has let go of the store");
    }
}
