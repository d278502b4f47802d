//! `restante serve`: the daemon.

use std::fs::File;
use std::path::PathBuf;

use tracing::{debug, warn};

use super::{FORMAT, Failure};
use crate::config::{Fault, PartialConfig};
use crate::server::{self, ControlSocket, Sandbox, Source};
use crate::telemetry;

/// `restante serve`
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
        restante check --config restante.toml && restante serve --config restante.toml\n  \
        systemctl reload restante          # applies a changed configuration")]
pub struct Args {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = super::CONFIG)]
    config: PathBuf,
}

/// Serves until a signal to stop.
///
/// # Errors
/// [`Failure`] when it cannot start, or when a listening socket breaks.
pub fn run(args: Args) -> Result<(), Failure> {
    let Args { config: file } = args;
    let config = PartialConfig::load(&file).map_err(Failure::of)?;
    let place = Some(config.place_of(FORMAT));
    let (config, _) = config.finish().map_err(Failure::of)?;
    let sockets =
        server::bind(&config.listen, &config.http()).map_err(|error| match error.in_use() {
            Some(_) => Failure::new(format!("{error}; stop it, or change {}", error.key())),
            None => Failure::of(error),
        })?;
    let control = ControlSocket::bind(&config.control);
    if config.sandbox.no_new_privileges {
        server::drop_bounding_set();
    }
    server::assume(config.run_as.as_ref()).map_err(Failure::of)?;
    // Before the first thread, which writes the log.
    let sandbox = Sandbox::enter(&config, &file);
    let log = telemetry::start(&config.log)
        .map_err(|error| Failure::new(format!("the log cannot be written: {error}")))?;
    if let Err(error) = File::open(&file) {
        let file = file.display();
        warn!("{file} cannot be read again as the user of run-as, SIGHUP will fail: {error}");
    }
    let control = control.unwrap_or_else(|error| {
        match error.is_expected() {
            true => debug!("{error}"),
            false => warn!("{error}"),
        }
        None
    });
    let source = Source::File { path: file.clone(), level: log.level() };
    server::run(config, sockets, control, source, sandbox).map_err(|error| {
        let server::Error::Format(wrong) = error else { return Failure::of(error) };
        let fault = Fault { place, key: FORMAT.to_owned(), what: wrong.to_string() };
        Failure::new(fault.line(&file))
    })
}
