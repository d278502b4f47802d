//! A maildrop that is wanted by another session of its user.
//!
//! RFC 1939 §4 lets one session at a time have a maildrop, and says nothing of one that has it and
//! does nothing. Here such a session ends when the same user logs in again, and only then, if that
//! costs its client nothing but the connection:
//!
//! - It has waited for a command for `maildir.yield-idle`. So it is not sending anything, and what it
//!   has sent is delivered by the system before the connection is closed.
//! - Nothing is marked as deleted. What is marked is removed by QUIT alone, so ending the session
//!   would take the marks back.
//! - The other session has logged in with the right password, in this process.
//!
//! A client that is gone without a trace is mostly found in this state; one that was lost in the
//! middle of a message looks like one that is slow, and is given the time of `timeouts.write`.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// How the sessions of one user tell the one that has the maildrop that they want it.
#[derive(Clone, Debug, Default)]
pub struct Wanted(Arc<Notify>);

impl Wanted {
    /// Tells the session that has the maildrop, if it listens at this moment.
    pub(super) fn tell(&self) {
        self.0.notify_waiters();
    }

    /// Waits until another session wants the maildrop.
    pub(super) fn told(&self) -> Notified<'_> {
        self.0.notified()
    }
}
