//! The command line: a file per command.
//!
//! Exit codes: 0 fine, 1 it failed, 2 wrong usage; `restante user test` has more. A failure is
//! one line on standard error that names the thing and the way out.

use std::error::Error;
use std::fmt;
use std::sync::LazyLock;

use clap::{Parser, Subcommand};

pub mod check;
pub mod completions;
pub mod config;
pub mod demo;
pub mod hash;
pub mod maildir;
pub mod man;
mod password;
pub mod serve;
pub mod user;

/// Where the configuration is unless `--config` says otherwise.
const CONFIG: &str = "/etc/restante/restante.toml";

/// The features that this program was built with.
const FEATURES: [(&str, bool); 4] = [
    ("ldap", cfg!(feature = "ldap")),
    ("oauth2", cfg!(feature = "oauth2")),
    ("pam", cfg!(feature = "pam")),
    ("sql", cfg!(feature = "sql")),
];

/// What `--version` says; `-V` has the first line.
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
    format!("{version}\nfeatures: {}\nnot built: {}", list(true), list(false))
});

/// `restante`
#[derive(Debug, Parser)]
#[command(
    name = "restante",
    version,
    long_version = LONG_VERSION.as_str(),
    about = "A POP3 server for Maildirs",
    long_about = "A POP3 server for Maildirs.\n\n\
        Point it at the Maildirs that Postfix, Exim or OpenSMTPD fill, and mail clients at it.",
    after_help = "Try it at once, without any configuration:  restante demo",
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

impl Cli {
    /// Does what was asked for.
    ///
    /// # Errors
    /// [`Failure`] when that failed.
    pub fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Demo(args) => demo::run(args),
            Command::Serve(args) => serve::run(args),
            Command::Check(args) => check::run(args),
            Command::Config(args) => config::run(args),
            Command::User(args) => user::run(args),
            Command::Hash(args) => hash::run(args),
            Command::InitRoot(args) => maildir::init_root(args),
            Command::Completions(args) => completions::run(args),
            Command::Man(args) => man::run(args),
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve sample mail on this machine, to try a mail client with.
    ///
    /// Makes a temporary directory with a self-signed certificate, a user and sample mail, serves
    /// it, and prints what to type into a mail client. Ctrl-C ends it and removes the directory.
    Demo(demo::Args),
    /// Serve mail, in the foreground.
    ///
    /// Started as root it binds its ports and then becomes the user of run-as. It is ready when it
    /// has logged a line for each listening socket, and tells a service manager so.
    ///
    /// SIGHUP reads the configuration again; SIGTERM lets sessions go on to their QUIT, and ends.
    /// Certificates and credential files that change are read again without being asked to.
    Serve(serve::Args),
    /// Check the configuration and all that it names.
    ///
    /// Reads it with the certificates and credential files that it names, tries its ports, looks at
    /// the mail, and reports all errors at once: file, line, column and key, what is wrong, and
    /// what to write. Warnings are about what the server works in spite of. The exit code is 0
    /// without errors and 1 with them.
    Check(check::Args),
    /// Print the configuration in force, with its defaults.
    ///
    /// As TOML that can be used as a configuration file: every key that has a value, with whole
    /// paths. Secrets stand in files of their own and are not printed. A file with faults is
    /// refused, as by check.
    Config(config::Args),
    /// Add, change, remove or list the users of a credential file; try a login.
    User(user::Args),
    /// Print the hash of a password.
    Hash(hash::Args),
    /// Say that a directory holds mail, so that missing Maildirs can be made below it.
    ///
    /// Makes the file restante.root in it. Where a file system is not mounted, that file is not
    /// there, and nothing is made: a user whose mail is not mounted is never shown an empty
    /// maildrop. Run it while the mail is mounted, for each file system that holds mail.
    InitRoot(maildir::Args),
    /// Print what a shell needs to complete commands and options.
    Completions(completions::Args),
    /// Print the manual page, or write the pages of all commands.
    Man(man::Args),
}

/// Why a command failed, in words for the person who gave it.
#[derive(Debug)]
pub struct Failure {
    what: String,
    exit_code: u8,
}

impl Failure {
    /// Takes the line that is shown; the exit code is 1.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), exit_code: 1 }
    }

    /// An error that says all that there is to say.
    fn of(error: impl Error) -> Self {
        Self::new(error.to_string())
    }

    /// The same failure with another exit code.
    fn exit_with(self, exit_code: u8) -> Self {
        Self { exit_code, ..self }
    }

    /// What the program ends with.
    pub fn exit_code(&self) -> u8 {
        self.exit_code
    }
}

impl Error for Failure {}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
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
    fn every_command_says_what_it_does() {
        for command in Cli::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
        }
    }
}
