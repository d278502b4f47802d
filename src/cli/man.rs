//! `restante man`: manual pages, from the same texts as `--help`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{CommandFactory, ValueHint};
use clap_mangen::Man;

use super::{Cli, Failure, print};

/// `restante man`
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
        restante man | man -l -\n  \
        restante man --directory /usr/local/share/man/man1")]
pub struct Args {
    /// Write a page for each command to this directory: restante.1, restante-serve.1, …
    #[arg(long, value_name = "DIRECTORY", value_hint = ValueHint::DirPath)]
    directory: Option<PathBuf>,
}

/// Prints the page of the program, or writes all pages.
///
/// # Errors
/// [`Failure`] when a page cannot be written.
pub fn run(args: Args) -> Result<(), Failure> {
    let mut program = Cli::command();
    // Gives each command its full name, such as `restante user add`.
    program.build();
    match args.directory {
        Some(directory) => pages(program, &directory),
        None => print(page(program).map_err(Failure::of)?),
    }
}

/// Writes the page of a command, and those of its subcommands.
fn pages(command: clap::Command, directory: &Path) -> Result<(), Failure> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let path = directory.join(format!("{name}.1"));
    let below: Vec<_> = command.get_subcommands().filter(|it| !it.is_hide_set()).cloned().collect();
    let written = page(command).and_then(|page| fs::write(&path, page));
    written
        .map_err(|error| Failure::new(format!("{} cannot be written: {error}", path.display())))?;
    below.into_iter().try_for_each(|command| pages(command, directory))
}

fn page(command: clap::Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(command).render(&mut page)?;
    Ok(page)
}
