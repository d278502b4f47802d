//! Work that is finished even if its caller is dropped.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

/// A future that goes on in a separate task when it is dropped before its end.
pub(super) struct Finish<F: Future<Output: Send> + Send + 'static>(Option<Pin<Box<F>>>);

impl<F: Future<Output: Send> + Send + 'static> Finish<F> {
    pub(super) fn new(work: F) -> Self {
        Self(Some(Box::pin(work)))
    }
}

impl<F: Future<Output: Send> + Send + 'static> Future for Finish<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // Taken out while it is polled: a future that has panicked must not be polled again.
        let Some(mut work) = self.0.take() else { return Poll::Pending };
        let outcome = work.as_mut().poll(context);
        if outcome.is_pending() {
            self.0 = Some(work);
        }
        outcome
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for Finish<F> {
    fn drop(&mut self) {
        // Without a runtime the work cannot go on.
        if let (Some(work), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn work_that_is_awaited_returns_its_outcome() {
        assert_eq!(Finish::new(async { 7 }).await, 7);
    }

    #[tokio::test]
    async fn work_that_is_dropped_is_finished() {
        let (go_on, done) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (go, finished) = (Arc::clone(&go_on), Arc::clone(&done));
        let mut work = Finish::new(async move {
            go.notified().await;
            finished.notify_one();
        });
        assert!(futures_are_pending(&mut work).await);
        drop(work);
        go_on.notify_one();
        done.notified().await;
    }

    #[tokio::test]
    async fn work_that_has_panicked_is_not_resumed() {
        let polls = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&polls);
        let work = Finish::new(std::future::poll_fn(move |_| -> Poll<()> {
            counted.fetch_add(1, Ordering::Relaxed);
            panic!("the fault")
        }));
        assert!(tokio::spawn(work).await.unwrap_err().is_panic());
        // All tasks that have been started get their turn first.
        tokio::task::yield_now().await;
        assert_eq!(polls.load(Ordering::Relaxed), 1);
    }

    async fn futures_are_pending(work: &mut (impl Future + Unpin)) -> bool {
        std::future::poll_fn(|context| Poll::Ready(Pin::new(&mut *work).poll(context).is_pending()))
            .await
    }
}
