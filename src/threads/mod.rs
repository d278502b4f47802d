//! Threads for what blocks: files, hashes, requests. Never a worker thread of the runtime.
//!
//! The pools are apart from each other, so that what hangs in one holds up nothing in another:
//!
//! - `mail`: a pool for each file system on which there are Maildirs. `files`: the same for
//!   credential files, certificates and the configuration. `hashes`: passwords. `requests`: those
//!   to providers of tokens.
//! - Each has so many threads at the most, and a queue that is bounded in length and in time. What
//!   is refused is never done.
//! - A thread that the system does not give is an error like any other. One of each pool that is
//!   needed for certain is kept from the start, so that there is always one to do the work.
//!
//! `pool` is a pool, `by_file_system` the pools of the file systems, `mounts` which path is on
//! which of them, and which of them are local. What is done on the threads is not known here.

use std::io;
use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

mod by_file_system;
mod mounts;
mod pool;

pub use by_file_system::ByFileSystem;
pub use mounts::is_local;
pub use pool::{Bounds, Pool, Refused};

/// The threads for Maildirs.
pub fn mail() -> &'static ByFileSystem {
    static MAIL: ByFileSystem = ByFileSystem::new("mail", MAIL_BOUNDS);
    &MAIL
}

/// The threads for files that are the server's own.
pub fn files() -> &'static ByFileSystem {
    static FILES: ByFileSystem = ByFileSystem::new("files", FILES_BOUNDS);
    &FILES
}

/// The threads for what takes a processor for a while.
pub fn hashes() -> &'static Pool {
    static HASHES: LazyLock<Pool> =
        LazyLock::new(|| Pool::new("hashes", "passwords".into(), HASHES_BOUNDS));
    &HASHES
}

/// The threads for requests to other servers.
pub fn requests() -> &'static Pool {
    static REQUESTS: LazyLock<Pool> =
        LazyLock::new(|| Pool::new("requests", "requests".into(), REQUESTS_BOUNDS));
    &REQUESTS
}

/// Has one thread ready, from now on, of each pool that is needed for certain: that of hashes,
/// that of the Maildirs below `mail`, those of these `files`.
///
/// # Errors
/// When the system gives none.
pub fn keep<'a>(mail: &Path, files: impl IntoIterator<Item = &'a Path>) -> io::Result<()> {
    hashes().keep_one()?;
    self::mail().of(mail).keep_one()?;
    files.into_iter().try_for_each(|file| self::files().of(file).keep_one())
}

/// How many pieces of work there are in all pools together, queued ones included.
pub fn at_work() -> usize {
    AT_WORK.load(Ordering::SeqCst)
}

/// A runtime with a paused clock that does not go on by itself while there is work in the pools,
/// which the runtime does not see. `tests/it/support/clock.rs` has the same.
#[cfg(test)]
pub(crate) fn paused_runtime() -> tokio::runtime::Runtime {
    let wait = || {
        while at_work() > 0 {
            std::thread::park_timeout(Duration::from_micros(100));
        }
    };
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).on_thread_park(wait).build().unwrap()
}

static AT_WORK: AtomicUsize = AtomicUsize::new(0);

/// Enough to keep a disk, or a file server, as busy as it can be; of a file system that does not
/// answer, all that it takes.
const MAIL_BOUNDS: Bounds = Bounds { most: 64, queued: 1024, wait: Duration::from_secs(30) };

/// Files that are small and seldom change.
const FILES_BOUNDS: Bounds = Bounds { most: 16, queued: 1024, wait: Duration::from_secs(10) };

/// `hashes-at-once` bounds them.
const HASHES_BOUNDS: Bounds = Bounds { most: 1024, queued: 1024, wait: Duration::from_secs(10) };

/// `at-once` bounds them, for each store.
const REQUESTS_BOUNDS: Bounds = Bounds { most: 256, queued: 256, wait: Duration::from_secs(10) };
