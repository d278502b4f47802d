//! `restante config`: the configuration in force, with the defaults of what the file does not say.

use std::io::{self, Write};
use std::path::{self, PathBuf};

use super::Failure;
use crate::config::PartialConfig;

/// `restante config`
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
        restante config --non-default               # what a question to others should have with it\n  \
        restante config > copy.toml && restante check --config copy.toml")]
pub struct Args {
    /// The configuration.
    #[arg(long, short, value_name = "FILE", default_value = super::CONFIG)]
    config: PathBuf,
    /// Leave out what is as it would be without a word in the file.
    #[arg(long, short)]
    non_default: bool,
    /// Print JSON in place of TOML.
    #[arg(long)]
    json: bool,
}

/// Prints a configuration.
///
/// # Errors
/// [`Failure`] when it has faults, or cannot be printed.
pub fn run(args: Args) -> Result<(), Failure> {
    let Args { config: file, non_default, json } = args;
    // What is printed may be put anywhere, so its paths have to be whole.
    let file = path::absolute(file).map_err(Failure::of)?;
    let (_, mut settings) =
        PartialConfig::load(&file).and_then(PartialConfig::finish).map_err(Failure::of)?;
    if non_default {
        settings = settings.without_defaults();
    }
    let text = match json {
        true => serde_json::to_string_pretty(&settings.table()).map_err(Failure::of)? + "\n",
        false => settings.to_string(),
    };
    let written = io::stdout().write_all(text.as_bytes());
    written.map_err(|error| Failure::new(format!("standard output: {error}")))
}
