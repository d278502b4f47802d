//! A maildrop that another session of the same user wants.
//!
//! RFC 1939 §4 allows one session at a time to have a maildrop, and does not say what happens if
//! that session is idle. Here an idle session ends when the same user logs in again, if its client
//! loses only the connection by that:
//!
//! - It has waited for a command for `maildir.yield-idle`. So no reply is being sent, and the system
//!   delivers earlier replies before it closes the connection.
//! - No message is marked as deleted: ending the session would discard the marks, because only QUIT
//!   removes messages.
//! - The other session has logged in with the right password, in this process.
//!
//! The session of a client that has vanished is usually idle. If the client vanished in the middle
//! of a message, it cannot be told from a slow one, and gets the time of `timeouts.write`.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// A signal to the session that has the maildrop, from the other sessions of its user.
#[derive(Clone, Debug, Default)]
pub struct Wanted(Arc<Notify>);

impl Wanted {
    /// Notifies the session that has the maildrop, if it waits for that now.
    pub(super) fn tell(&self) {
        self.0.notify_waiters();
    }

    /// Waits until another session wants the maildrop.
    pub(super) fn told(&self) -> Notified<'_> {
        self.0.notified()
    }
}
