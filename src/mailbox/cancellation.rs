//! How the caller of a slow `open` says that it no longer waits for the maildrop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A signal from the caller to the work that it has started.
///
/// It ends no work by itself: a login whose client has gone still writes the index, so that the
/// next login finds it. Work that may take very long gives up.
#[derive(Clone, Debug, Default)]
pub struct Cancellation(Arc<AtomicBool>);

impl Cancellation {
    /// Requests cancellation when the guard is dropped.
    pub fn drop_guard(&self) -> DropGuard<'_> {
        DropGuard(self)
    }

    /// Whether the caller no longer waits.
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The caller waits for as long as it keeps this.
#[derive(Debug)]
#[must_use]
pub struct DropGuard<'a>(&'a Cancellation);

impl Drop for DropGuard<'_> {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}
