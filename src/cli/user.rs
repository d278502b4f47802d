//! `restante user`: adds, changes, removes and lists the users of a credential file, and tries a
//! log-in out.

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use rustix::fs::Access;

use crate::auth::Identity;
use crate::auth::edit::{self, Added, EditError};
use crate::cli::Failure;
use crate::cli::check;
use crate::cli::password::{self, PasswordArgs};
use crate::config::Config;
use crate::mailbox::maildir::{PathTemplate, examine};
use crate::protocol::{ClaimedName, Username};
use crate::server::stores::{self, Decided, Judgement};

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
    /// Put a name and a password to the stores of a configuration, as a log-in would.
    ///
    /// Says which store decided and why, and where the mail of the user is. The exit code is 0 when
    /// the user would be let in.
    Test {
        /// The configuration.
        #[arg(long, short, value_name = "FILE", default_value = "/etc/restante/restante.toml")]
        config: PathBuf,
        /// Read the password from standard input, a single line, instead of asking for it.
        #[arg(long)]
        stdin: bool,
        /// The name as a client would send it.
        name: String,
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
            let (new, scheme) = (password.read(&format!(" for {name}"))?, password.scheme());
            match edit::add(&file, &name, &new, scheme)? {
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
            let (new, scheme) = (password.read(&format!(" for {name}"))?, password.scheme());
            Ok(edit::set_password(&file, &name, &new, scheme)?)
        }
        Action::Remove { user: UserArgs { file: FileArgs { file }, name } } => {
            Ok(edit::remove(&file, &name)?)
        }
        Action::Test { config, stdin, name } => test(&config, stdin, &name),
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

/// Says what would come of a log-in.
fn test(config: &Path, stdin: bool, name: &str) -> Result<(), Failure> {
    let config = Config::load(config).map_err(Failure::of)?;
    let password = password::existing(&format!(" of {name}"), stdin)?;
    check::become_the_server(config.run_as.as_ref())?;
    let claimed = ClaimedName::new(name.as_bytes());
    let Judgement { store, outcome } =
        stores::judge(&config, &claimed, password).map_err(Failure::new)?;
    let decided = match &store {
        Decided::By(store) => format!("{store} decided"),
        Decided::Nobody(asked) => format!("asked: {}", asked.join(", ")),
    };
    let identity =
        outcome.map_err(|reason| Failure::new(format!("{claimed}: {reason}; {decided}")))?;
    let user = identity.username();
    say(io::stdout(), format_args!("{user}: the password is right; {decided}"))?;
    let maildir = maildir(&config, &identity)
        .map_err(|why| Failure::new(format!("{user} would not be let in all the same: {why}")))?;
    let sessions = identity.sessions().unwrap_or(config.limits.sessions_per_user);
    say(io::stdout(), format_args!("  mail         {}", maildir.display()))?;
    say(io::stdout(), format_args!("  sessions     {sessions}"))
}

/// Where the mail of a user is, or why there is none to be had.
fn maildir(config: &Config, identity: &Identity) -> Result<PathBuf, String> {
    let path = PathTemplate::new(&config.maildir.path)
        .path(identity.username(), identity.home(), identity.mail())
        .map_err(|error| error.to_string())?;
    examine(&path).map_err(|failure| failure.to_string())?;
    for folder in ["cur", "new"].map(|name| path.join(name)) {
        let wanted = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
        rustix::fs::access(&folder, wanted).map_err(|error| {
            let folder = folder.display();
            format!("{folder} cannot be read and written: {}", io::Error::from(error))
        })?;
    }
    Ok(path)
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

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser;
    use tempfile::TempDir;

    use super::*;

    #[derive(Debug, Parser)]
    struct CommandLine {
        #[command(flatten)]
        args: Args,
    }

    fn parse(words: &str) -> Result<Args, clap::Error> {
        let words = std::iter::once("user").chain(words.split_ascii_whitespace());
        Ok(CommandLine::try_parse_from(words)?.args)
    }

    #[test]
    fn the_command_line_is_as_documented() {
        for right in [
            "add --file users mrose",
            "add --file users --stdin mrose@example.org",
            "add mrose --stdin --file users",
            "add --scheme scram-sha-256 --file users mrose",
            "set-password --scheme argon2id --file users mrose",
            "set-password --file users --stdin mrose",
            "remove --file users mrose",
            "list --file users",
            "test mrose",
            "test --config restante.toml --stdin mrose@example.org",
        ] {
            assert!(parse(right).is_ok(), "{right}");
        }
        for wrong in [
            "",
            "add mrose",
            "add --file users",
            "add --file users ../mrose",
            "add --scheme md5 --file users mrose",
            "add --file users mrose tanstaaf",
            "remove --file users --stdin mrose",
            "list --file users mrose",
            "list",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_failure_is_one_line_that_names_the_file_and_the_way_out() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("users");
        let run = |words: &str| {
            run(parse(&words.replace("FILE", &path.to_string_lossy())).unwrap())
                .map_err(|failure| failure.to_string())
        };
        let missing = run("remove --file FILE mrose").unwrap_err();
        assert!(missing.contains("restante user add"), "{missing}");
        fs::write(&path, "mrose:{PLAIN}tanstaaf\n").unwrap();
        // Known before anybody is asked for a password.
        let present = run("add --file FILE MRose --stdin").unwrap_err();
        assert!(present.contains("restante user set-password"), "{present}");
        let absent = run("set-password --file FILE bob --stdin").unwrap_err();
        assert!(absent.contains("restante user list"), "{absent}");
        for failure in [missing, present, absent] {
            assert!(failure.contains(&*path.to_string_lossy()), "{failure}");
            assert_eq!(failure.lines().count(), 1, "{failure}");
        }
        assert_eq!(run("remove --file FILE MROSE"), Ok(()));
        assert_eq!(fs::read(&path).unwrap(), b"");
    }
}
