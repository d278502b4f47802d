//! A pool: threads, and a queue of work for them.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fmt, io, thread};

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::AT_WORK;

/// Threads that do one piece of work after the other.
///
/// - A thread is started if there is work and no thread is idle. It ends after 10 seconds without
///   work, except the one of [`keep_one`](Self::keep_one).
/// - If the system gives no further thread, work waits for the existing ones.
/// - A panic ends the piece of work, not the thread.
#[derive(Debug)]
pub struct Pool(Arc<Shared>);

/// The bounds of a pool.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The most threads.
    pub most: usize,
    /// The most pieces of work that wait for a thread.
    pub queued: usize,
    /// How long each piece may wait.
    pub wait: Duration,
}

/// Why work was not done.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// The system gives no thread, and the pool has none.
    #[error("the system gives no thread (TasksMax=, ulimit -u): {0}")]
    NoThread(io::Error),
    /// All threads are busy, and either none has become free in time or the queue is full.
    #[error("all threads for {what} ({threads}) are busy, and none has become free in time")]
    Busy {
        /// The purpose of the pool.
        what: Arc<str>,
        /// The number of its threads.
        threads: usize,
    },
    /// The work panicked, or ended without sending a result.
    #[error("it ended without a result")]
    NoResult,
}

impl Pool {
    /// A pool without threads yet. `name` is the name of its threads, `what` its purpose.
    pub fn new(name: &'static str, what: Arc<str>, bounds: Bounds) -> Self {
        let state = Mutex::new(State::default());
        Self(Arc::new(Shared { name, what, bounds, state, wake: Condvar::new() }))
    }

    /// Does `work` and returns its result.
    ///
    /// The work is done even if the future is dropped, but not if it is refused.
    ///
    /// # Errors
    /// [`PoolError`] if no thread has begun it in time. Then it is not done at all.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PoolError> {
        self.answer(|done| drop(done.send(work()))).await
    }

    /// Does `work` and returns the value that it sends, which may be before its end.
    ///
    /// # Errors
    /// As for [`run`](Self::run).
    pub async fn answer<T: Send + 'static>(
        &self,
        work: impl FnOnce(oneshot::Sender<T>) + Send + 'static,
    ) -> Result<T, PoolError> {
        let (done, mut answer) = oneshot::channel();
        let id = self.submit(Box::new(move || work(done)))?;
        let answered = match timeout(self.0.bounds.wait, &mut answer).await {
            Ok(answered) => answered,
            Err(_elapsed) => match self.0.withdraw(id) {
                Some(refused) => return Err(refused),
                None => answer.await,
            },
        };
        answered.map_err(|_| PoolError::NoResult)
    }

    /// Has `work` done without waiting for it. If it has not begun in time, it is not done.
    ///
    /// # Errors
    /// [`PoolError`] if there is no thread or the queue is full.
    pub fn start(&self, work: impl FnOnce() + Send + 'static) -> Result<(), PoolError> {
        self.submit(Box::new(work)).map(drop)
    }

    /// Starts a thread if there is none, and keeps one from now on.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn keep_one(&self) -> io::Result<()> {
        let mut state = self.0.lock();
        if state.threads == 0 {
            self.0.add_thread(&mut state)?;
        }
        state.kept = 1;
        Ok(())
    }

    /// The purpose of the pool, if all of its threads are busy and work has waited for long.
    pub fn stuck(&self) -> Option<Arc<str>> {
        let state = self.0.lock();
        let stuck = state.queue.front().is_some_and(|first| first.since.elapsed() > STUCK_AFTER);
        stuck.then(|| Arc::clone(&self.0.what))
    }

    /// Whether it has threads, or there is another reference that may give it work.
    pub(super) fn is_in_use(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) > 1 || self.0.lock().threads > 0
    }

    /// Puts work into the queue, and starts a thread if none is idle.
    fn submit(&self, work: Work) -> Result<u64, PoolError> {
        let shared = &self.0;
        let mut state = shared.lock();
        if state.queue.len() >= shared.bounds.queued {
            return Err(shared.busy(&state));
        }
        state.last += 1;
        let id = state.last;
        let since = Instant::now();
        state.queue.push_back(Queued { id, since, work, _counted: Counted::new() });
        let needed = state.queue.len() > state.idle && state.threads < shared.bounds.most;
        if needed
            && let Err(error) = shared.add_thread(&mut state)
            && state.threads == 0
        {
            state.queue.retain(|queued| queued.id != id);
            return Err(PoolError::NoThread(error));
        }
        shared.wake.notify_one();
        Ok(id)
    }
}

#[derive(Debug)]
struct Shared {
    name: &'static str,
    what: Arc<str>,
    bounds: Bounds,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Queued>,
    /// The number of the last piece of work.
    last: u64,
    threads: usize,
    /// Threads without work; some of them may have been woken already.
    idle: usize,
    /// Threads that do not end.
    kept: usize,
}

type Work = Box<dyn FnOnce() + Send>;

struct Queued {
    id: u64,
    since: Instant,
    work: Work,
    _counted: Counted,
}

