//! `restante user`: adds, changes, removes and lists the users of a credential file, and tests a
//! login.
//!
//! This file chooses the credential file and edits it. `app_password` edits app passwords. `login`
//! tests a login.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Subcommand;

use crate::cli::password::PasswordArgs;
use crate::cli::{CONFIG, Failure, maildir, print};
use crate::config::{Config, Credentials, RunAs};
use crate::credentials::edit::{self, Added, EditError, User};
use crate::password::WeakSchemes;
use crate::protocol::{NameError, Username};

mod app_password;
mod login;

/// `restante user`
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Add a user; create the credential file if it does not exist.
    Add {
        #[command(flatten)]
        user: UserArgs,
        #[command(flatten)]
        password: PasswordArgs,
        /// Also create the user's Maildir, at the path in the configuration; see restante init-root.
        #[arg(long)]
        maildir: bool,
    },
    /// Change the password of a user.
    SetPassword {
        #[command(flatten)]
        user: UserArgs,
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// Remove a user with all app passwords, but not the user's mail.
    Remove {
        #[command(flatten)]
        user: UserArgs,
    },
    /// Verify a name and a password against the stores of a configuration, as a login would.
    ///
    /// Prints which store decided and why, and the location of the user's mail. Each outcome has its
    /// own exit code.
    Test(login::Args),
    /// Passwords for single devices and programs of a user, which are removed one by one.
    AppPassword(app_password::Args),
    /// List the users, one per line; after a tab, the number of app passwords, and why the user's own
    /// password cannot be used.
    List {
        #[command(flatten)]
        file: FileArgs,
    },
}

#[derive(Debug, clap::Args)]
struct UserArgs {
    #[command(flatten)]
    file: FileArgs,
    /// The name that the user logs in with, such as mrose or mrose@example.org.
    #[arg(value_parser = name)]
    name: Username,
}

