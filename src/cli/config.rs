//! `restante config`: the effective configuration, including defaults.

use std::path::{self, PathBuf};

use super::{Failure, print};
use crate::config::PartialConfig;

/// `restante config`
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
        restante config --non-default               # the form to attach to a question\n  \
        restante config > copy.toml && restante check --config copy.toml")]
pub struct Args {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = super::CONFIG)]
    config: PathBuf,
    /// Omit keys with their default values.
    #[arg(long, short)]
    non_default: bool,
    /// Print JSON instead of TOML.
    #[arg(long)]
    json: bool,
}

/// Prints a configuration.
///
/// # Errors
/// [`Failure`] when it has faults, or cannot be printed.
pub fn run(args: Args) -> Result<(), Failure> {
    let Args { config: file, non_default, json } = args;
    // The output may be moved to another directory, so its paths must be absolute.
    let file = path::absolute(file).map_err(Failure::of)?;
    let (_, mut settings) =
        PartialConfig::load(&file).and_then(PartialConfig::finish).map_err(Failure::of)?;
    if non_default {
        settings = settings.without_defaults();
    }
    print(match json {
        true => serde_json::to_string_pretty(&settings.table()).map_err(Failure::of)? + "\n",
        false => settings.to_string(),
    })
}
