//! `restante hash`: prints the hash of a password, for a credential file written by other means.

use std::io::{self, Write};

use crate::auth;
use crate::cli::Failure;
use crate::cli::password::PasswordArgs;

/// What `restante hash` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    password: PasswordArgs,
}

/// Reads a password and prints its argon2id hash as a PHC string.
///
/// # Errors
/// [`Failure`] when there is no password, or it cannot be hashed.
#[expect(clippy::needless_pass_by_value, reason = "every command consumes its arguments")]
pub fn run(args: Args) -> Result<(), Failure> {
    let password = args.password.read("")?;
    let hash = auth::hash(&password).map_err(|why| Failure::new(why.to_string()))?;
    writeln!(io::stdout(), "{}", hash.expose())
        .map_err(|error| Failure::new(format!("standard output: {error}")))
}