#[derive(Debug, clap::Args)]
struct FileArgs {
    /// The configuration file, which names the credential file.
    #[arg(long, short, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
    /// The credential file, instead of the one in the configuration.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// The credential file of a command.
#[derive(Debug)]
struct CredentialFile {
    path: PathBuf,
    /// Whether its weak hashes are accepted.
    weak: WeakSchemes,
    /// The user that must be able to read it, if it is known.
    reader: Option<RunAs>,
}

/// Runs a subcommand.
///
/// # Errors
/// [`Failure`] when the file cannot be read or changed, or there is no password.
pub fn run(args: Args) -> Result<(), Failure> {
    match args.action {
        Action::Add { user: UserArgs { file, name }, password, maildir } => {
            let config = maildir.then(|| Config::load(&file.config)).transpose();
            let config = config.map_err(Failure::of)?;
            let file = file.find()?;
            edit::expect_absent(&file.path, &name)?;
            let path = config.as_ref().map(|config| maildir::path(config, &name)).transpose()?;
            let (new, scheme) = (password.read(&format!(" for {name}"))?, password.scheme());
            // Before the user is added, so that the command can be repeated if this fails.
            if let Some((config, path)) = config.as_ref().zip(path) {
                maildir::create(config, &path)?;
            }
            match edit::add(&file.path, &name, &new, scheme)? {
                Added::ToFile => Ok(()),
                Added::ToNewFile => writeln!(io::stderr(), "{}", file.created())
                    .map_err(|error| Failure::new(format!("cannot write: {error}"))),
            }
        }
        Action::SetPassword { user: UserArgs { file, name }, password } => {
            let CredentialFile { path, .. } = file.find()?;
            edit::expect_present(&path, &name)?;
            let (new, scheme) = (password.read(&format!(" for {name}"))?, password.scheme());
            Ok(edit::set_password(&path, &name, &new, scheme)?)
        }
        Action::Remove { user: UserArgs { file, name } } => {
            Ok(edit::remove(&file.find()?.path, &name)?)
        }
        Action::Test(args) => login::test(args),
        Action::AppPassword(args) => app_password::run(args),
        Action::List { file } => {
            let CredentialFile { path, weak, .. } = file.find()?;
            let mut list = String::new();
            for user in edit::list(&path, weak)? {
                list.push_str(&line(&user));
            }
            print(list)
        }
    }
}

impl FileArgs {
    /// The file of `--file`, or the only one of the configuration.
    fn find(self) -> Result<CredentialFile, Failure> {
        if let Some(path) = self.file {
            return Ok(CredentialFile { path, weak: WeakSchemes::Refused, reader: None });
        }
        let shown = self.config.display();
        if !self.config.exists() {
            return Err(Failure::new(format!(
                "{shown} does not exist; name the configuration with --config, or the credential \
                 file with --file"
            )));
        }
        let config = Config::load(&self.config).map_err(Failure::of)?;
        match *files(&config.credentials) {
            [path] => Ok(CredentialFile {
                path: path.to_owned(),
                weak: config.auth.weak_schemes.into(),
                reader: config.run_as,
            }),
            [] => {
                let kinds: Vec<_> = config.credentials.iter().map(Credentials::kind).collect();
                Err(Failure::new(format!(
                    "{shown} has no credentials of kind \"file\", only of kind {}; change users there, \
                     or name a credential file with --file",
                    kinds.join(", ")
                )))
            }
            ref several => {
                let files: Vec<_> = several.iter().map(|path| path.display().to_string()).collect();
                Err(Failure::new(format!(
                    "{shown} has several credential files; choose one of them with --file: {}",
                    files.join(", ")
                )))
            }
        }
    }
}

impl CredentialFile {
    /// The message about a new file.
    fn created(&self) -> String {
        let path = self.path.display();
        match &self.reader {
            Some(reader) => format!(
                "{path} was created, and only its owner can read it; give it to the server: chown {} \
                 {path}",
                reader.user
            ),
            None => format!(
                "{path} was created, and only its owner can read it; chown it to the user that the \
                 server runs as"
            ),
        }
    }
}

/// The line of a user in the list.
fn line(user: &User) -> String {
    let mut remarks = Vec::new();
    match user.app_passwords.len() {
        0 => {}
        1 => remarks.push("1 app password".to_owned()),
        several => remarks.push(format!("{several} app passwords")),
    }
    if let Some(why) = &user.unusable {
        let only_app_passwords = !remarks.is_empty() && why.is_of_password();
        let with = if only_app_passwords { " with the own password" } else { "" };
        remarks.push(format!("cannot log in{with}: {why}"));
    }
    let tab = if remarks.is_empty() { "" } else { "\t" };
    format!("{}{tab}{}\n", user.name, remarks.join("; "))
}

/// The credential files among these stores, each once.
fn files(stores: &[Credentials]) -> Vec<&Path> {
    let mut files = Vec::new();
    for store in stores {
        if let Credentials::File(section) = store
            && !files.contains(&section.path.as_path())
        {
            files.push(section.path.as_path());
        }
    }
    files
}

impl From<EditError> for Failure {
    fn from(error: EditError) -> Self {
        Self::new(error.to_string())
    }
}

/// An argument that is not a user name.
#[derive(Debug, thiserror::Error)]
#[error("the user name {0}")]
struct InvalidName(NameError);

fn name(argument: &str) -> Result<Username, InvalidName> {
    Username::try_from(argument).map_err(InvalidName)
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
            "test --file users mrose",
            "add mrose",
            "add --config restante.toml mrose",
            "add --maildir --stdin mrose",
            "add --maildir --config restante.toml --file users mrose",
            "remove mrose",
            "list",
            "list -c restante.toml",
            "app-password add --file users mrose phone",
            "app-password add --stdin mrose@example.org phone",
            "app-password list --config restante.toml mrose",
            "app-password remove mrose phone",
        ] {
            assert!(parse(right).is_ok(), "{right}");
        }
        for wrong in [
            "",
            "add --file users",
            "add --file users ../mrose",
            "add --scheme md5 --file users mrose",
            "add --file users mrose tanstaaf",
            "remove --file users --stdin mrose",
            "list --file users mrose",
            "add mrose --password tanstaaf",
            "add mrose --password=tanstaaf",
            "set-password --password mrose",
            "test --password tanstaaf mrose",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_failure_is_one_line_with_the_file_and_what_to_do() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("users");
        let run = |words: &str| {
            run(parse(&words.replace("FILE", &path.to_string_lossy())).unwrap())
                .map_err(|failure| failure.to_string())
        };
        let missing = run("remove --file FILE mrose").unwrap_err();
        assert!(missing.contains("restante user add"), "{missing}");
        fs::write(&path, "mrose:{PLAIN}tanstaaf\n").unwrap();
        // These are found before the prompt for a password.
        let present = run("add --file FILE MRose --stdin").unwrap_err();
        assert!(present.contains("restante user set-password"), "{present}");
        let absent = run("set-password --file FILE bob --stdin").unwrap_err();
        assert!(absent.contains("restante user list"), "{absent}");
        for failure in [missing, present, absent] {
            assert!(failure.contains(&*path.to_string_lossy()), "{failure}");
            assert_eq!(failure.lines().count(), 1, "{failure}");
        }
        assert_eq!(run("remove --file FILE MROSE"), Ok(()));
        assert_eq!(fs::read(&path).unwrap(), b"# one line per user\n");
    }
}
