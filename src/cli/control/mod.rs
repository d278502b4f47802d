//! `restante status`, `sessions`, `kick`, `watch`, `throttle` and `reload`: commands that ask a running
//! server.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::{CONFIG, Failure, print};
use crate::config::Config;
use crate::control::{Answer, Client, ClientError, Request};

pub mod reload;
pub mod sessions;
pub mod status;
pub(super) mod table;
pub mod throttle;
pub mod watch;
mod who;

use table::Table;
use who::Who;

/// Which server is asked, and how its answers are printed.
#[derive(Debug, clap::Args)]
pub struct Target {
    /// The configuration file of the server, which names its control socket.
    #[arg(long, short, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
    /// The control socket; the configuration file is not read.
    #[arg(long, value_name = "PATH", conflicts_with = "config")]
    socket: Option<PathBuf>,
    /// Print JSON, an object a line.
    #[arg(long)]
    json: bool,
}

impl Target {
    /// Sends a request, and passes its answers to `each`.
    fn ask(
        &self,
        request: &Request,
        each: impl FnMut(Answer) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.ask_for(None, request, each)
    }

    /// The same for at most this time, whether or not there is a last answer.
    fn ask_for(
        &self,
        most: Option<Duration>,
        request: &Request,
        each: impl FnMut(Answer) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let path = match &self.socket {
            Some(path) => path.clone(),
            None => self.configured()?,
        };
        Client::connect(&path)?.ask(request, most, each)
    }

    fn configured(&self) -> Result<PathBuf, Failure> {
        let control = Config::load(&self.config).map_err(Failure::of)?.control;
        if !control.enabled {
            let file = self.config.display();
            let why = format!("{file} has control.enabled = false, so there is no server to ask");
            return Err(Failure::new(why));
        }
        Ok(control.path)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::of(error)
    }
}

/// Prints an object and a line feed.
pub(super) fn print_json(object: &impl Serialize) -> Result<(), Failure> {
    let line = serde_json::to_string(object).map_err(Failure::of)?;
    print(line + "\n")
}
