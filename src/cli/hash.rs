//! `restante hash`: prints the hash of a password, for credential files that are edited otherwise.

use std::io::{self, Write};

use zeroize::Zeroizing;

use crate::cli::password::{PasswordArgs, given_app_password};
use crate::cli::{Failure, print};
use crate::password::{self, NewPassword, NewScheme};

/// `restante hash`
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    password: PasswordArgs,
    /// Make a random app password; print it to standard error and its hash to standard output. With
    /// --stdin, print the hash of one of at least 20 characters.
    #[arg(long, conflicts_with = "scheme")]
    app_password: bool,
}

/// Reads a password and prints its hash, as in a credential file.
///
/// # Errors
/// [`Failure`] when there is no password, or it cannot be hashed.
#[expect(clippy::needless_pass_by_value, reason = "every command consumes its arguments")]
pub fn run(args: Args) -> Result<(), Failure> {
    let (password, scheme) = match (args.app_password, args.password.is_stdin()) {
        (false, _) => (args.password.read("")?, args.password.scheme()),
        (true, true) => (given_app_password()?, NewScheme::SaltedSha256),
        (true, false) => (new_app_password()?, NewScheme::SaltedSha256),
    };
    let hash = scheme.hash(&password).map_err(Failure::of)?;
    // A whole line: standard output would keep a part of one in its buffer.
    print(Zeroizing::new([hash.expose().as_str(), "\n"].concat()))
}

/// Makes an app password and shows it.
fn new_app_password() -> Result<NewPassword, Failure> {
    let password = password::generate().map_err(Failure::of)?;
    let line = Zeroizing::new([b"App password: ", password.expose(), b"\n"].concat());
    let shown = io::stderr().write_all(&line);
    shown.map_err(|error| Failure::new(format!("cannot write to standard error: {error}")))?;
    Ok(password)
}
