//! The command line: a file per command.
//!
//! Exit codes: 0 success, 1 failure, 2 wrong usage; `restante user test` has more. A failure is one
//! line on standard error that says what failed and what to do.

use std::error::Error;
use std::io::{self, Write};
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::config::{Fault, PartialConfig, parse_duration};
use crate::uidl::FormatError;

pub mod check;
mod client;
pub mod client_settings;
pub mod completions;
pub mod config;
pub mod control;
pub mod demo;
pub mod guard;
pub mod hash;
pub mod last;
pub mod maildir;
pub mod man;
pub mod migrate;
mod password;
mod progress;
pub mod selftest;
pub mod serve;
pub mod user;

/// The default of `--config`.
const CONFIG: &str = "/etc/restante/restante.toml";

/// The key whose syntax only the mailbox knows.
const FORMAT: &str = "maildir.dovecot.format";

/// The optional features, and whether this program was built with them.
const FEATURES: [(&str, bool); 6] = [
    ("ldap", cfg!(feature = "ldap")),
    ("metrics", cfg!(feature = "metrics")),
    ("oauth2", cfg!(feature = "oauth2")),
    ("pam", cfg!(feature = "pam")),
    ("sql", cfg!(feature = "sql")),
    ("web", cfg!(feature = "web")),
];

/// The commit that it was built from, if the builder says so, as `config/debian/build` does.
const COMMIT: Option<&str> = option_env!("RESTANTE_COMMIT");

/// The output of `--version`; that of `-V` is the first line.
static LONG_VERSION: LazyLock<String> = LazyLock::new(|| {
    let list = |built: bool| {
        let names =
            FEATURES.iter().filter(|(_, is_built)| *is_built == built).map(|(name, _)| *name);
        match names.collect::<Vec<_>>().join(", ") {
            none if none.is_empty() => "none".to_owned(),
            names => names,
        }
    };
    let version = env!("CARGO_PKG_VERSION");
    let commit = COMMIT.filter(|commit| !commit.is_empty());
    let commit = commit.map_or_else(String::new, |commit| format!("commit: {commit}\n"));
    format!("{version}\n{commit}features: {}\nnot built: {}", list(true), list(false))
});