impl fmt::Debug for Queued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Queued({}, {:?})", self.id, self.since)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add_thread(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
        let shared = Arc::clone(self);
        thread::Builder::new().name(self.name.into()).spawn(move || shared.work())?;
        state.threads += 1;
        Ok(())
    }

    /// The main function of a thread.
    fn work(&self) {
        let mut state = self.lock();
        loop {
            while let Some(Queued { since, work, _counted, .. }) = state.queue.pop_front() {
                drop(state);
                if since.elapsed() <= self.bounds.wait {
                    // Work that panicked has dropped its end of the channel.
                    drop(catch_unwind(AssertUnwindSafe(work)));
                } else {
                    drop(work);
                }
                drop(_counted);
                state = self.lock();
            }
            state.idle += 1;
            let woken = self.wake.wait_timeout(state, IDLE);
            let (again, slept) = woken.unwrap_or_else(PoisonError::into_inner);
            state = again;
            state.idle -= 1;
            if slept.timed_out() && state.queue.is_empty() && state.threads > state.kept {
                state.threads -= 1;
                return;
            }
        }
    }

    /// Removes work from the queue. `None` if a thread has begun it.
    fn withdraw(&self, id: u64) -> Option<PoolError> {
        let mut state = self.lock();
        let at = state.queue.iter().position(|queued| queued.id == id)?;
        let work = state.queue.remove(at);
        let refused = self.busy(&state);
        drop(state);
        // Outside of the lock: what the work owns may use this pool when it is dropped.
        drop(work);
        Some(refused)
    }

    fn busy(&self, state: &State) -> PoolError {
        PoolError::Busy { what: Arc::clone(&self.what), threads: state.threads }
    }
}

/// Counts a piece of work in [`AT_WORK`].
struct Counted(());

impl Counted {
    fn new() -> Self {
        AT_WORK.fetch_add(1, Ordering::SeqCst);
        Self(())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        AT_WORK.fetch_sub(1, Ordering::SeqCst);
    }
}

impl From<PoolError> for io::Error {
    fn from(refused: PoolError) -> Self {
        Self::other(refused)
    }
}

/// How long a thread waits for work before it ends.
const IDLE: Duration = Duration::from_secs(10);

/// How long work waits before the operator is told.
const STUCK_AFTER: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    fn pool(most: usize, queued: usize, wait: Duration) -> Pool {
        Pool::new("test", "tests".into(), Bounds { most, queued, wait })
    }

    /// Keeps a thread busy until the returned sender is dropped.
    fn hang(pool: &Pool) -> Sender<()> {
        let (guard, end) = channel::<()>();
        let (started, has_started) = channel();
        pool.start(move || {
            started.send(()).unwrap();
            assert!(end.recv().is_err());
        })
        .unwrap();
        has_started.recv().unwrap();
        guard
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn work_is_done_by_as_many_threads_as_are_needed() {
        let pool = pool(3, 9, LONG);
        assert_eq!(pool.run(|| 7).await.unwrap(), 7);
        let busy = [hang(&pool), hang(&pool)];
        assert_eq!(pool.run(|| 8).await.unwrap(), 8);
        assert!(pool.0.lock().threads <= 3);
        drop(busy);
        let all = (0..100).map(|n| pool.run(move || n)).collect::<Vec<_>>();
        assert_eq!(all.len(), 100, "not polled: nothing is queued yet");
        for (n, run) in all.into_iter().enumerate() {
            assert_eq!(run.await.unwrap(), n);
        }
    }

    #[tokio::test]
    async fn refused_work_is_never_done() {
        let pool = pool(1, 2, Duration::from_millis(20));
        let busy = hang(&pool);
        let (tell, told) = channel();
        let (late, detached) = (tell.clone(), tell);
        let refused = pool.run(move || late.send("late").unwrap()).await.unwrap_err();
        assert!(matches!(refused, PoolError::Busy { threads: 1, .. }), "{refused}");
        assert!(pool.0.lock().queue.is_empty());
        pool.start(move || detached.send("detached").unwrap()).unwrap();
        // Not begun in time either: the second has waited as long as the third.
        pool.run(|| ()).await.unwrap_err();
        drop(busy);
        assert!(told.recv().is_err(), "both have been dropped");
        pool.run(|| ()).await.unwrap();
    }

    #[tokio::test]
    async fn a_full_queue_refuses_work() {
        let pool = pool(1, 2, LONG);
        let busy = hang(&pool);
        pool.start(|| ()).unwrap();
        pool.start(|| ()).unwrap();
        assert!(matches!(pool.start(|| ()), Err(PoolError::Busy { .. })));
        drop(busy);
        pool.run(|| ()).await.ok();
    }

    #[tokio::test]
    async fn work_that_panics_costs_no_thread() {
        let pool = pool(1, 2, LONG);
        assert!(matches!(
            pool.run(|| panic!("on purpose")).await,
            Err::<(), _>(PoolError::NoResult)
        ));
        assert_eq!(pool.run(|| 7).await.unwrap(), 7);
        assert_eq!(pool.0.lock().threads, 1);
    }

    #[tokio::test]
    async fn an_answer_may_come_before_the_end() {
        let pool = pool(1, 2, LONG);
        let (end, ended) = channel::<()>();
        let answer = pool.answer(move |done| {
            done.send(7).unwrap();
            assert!(ended.recv().is_err());
        });
        assert_eq!(answer.await.unwrap(), 7);
        drop(end);
    }

    #[tokio::test]
    async fn work_is_done_even_if_the_future_is_dropped() {
        let pool = pool(1, 2, LONG);
        let busy = hang(&pool);
        let (tell, told) = channel();
        let mut run = Box::pin(pool.run(move || tell.send(7).unwrap()));
        assert!(timeout(Duration::ZERO, &mut run).await.is_err());
        drop(run);
        drop(busy);
        assert_eq!(told.recv(), Ok(7));
    }

    #[test]
    fn one_thread_is_kept() {
        let pool = pool(2, 2, LONG);
        assert_eq!(pool.0.lock().threads, 0);
        pool.keep_one().unwrap();
        pool.keep_one().unwrap();
        let state = pool.0.lock();
        assert_eq!((state.threads, state.kept), (1, 1));
    }
}
