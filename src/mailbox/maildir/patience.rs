//! How long counting the octets of a file may take.
//!
//! A file of terabytes takes hours, and whoever can write to a Maildir can make one.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::super::Interest;

/// As long as somebody waits, a file may take any time; after that a minute. With the first that takes
/// longer, all others are given up too.
#[derive(Debug)]
pub(super) struct Patience {
    /// Nothing when it does not matter whether anybody waits.
    interest: Option<Interest>,
    most: Duration,
    is_over: AtomicBool,
}

impl Patience {
    /// Any time while there is this interest, and a minute for a file after that.
    pub(super) fn while_wanted(interest: Interest) -> Self {
        Self { interest: Some(interest), most: LONGEST, is_over: false.into() }
    }

    /// A minute for a file, whoever waits.
    pub(super) fn bounded() -> Self {
        Self { interest: None, most: LONGEST, is_over: false.into() }
    }

    /// The same with another time in place of the minute.
    #[cfg(test)]
    pub(super) fn within(self, most: Duration) -> Self {
        Self { most, ..self }
    }

    /// A file is about to be read.
    pub(super) fn begin(&self) -> Reading<'_> {
        Reading { patience: self, since: None }
    }

    fn depends_on_time(&self) -> bool {
        self.interest.as_ref().is_none_or(Interest::is_lost)
    }
}

/// A file that is being read.
pub(super) struct Reading<'a> {
    patience: &'a Patience,
    /// When the second part was begun with: most messages have one, and need no clock.
    since: Option<Instant>,
}

impl Reading<'_> {
    /// The part at `offset` is about to be read.
    ///
    /// # Errors
    /// `TimedOut` when this file, or another one, takes too long.
    pub(super) fn go_on(&mut self, offset: u64) -> io::Result<()> {
        let Patience { most, is_over, .. } = self.patience;
        if offset > 0 {
            let since = *self.since.get_or_insert_with(Instant::now);
            if self.patience.depends_on_time() && since.elapsed() >= *most {
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

/// Enough for some tens of gigabytes.
const LONGEST: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(result: io::Result<()>) -> Option<io::ErrorKind> {
        result.err().map(|error| error.kind())
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_may_take_a_minute_when_nobody_waits() {
        let interest = Interest::default();
        let waiting = interest.lasting();
        let patience = Patience::while_wanted(interest.clone());
        let mut long = patience.begin();
        long.go_on(0).unwrap();
        long.go_on(1).unwrap();
        tokio::time::advance(2 * LONGEST).await;
        long.go_on(2).unwrap();
        let mut other = patience.begin();
        other.go_on(1).unwrap();
        drop(waiting);
        tokio::time::advance(LONGEST / 2).await;
        other.go_on(2).unwrap();
        assert_eq!(outcome(long.go_on(3)), Some(io::ErrorKind::TimedOut));
        // What is left to do is not begun any more.
        assert_eq!(outcome(other.go_on(3)), Some(io::ErrorKind::TimedOut));
        assert_eq!(outcome(patience.begin().go_on(0)), Some(io::ErrorKind::TimedOut));
    }

    #[tokio::test(start_paused = true)]
    async fn or_whoever_waits() {
        let patience = Patience::bounded();
        let mut reading = patience.begin();
        reading.go_on(1).unwrap();
        tokio::time::advance(LONGEST).await;
        assert_eq!(outcome(reading.go_on(2)), Some(io::ErrorKind::TimedOut));
    }
}
