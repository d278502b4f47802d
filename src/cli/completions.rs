//! `restante completions`: completion scripts for shells.

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, Failure, print};

/// `restante completions`
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Where shells look for the script:\n  \
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
    // Generated in memory, since the generator panics if writing fails.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "restante", &mut script);
    print(script)
}
