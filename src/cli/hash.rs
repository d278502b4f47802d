//! `restante hash`: prints the hash of a password, for a credential file written by other means.

use std::io::{self, Write};

use crate::cli::Failure;
use crate::cli::password::PasswordArgs;

/// What `restante hash` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    password: PasswordArgs,
}

/// Reads a password and prints what a credential file may have in its place.
///
/// # Errors
/// [`Failure`] when there is no password, or it cannot be hashed.
#[expect(clippy::needless_pass_by_value, reason = "every command consumes its arguments")]
pub fn run(args: Args) -> Result<(), Failure> {
    let password = args.password.read("")?;
    let hash = args.password.scheme().hash(&password).map_err(Failure::of)?;
    writeln!(io::stdout(), "{}", hash.expose())
        .map_err(|error| Failure::new(format!("standard output: {error}")))
}