/// `restante`
#[derive(Debug, Parser)]
#[command(
    name = "restante",
    version,
    long_version = LONG_VERSION.as_str(),
    about = "A POP3 server for Maildirs",
    long_about = "A POP3 server for Maildirs.\n\n\
        It gives mail clients access to the mail that Postfix, Exim or OpenSMTPD deliver.",
    after_help = "To try it without a configuration:  restante demo",
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// [`Failure`] when it failed.
    pub fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Demo(args) => demo::run(args),
            Command::Serve(args) => serve::run(args),
            Command::Check(args) => check::run(args),
            Command::Config(args) => config::run(args),
            Command::ClientSettings(args) => client_settings::run(args),
            Command::User(args) => user::run(args),
            Command::Status(target) => control::status::run(&target),
            Command::Sessions(args) => control::sessions::run(args),
            Command::Kick(args) => control::sessions::kick(args),
            Command::Watch(args) => control::watch::run(args),
            Command::Throttle(command) => control::throttle::run(command),
            Command::Reload(target) => control::reload::run(&target),
            Command::Last(args) => last::run(args),
            Command::Guard(args) => guard::run(args),
            Command::Hash(args) => hash::run(args),
            Command::InitRoot(args) => maildir::init_root(args),
            Command::Migrate(args) => migrate::run(args),
            Command::Selftest(args) => selftest::run(args),
            Command::Completions(args) => completions::run(args),
            Command::Man(args) => man::run(args),
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve sample mail on this machine, to try a mail client.
    ///
    /// Creates a temporary directory with a self-signed certificate, a user and sample mail, serves it,
    /// and prints the settings for a mail client. Ctrl-C stops the demo and removes the directory.
    Demo(demo::Args),
    /// Serve mail, in the foreground.
    ///
    /// If it is started as root, it binds its ports and then becomes the user of run-as. When it is
    /// ready, it has logged a line for each listening socket, and it notifies the service manager.
    ///
    /// SIGHUP reloads the configuration. SIGTERM stops the server; sessions may continue to QUIT for a
    /// while. Certificates and credential files are read again when they change.
    Serve(serve::Args),
    /// Check the configuration and the files that it names.
    ///
    /// Reads the configuration, certificates and credential files, tries to bind the ports, examines
    /// the Maildirs, and reports all errors at once: file, line, column and key, what is wrong, and
    /// what to write. With warnings, the server works all the same. The exit code is 0 without errors
    /// and 1 with errors.
    Check(check::Args),
    /// Print the effective configuration, including defaults.
    ///
    /// Prints every key that has a value, with absolute paths, as TOML that can be used as a
    /// configuration file. Secrets are kept in separate files and are not printed. A file with errors
    /// is refused, as by check.
    Config(config::Args),
    /// Print the settings for mail clients: a table, DNS records, and documents that clients read.
    ///
    /// They come from the configuration: POP3 from its listeners, the other servers from
    /// \[client-settings\].
    ClientSettings(client_settings::Args),
    /// Print the state of a running server.
    ///
    /// Its listeners, connections, logins, credential stores, certificates and last reload.
    Status(control::Target),
    /// List the open connections of a running server.
    Sessions(control::sessions::Args),
    /// End connections of a running server.
    ///
    /// Messages that are marked as deleted are not removed. A session that already removes messages is
    /// not disturbed, and ends after that.
    Kick(control::sessions::KickArgs),
    /// Print the dialogue of sessions of a running server as it happens.
    ///
    /// Shows the commands and replies of the connections that are there and of those that come, with
    /// the time, the connection and the user. Passwords, tokens and messages are not shown. The log of
    /// the server names who watches.
    Watch(control::watch::Args),
    /// List who waits before a login to a running server, or let somebody in again at once.
    #[command(subcommand)]
    Throttle(control::throttle::Command),
    /// Let a running server read its configuration again.
    ///
    /// The new configuration applies to new connections. If it has errors, they are printed, and the
    /// old one stays in use.
    Reload(control::Target),
    /// List the last login of each user, the oldest first.
    ///
    /// Users who have never logged in come first, if their credential store can list them. The server
    /// writes the logins to a file once a minute; it need not run.
    Last(last::Args),
    /// Add, change, remove or list the users of a credential file; test a login.
    User(user::Args),
    /// Say whether the guard refuses the logins of a user, and accept a change of unique-ids.
    ///
    /// The guard refuses logins that would show clients other unique-ids than before, so that they
    /// would download all mail again.
    Guard(guard::Args),
    /// Print the hash of a password.
    Hash(hash::Args),
    /// Mark a directory as a mail root, below which the server may create missing Maildirs.
    ///
    /// Creates the file restante.root in it. If the file system is not mounted, that file is missing
    /// and the server creates no Maildir, so a user whose mail is not mounted never sees an empty
    /// maildrop. Run it while the mail is mounted, once for each file system with mail.
    InitRoot(maildir::Args),
    /// Move from another POP3 server, or back, without a second download of any message.
    Migrate(migrate::Args),
    /// Test how any POP3 server keeps the rules of the RFCs.
    ///
    /// Connects as a client does, and prints for each rule whether the server keeps it. What needs a
    /// login is tested with --user. Nothing is removed without --destructive; retrieved messages may
    /// get the flag Seen on servers that set it.
    Selftest(selftest::Args),
    /// Print a completion script for a shell.
    Completions(completions::Args),
    /// Print the manual page, or write the manual pages of all commands.
    Man(man::Args),
}

/// Why a command failed, as its user reads it.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Failure {
    what: String,
    exit_code: u8,
}

impl Failure {
    /// A failure with this message and the exit code 1.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), exit_code: 1 }
    }

    /// A failure whose message is that of an error.
    fn of(error: impl Error) -> Self {
        Self::new(error.to_string())
    }

    /// The failure that names the key whose syntax only the mailbox knows.
    fn of_format(file: &Path, error: &FormatError) -> Self {
        let place = PartialConfig::load(file).ok().map(|config| config.place_of(FORMAT));
        let fault = Fault { place, key: FORMAT.to_owned(), what: error.to_string() };
        Self::new(fault.line(file))
    }

    /// The same failure with another exit code.
    fn exit_with(self, exit_code: u8) -> Self {
        Self { exit_code, ..self }
    }

    /// The exit code of the program.
    pub fn exit_code(&self) -> u8 {
        self.exit_code
    }
}

/// The value of an option that is a duration.
fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "write a number with s, m, h or d, such as 10m".to_owned())
}

/// Writes to standard output.
fn print(text: impl AsRef<[u8]>) -> Result<(), Failure> {
    let written = io::stdout().write_all(text.as_ref());
    written.map_err(|error| Failure::new(format!("cannot write to standard output: {error}")))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_a_description() {
        for command in Cli::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
        }
    }

    #[test]
    fn a_duration_has_a_unit() {
        assert_eq!(duration("180d"), Ok(Duration::from_secs(180 * 86_400)));
        assert!(duration("180").is_err() && duration("6 months").is_err());
    }
}
