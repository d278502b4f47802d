//! When a breaker opens and closes, and what callers get meanwhile.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::task::yield_now;
use tokio::time::advance;

use super::*;

const DEADLINE: Duration = Duration::from_secs(5);
const SECOND: Duration = Duration::from_secs(1);
const REFUSED: &str = "connection refused";

/// A store that works, refuses or hangs, and counts how often it is asked.
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

    async fn answer(&self) -> Result<(), &'static str> {
        let state = *self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state {
            State::Works => Ok(()),
            State::Refuses => Err(REFUSED),
            State::Hangs => pending().await,
        }
    }

    async fn query(&self) -> Result<(), &'static str> {
        self.0.calls.fetch_add(1, Ordering::Relaxed);
        self.answer().await
    }

    async fn probe(&self) -> Result<(), &'static str> {
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

fn breaker(store: &Store) -> Breaker<&'static str> {
    let asking = Asking { deadline: DEADLINE, at_once: NonZeroU32::new(2).unwrap() };
    let probe = |store: Arc<Store>| async move { store.probe().await };
    Breaker::new("sql".to_owned(), asking, &Arc::new(store.clone()), probe)
}

/// Why the store is down.
fn why(breaker: &Breaker<&'static str>) -> Option<String> {
    breaker.down().map(|outage| outage.why.to_string())
}

/// Advances the clock by a second and runs the tasks that it wakes.
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
    assert_eq!(breaker.call(store.query()).await, Ok(()));
    store.becomes(State::Refuses);
    let refused = Err(Arc::new(Error::Store(REFUSED)));
    assert_eq!(breaker.call(store.query()).await, refused);
    settle().await;
    assert_eq!(why(&breaker).as_deref(), Some(REFUSED));
    let calls = store.calls();
    for _ in 0..100 {
        assert_eq!(breaker.call(store.query()).await, refused);
    }
    assert_eq!(store.calls(), calls, "the store is not asked");
    store.becomes(State::Works);
    second().await;
    assert_eq!(why(&breaker), None);
    assert_eq!(breaker.call(store.query()).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_from_the_start_is_known_to_be() {
    let store = Store::default();
    store.becomes(State::Refuses);
    let breaker = breaker(&store);
    settle().await;
    assert_eq!(why(&breaker).as_deref(), Some(REFUSED));
}

/// The reason is the latest one, the time that of the first.
#[tokio::test(start_paused = true)]
async fn an_outage_lasts_until_the_store_answers() {
    let store = Store::default();
    let breaker = breaker(&store);
    second().await;
    for (state, expected) in [(State::Refuses, REFUSED), (State::Hangs, "no answer within 5s")] {
        let begun = Instant::now();
        store.becomes(State::Refuses);
        assert!(breaker.call(store.query()).await.is_err());
        settle().await;
        store.becomes(state);
        for _ in 0..20 {
            second().await;
        }
        let outage = breaker.down().unwrap();
        assert_eq!((outage.why.to_string().as_str(), outage.since), (expected, begun));
        store.becomes(State::Works);
        for _ in 0..20 {
            second().await;
        }
        assert!(breaker.down().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_itself_at_fault_does_not_open_it() {
    let store = Store::default();
    let breaker = breaker(&store);
    for _ in 0..100 {
        let garbage = async { Err::<(), _>("invalid byte sequence") };
        assert!(breaker.call(garbage).await.is_err());
        settle().await;
        assert_eq!(why(&breaker), None);
    }
    for _ in 0..3 {
        let slow = breaker.call(pending::<Result<(), &str>>()).await;
        assert_eq!(slow, Err(Arc::new(Error::Late(DEADLINE))));
        settle().await;
        assert_eq!(why(&breaker), None);
    }
    // One for a hundred calls, and then one for each that was late.
    assert!(store.probes() <= 5, "{} probes", store.probes());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_opens_it_after_the_deadline_of_the_probe() {
    let store = Store::default();
    let breaker = breaker(&store);
    second().await;
    store.becomes(State::Hangs);
    let begun = Instant::now();
    assert!(breaker.call(store.query()).await.is_err());
    assert_eq!(begun.elapsed(), DEADLINE);
    for _ in 0..5 {
        second().await;
    }
    assert_eq!(why(&breaker).as_deref(), Some("no answer within 5s"));
    let begun = Instant::now();
    assert!(breaker.call(store.query()).await.is_err());
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn probes_become_rarer_and_there_is_one_at_a_time() {
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
async fn calls_wait_for_a_permit_within_their_deadline() {
    let store = Store::default();
    let breaker = breaker(&store);
    second().await;
    store.becomes(State::Hangs);
    let begun = Instant::now();
    let calls = (0..5).map(|_| breaker.call(store.query()));
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
async fn a_call_that_waits_for_a_permit_is_answered_when_the_breaker_opens() {
    let store = Store::default();
    let breaker = breaker(&store);
    second().await;
    let slow = || breaker.call(pending::<Result<(), &str>>());
    let waiting = async {
        settle().await;
        let begun = Instant::now();
        let outcome = breaker.call(store.query()).await;
        (outcome, begun.elapsed())
    };
    let opening = async {
        settle().await;
        store.becomes(State::Refuses);
        breaker.shared.failed.notify_one();
    };
    let (_, _, (outcome, waited), ()) = tokio::join!(slow(), slow(), waiting, opening);
    assert_eq!(outcome, Err(Arc::new(Error::Store(REFUSED))));
    assert!(waited <= SECOND, "{waited:?}");
    assert_eq!(store.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_given_up_returns_its_permit() {
    let store = Store::default();
    let breaker = breaker(&store);
    store.becomes(State::Hangs);
    for _ in 0..10 {
        let call = breaker.call(store.query());
        assert!(timeout(Duration::from_millis(1), call).await.is_err());
    }
    store.becomes(State::Works);
    assert_eq!(breaker.call(store.query()).await, Ok(()));
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
    assert_eq!(Arc::strong_count(&store.0), 1, "the task has dropped the store");
}
