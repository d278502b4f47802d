//! `restante migrate plan`: what a migration needs, before anything is changed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::accounts::Selection;
use super::doveconf;
use crate::cli::{CONFIG, Failure, print};

mod users;

use users::Extent;

/// `restante migrate plan`
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
        doveconf -n > dovecot.txt; restante migrate plan --doveconf dovecot.txt\n  \
        ssh old.example.org doveconf -n | restante migrate plan --doveconf -")]
pub(super) struct Args {
    /// The output of `doveconf -n` of Dovecot 2.3 or 2.4; `-` for standard input.
    ///
    /// Prints the section [maildir] to write, with comments on settings that have no equivalent.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["user", "all"])]
    doveconf: Option<PathBuf>,
    /// The configuration file, with --user and --all.
    #[arg(long, short, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
    #[command(flatten)]
    selection: Selection,
    /// Print the messages, too: the message-number and the unique-id of each, where the unique-id
    /// comes from, and the name of the file.
    #[arg(long, conflicts_with = "doveconf")]
    messages: bool,
}

/// Prints what users would see, or the sections of the configuration that the settings of Dovecot
/// correspond to.
///
/// # Errors
/// [`Failure`] when users would notice the move, or when the settings cannot be read or the mail is
/// not in Maildirs.
#[expect(clippy::needless_pass_by_value, reason = "every command consumes its arguments")]
pub(super) fn run(args: Args) -> Result<(), Failure> {
    let Some(file) = &args.doveconf else {
        let extent = if args.messages { Extent::Messages } else { Extent::Counts };
        return users::run(&args.config, &args.selection, extent);
    };
    let name = if is_standard_input(file) { Path::new("standard input") } else { file };
    let failure = |why: String| Failure::new(format!("{}: {why}", name.display()));
    let text = read(file).map_err(|error| failure(format!("cannot be read: {error}")))?;
    print(doveconf::translate(&text).map_err(|error| failure(error.to_string()))?)
}

fn read(file: &Path) -> io::Result<String> {
    if is_standard_input(file) { io::read_to_string(io::stdin()) } else { fs::read_to_string(file) }
}

fn is_standard_input(file: &Path) -> bool {
    file == Path::new("-")
}
