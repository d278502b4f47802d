//! `restante hash`: prints the hash of a password, for credential files that are edited otherwise.

use zeroize::Zeroizing;

use crate::cli::password::PasswordArgs;
use crate::cli::{Failure, print};

/// `restante hash`
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    password: PasswordArgs,
}

/// Reads a password and prints its hash, as in a credential file.
///
/// # Errors
/// [`Failure`] when there is no password, or it cannot be hashed.
#[expect(clippy::needless_pass_by_value, reason = "every command consumes its arguments")]
pub fn run(args: Args) -> Result<(), Failure> {
    let password = args.password.read("")?;
    let hash = args.password.scheme().hash(&password).map_err(Failure::of)?;
    // A whole line: standard output would keep a part of one in its buffer.
    print(Zeroizing::new([hash.expose().as_str(), "\n"].concat()))
}
