//! `restante completions`: what a shell needs to complete commands and options.

use std::io::{self, Write};

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, Failure};

/// What `restante completions` takes.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Where a shell looks for them:\n  \
        bash  /usr/local/share/bash-completion/completions/restante\n  \
        zsh   /usr/local/share/zsh/site-functions/_restante\n  \
        fish  /usr/local/share/fish/vendor_completions.d/restante.fish")]
pub struct Args {
    /// The shell.
    shell: Shell,
}

/// Prints a script for the shell.
///
/// # Errors
/// [`Failure`] when it cannot be printed.
#[expect(clippy::needless_pass_by_value, reason = "every command consumes its arguments")]
pub fn run(args: Args) -> Result<(), Failure> {
    // Made in memory: the generator takes it for granted that writing succeeds.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "restante", &mut script);
    let written = io::stdout().write_all(&script);
    written.map_err(|error| Failure::new(format!("standard output: {error}")))
}
