//! A POP3 session: the states of RFC 1939 §3 and the loop that drives them.
//!
//! The session sees a stream of bytes and the traits of [`mailbox`](crate::mailbox) and
//! [`credentials`](crate::credentials); it knows neither sockets nor TLS nor files.
//!
//! - `env`: what the server gives it. `run`: the loop. `state`: the states, with a file for each.
//!   `context`: what every handler gets. `capabilities`: what CAPA lists.
//! - `fault`: the reasons for `-ERR`. `language`: the texts of all replies. `end`: why a session
//!   ended.
//! - `connections`: the open connections, and how the server ends them. `logins`: how many there were.
//! - `dialogue`: one reply for each command. `wire`: every read and write. `watch`: a dialogue as an
//!   operator sees it.

mod authorization;
mod capabilities;
mod connections;
mod context;
mod dialogue;
mod end;
mod env;
mod exchange;
mod fault;
mod finish;
mod language;
mod listing;
mod logins;
mod pace;
mod run;
mod slots;
mod state;
mod stream;
mod transaction;
mod update;
mod watch;
mod wire;

pub use connections::{Activity, Connections, Handle, Open};
pub use end::{End, Summary};
pub use env::{Env, Link, Policy, Security};
pub use logins::Logins;
pub use run::run;
pub use slots::{Slot, Slots};
pub use stream::{SILENCE, Stream, Taken};
pub use watch::{Speaker, Watch, Watched, WatchedLine};
