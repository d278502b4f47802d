//! `restante user`: adds, changes, removes and lists the users of a credential file.

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Subcommand;

use crate::auth::edit::{self, Added, EditError};
use crate::cli::Failure;
use crate::cli::password::PasswordArgs;
use crate::protocol::Username;

/// What `restante user` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Add a user; the file is created if it is not there.
    Add {
        #[command(flatten)]
        user: UserArgs,
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// Give a user another password.
    SetPassword {
        #[command(flatten)]
        user: UserArgs,
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// Remove a user; mail stays where it is.
    Remove {
        #[command(flatten)]
        user: UserArgs,
    },
    /// List the users, a line each; behind a tab why a user cannot log in.
    List {
        #[command(flatten)]
        file: FileArgs,
    },
}

#[derive(Debug, clap::Args)]
struct UserArgs {
    #[command(flatten)]
    file: FileArgs,
    /// The name that the user logs in with, say mrose or mrose@example.org.
    #[arg(value_parser = name)]
    name: Username,
}

#[derive(Debug, clap::Args)]
struct FileArgs {
    /// The credential file, as in the section [[credentials]] of the configuration.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
}

/// Does what the arguments say.
///
/// # Errors
/// [`Failure`] when the file cannot be read or changed, or there is no password.
pub fn run(args: Args) -> Result<(), Failure> {
    match args.action {
        Action::Add { user: UserArgs { file: FileArgs { file }, name }, password } => {
            edit::expect_absent(&file, &name)?;
            let password = password.read(&format!(" for {name}"))?;
            match edit::add(&file, &name, &password)? {
                Added::ToFile => Ok(()),
                Added::ToNewFile => say(
                    io::stderr(),
                    format_args!(
                        "{} was created and only its owner can read it; chown it to the user that \
                         the server runs as",
                        file.display()
                    ),
                ),
            }
        }
        Action::SetPassword { user: UserArgs { file: FileArgs { file }, name }, password } => {
            edit::expect_present(&file, &name)?;
            let password = password.read(&format!(" for {name}"))?;
            Ok(edit::set_password(&file, &name, &password)?)
        }
        Action::Remove { user: UserArgs { file: FileArgs { file }, name } } => {
            Ok(edit::remove(&file, &name)?)
        }
        Action::List { file: FileArgs { file } } => {
            for user in edit::list(&file)? {
                let why = user.unusable.map(|why| format!("\tcannot log in: {why}"));
                let why = why.unwrap_or_default();
                say(io::stdout(), format_args!("{}{why}", user.name))?;
            }
            Ok(())
        }
    }
}

impl From<EditError> for Failure {
    fn from(error: EditError) -> Self {
        Self::new(error.to_string())
    }
}

fn name(argument: &str) -> Result<Username, String> {
    Username::try_from(argument).map_err(|fault| format!("the user name {fault}"))
}

fn say(mut to: impl Write, words: fmt::Arguments<'_>) -> Result<(), Failure> {
    writeln!(to, "{words}").map_err(|error| Failure::new(format!("cannot write: {error}")))
}
