//! Tests of Restante from outside: the program as a process, the library through its public
//! interface, and the repository itself. `docs/CONTRIBUTING.md` lists the modules.
//!
//! They share one process and run at the same time. The state of the process (environment, current
//! directory, limits, user, the log of the library) is changed only in a child, or for one thread.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::let_underscore_must_use,
    clippy::panic,
    clippy::print_stderr,
    clippy::string_slice,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that cannot go on fails, its helpers too"
)]

mod app_password;
mod check;
mod commands;
mod config;
mod control;
mod corpus;
mod creation;
mod doveconf;
mod guard;
mod hostile;
mod journal;
mod last;
mod limits;
mod links;
mod login;
mod maildrop;
mod migrate;
mod plan;
mod proxy;
mod rust_source;
mod sandbox;
mod selftest;
mod serve;
mod server_name;
mod session;
mod several;
mod slow;
mod stop;
mod support;
mod threads;
mod tidy;
mod tls;
mod transcripts;
mod user;
