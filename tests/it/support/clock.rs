//! The paused clock of tests, which waits for work on threads.

use std::thread::park_timeout;
use std::time::Duration;

use restante::threads::at_work;
use tokio::runtime::{Builder, Runtime};

/// A runtime with a paused clock, which does not advance by itself while the pools of threads work.
pub(crate) fn paused_runtime() -> Runtime {
    let wait = || {
        while at_work() > 0 {
            park_timeout(Duration::from_micros(100));
        }
    };
    let mut builder = Builder::new_current_thread();
    builder.enable_time().start_paused(true).on_thread_park(wait).build().expect("a runtime")
}
