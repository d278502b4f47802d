//! `restante user app-password`: adds, lists and removes the app passwords of a user in a credential
//! file.

use clap::Subcommand;
use zeroize::Zeroizing;

use super::{CredentialFile, UserArgs};
use crate::cli::password::given_app_password;
use crate::cli::{Failure, print};
use crate::credentials::edit;
use crate::credentials::{AppPasswordName, AppPasswordNameError};
use crate::password;

/// `restante user app-password`
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a new password for a device or program of a user, and print it: it is not shown again.
    ///
    /// It works beside the user's own password, wherever a password is sent; not with SCRAM.
    Add {
        #[command(flatten)]
        app: AppArgs,
        /// Take a random password of at least 20 characters from standard input, and print nothing.
        #[arg(long)]
        stdin: bool,
    },
    /// List the app passwords of a user, one per line; after a tab, why one cannot be used.
    List {
        #[command(flatten)]
        user: UserArgs,
    },
    /// Remove an app password. The device or program that has it can no longer log in.
    Remove {
        #[command(flatten)]
        app: AppArgs,
    },
}

#[derive(Debug, clap::Args)]
struct AppArgs {
    #[command(flatten)]
    user: UserArgs,
    /// The name of the app password, as the log shows it: such as phone or thunderbird-office.
    #[arg(value_name = "APP", value_parser = app_name)]
    app: AppPasswordName,
}

/// Runs a subcommand.
pub(super) fn run(args: Args) -> Result<(), Failure> {
    match args.action {
        Action::Add { app: AppArgs { user: UserArgs { file, name }, app }, stdin } => {
            let CredentialFile { path, .. } = file.find()?;
            edit::expect_room_for_app_password(&path, &name, &app)?;
            let new = if stdin {
                given_app_password()?
            } else {
                password::generate().map_err(Failure::of)?
            };
            edit::add_app_password(&path, &name, &app, &new)?;
            if stdin { Ok(()) } else { print(Zeroizing::new([new.expose(), b"\n"].concat())) }
        }
        Action::List { user: UserArgs { file, name } } => {
            let CredentialFile { path, weak, .. } = file.find()?;
            let mut list = String::new();
            for app in edit::list_app_passwords(&path, &name, weak)? {
                list.push_str(app.name.as_str());
                if let Some(why) = app.unusable {
                    list.push_str(&format!("\tcannot be used: {why}"));
                }
                list.push('\n');
            }
            print(list)
        }
        Action::Remove { app: AppArgs { user: UserArgs { file, name }, app } } => {
            Ok(edit::remove_app_password(&file.find()?.path, &name, &app)?)
        }
    }
}

fn app_name(argument: &str) -> Result<AppPasswordName, AppPasswordNameError> {
    AppPasswordName::try_from(argument)
}
