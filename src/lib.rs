//! Restante, a POP3 server for Maildirs.
//!
//! The rooms, from the ground up; each may use only those above it in this list:
//! - [`protocol`]: lines, commands, replies and message bodies as values. No I/O.
//! - [`config`]: the configuration file as checked values, each with its position.
//! - [`client_settings`]: what mail clients have to be told, as documents. No I/O.
//! - [`counters`]: what has happened, as plain numbers.
//! - [`threads`]: pools of threads for what blocks.
//! - [`limits`]: networks, rates and bounded tables, against strangers.
//! - [`password`]: password schemes, what they cost, and new passwords. No I/O.
//! - [`credentials`]: credential stores, of which each kind has a file or folder.
//! - [`login`]: passwords, proofs, tokens and certificates become an identity, or a refusal.
//! - [`uidl`]: unique-ids made of file names, and those of other servers by their lists. No I/O.
//! - `http`: HTTP/1.1 on a stream, for small pages next to POP3. With a feature that uses it.
//! - [`control`]: the control socket: its requests and answers, and the side of the commands.
//! - [`last_login`]: who has logged in, and when; in a file.
//! - [`mailbox`]: the traits of a mail store, and the Maildir that implements them.
//! - [`session`]: the three states of RFC 1939, one loop.
//! - [`telemetry`]: how log lines look and where they go.
//! - `web`: the settings of mail clients, as pages and documents over HTTP. With its feature.
//! - [`server`]: sockets, TLS, limits, signals; it puts the rooms together.
//! - [`cli`]: a file per command.

pub mod cli;
pub mod client_settings;
pub mod config;
pub mod control;
pub mod counters;
pub mod credentials;
#[cfg(feature = "http")]
pub mod http;
pub mod last_login;
pub mod limits;
pub mod login;
pub mod mailbox;
pub mod password;
pub mod protocol;
pub mod server;
pub mod session;
#[cfg(test)]
mod sweep;
pub mod telemetry;
pub mod threads;
pub mod uidl;
#[cfg(feature = "web")]
pub mod web;
