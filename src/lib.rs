//! Restante, a POP3 server for Maildirs.
//!
//! The rooms, from the ground up; each may use only those above it in this list:
//! - [`protocol`]: lines, commands, replies and message bodies as values. No I/O.
//! - [`threads`]: what blocks is done here. They know nothing of what they do.
//! - [`auth`]: credential stores and the verification of passwords.
//! - [`mailbox`]: the traits of a mail store, and the Maildir that implements them.
//! - [`session`]: the three states of RFC 1939, one loop.
//! - [`config`], [`telemetry`]: what the operator says, and what is logged.
//! - [`server`]: sockets, TLS, limits, signals; it puts the rooms together.
//! - [`cli`]: a file per command.

pub mod auth;
pub mod cli;
pub mod config;
pub mod mailbox;
pub mod protocol;
pub mod server;
pub mod session;
#[cfg(test)]
mod sweep;
pub mod telemetry;
pub mod threads;
