//! Whether anybody still waits for a maildrop that is being opened.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is known of that to whoever opens it.
///
/// Opening goes on when nobody waits any more, for the next login is to find what has been found out;
/// but what takes very long may then be given up.
#[derive(Clone, Debug, Default)]
pub struct Interest(Arc<AtomicBool>);

impl Interest {
    /// Nobody waits once what is returned here is dropped.
    pub fn lasting(&self) -> Lasting<'_> {
        Lasting(self)
    }

    /// Whether nobody waits any more.
    pub fn is_lost(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Somebody waits for as long as this is there.
#[derive(Debug)]
#[must_use]
pub struct Lasting<'a>(&'a Interest);

impl Drop for Lasting<'_> {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}
