//! The paused clock of tests, and work that the runtime does not see.

use std::thread::park_timeout;
use std::time::Duration;

use restante::threads::at_work;
use tokio::runtime::{Builder, Runtime};

/// A runtime with a paused clock that does not go on by itself while there is work in the pools of
/// threads.
pub(crate) fn paused_runtime() -> Runtime {
    let wait = || {
        while at_work() > 0 {
            park_timeout(Duration::from_micros(100));
        }
    };
    let mut builder = Builder::new_current_thread();
    builder.enable_time().start_paused(true).on_thread_park(wait).build().expect("a runtime")
}
