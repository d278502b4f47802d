//! How long counting the octets of a file may take.
//!
//! A file of terabytes takes hours, and anyone who can write to a Maildir can make one.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// While a client waits, a file may take any time. When no client waits, counting stops at the first
/// file that has taken a minute in all.
#[derive(Debug)]
pub(super) struct TimeLimit {
    /// `None`: the limit counts even while a client waits.
    cancellation: Option<CancellationToken>,
    most: Duration,
    is_over: AtomicBool,
}

impl TimeLimit {
    /// Any time until `cancellation` is cancelled; then a minute for a file in all.
    pub(super) fn until_cancelled(cancellation: CancellationToken) -> Self {
        Self { cancellation: Some(cancellation), most: LONGEST, is_over: false.into() }
    }

    /// A minute for each file.
    pub(super) fn bounded() -> Self {
        Self { cancellation: None, most: LONGEST, is_over: false.into() }
    }

    /// Sets another limit in place of the minute.
    #[cfg(test)]
    pub(super) fn within(self, most: Duration) -> Self {
        Self { most, ..self }
    }

    /// Starts to time a file that is about to be read.
    pub(super) fn begin(&self) -> Timer<'_> {
        Timer { limit: self, since: None }
    }

    fn depends_on_time(&self) -> bool {
        self.cancellation.as_ref().is_none_or(CancellationToken::is_cancelled)
    }
}

/// Measures how long one file takes.
pub(super) struct Timer<'a> {
    limit: &'a TimeLimit,
    /// When the second part was begun: most messages have only one, and need no clock.
    since: Option<Instant>,
}

impl Timer<'_> {
    /// Checks the limit before the part at `offset` is read.
    ///
    /// # Errors
    /// `TimedOut` when this file, or another one, has taken too long.
    pub(super) fn check(&mut self, offset: u64) -> io::Result<()> {
        let TimeLimit { most, is_over, .. } = self.limit;
        if offset > 0 {
            let since = *self.since.get_or_insert_with(Instant::now);
            if since.elapsed() >= *most && self.limit.depends_on_time() {
                is_over.store(true, Ordering::Relaxed);
            }
        }
        if is_over.load(Ordering::Relaxed) {
            let why = "a message takes too long to count";
            return Err(io::Error::new(io::ErrorKind::TimedOut, why));
        }
        Ok(())
    }
}

/// Long enough to read some tens of gigabytes.
const LONGEST: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(result: io::Result<()>) -> Option<io::ErrorKind> {
        result.err().map(|error| error.kind())
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_may_take_a_minute_once_cancellation_is_requested() {
        let cancellation = CancellationToken::default();
        let waiting = cancellation.clone().drop_guard();
        let limit = TimeLimit::until_cancelled(cancellation.clone());
        let mut long = limit.begin();
        long.check(0).unwrap();
        long.check(1).unwrap();
        tokio::time::advance(2 * LONGEST).await;
        long.check(2).unwrap();
        let mut other = limit.begin();
        other.check(1).unwrap();
        drop(waiting);
        tokio::time::advance(LONGEST / 2).await;
        other.check(2).unwrap();
        assert_eq!(outcome(long.check(3)), Some(io::ErrorKind::TimedOut));
        // The files after it are not begun any more.
        assert_eq!(outcome(other.check(3)), Some(io::ErrorKind::TimedOut));
        assert_eq!(outcome(limit.begin().check(0)), Some(io::ErrorKind::TimedOut));
    }

    #[tokio::test(start_paused = true)]
    async fn a_bounded_file_may_take_a_minute_while_a_client_waits() {
        let limit = TimeLimit::bounded();
        let mut timer = limit.begin();
        timer.check(1).unwrap();
        tokio::time::advance(LONGEST).await;
        assert_eq!(outcome(timer.check(2)), Some(io::ErrorKind::TimedOut));
    }
}
