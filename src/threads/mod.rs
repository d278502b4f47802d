//! Threads for work that blocks: files, hashes, requests. It never runs on a worker thread of the
//! runtime.
//!
//! The pools are separate, so that work that hangs in one does not delay work in another:
//!
//! - `mail`: a pool for each file system with Maildirs. `files`: the same for credential files,
//!   certificates and the configuration. `hashes`: passwords. `requests`: requests to providers of
//!   tokens.
//! - Each has a bounded number of threads, and a queue that is bounded in length and in time. Work
//!   that is refused is never done later.
//! - If the system gives no thread, that is an error like any other. Each pool that is always
//!   needed keeps one thread from the start, so that there is always one to do the work.
//!
//! `pool`: one pool. `by_file_system`: the pools of the file systems. `mounts`: which file system a
//! path is on, and which file systems are local. `file_stamp`: whether a file has changed. The work
//! itself is defined elsewhere.

use std::io;
use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

mod by_file_system;
mod file_stamp;
mod mounts;
mod pool;

pub use by_file_system::ByFileSystem;
pub use file_stamp::FileStamp;
pub use mounts::is_local;
pub use pool::{Bounds, Pool, PoolError};

/// The threads for Maildirs.
pub fn mail() -> &'static ByFileSystem {
    static MAIL: ByFileSystem = ByFileSystem::new("mail", MAIL_BOUNDS);
    &MAIL
}

/// The threads for the server's own files.
pub fn files() -> &'static ByFileSystem {
    static FILES: ByFileSystem = ByFileSystem::new("files", FILES_BOUNDS);
    &FILES
}

/// The threads for work that keeps a processor busy.
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

/// Keeps one thread in each pool that is always needed: that of hashes, that of the Maildirs below
/// `mail`, and those of `files`.
///
/// # Errors
/// If the system gives no thread.
pub fn keep<'a>(mail: &Path, files: impl IntoIterator<Item = &'a Path>) -> io::Result<()> {
    hashes().keep_one()?;
    self::mail().of(mail).keep_one()?;
    files.into_iter().try_for_each(|file| self::files().of(file).keep_one())
}

/// The number of pieces of work in all pools together, queued ones included.
pub fn at_work() -> usize {
    AT_WORK.load(Ordering::SeqCst)
}

/// A runtime with a paused clock that does not advance while there is work in the pools, which the
/// runtime does not see. `tests/it/support/clock.rs` has the same.
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

/// Enough to keep a disk or a file server fully busy. A file system that does not answer occupies
/// no more than these.
const MAIL_BOUNDS: Bounds = Bounds { most: 64, queued: 1024, wait: Duration::from_secs(30) };

/// These files are small and seldom change.
const FILES_BOUNDS: Bounds = Bounds { most: 16, queued: 1024, wait: Duration::from_secs(10) };

/// `hashes-at-once` is the actual limit.
const HASHES_BOUNDS: Bounds = Bounds { most: 1024, queued: 1024, wait: Duration::from_secs(10) };

/// `at-once` is the actual limit, for each store.
const REQUESTS_BOUNDS: Bounds = Bounds { most: 256, queued: 256, wait: Duration::from_secs(10) };
