//! SIGHUP: applies a changed configuration as far as possible, and logs which keys need a restart.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::{error, info, warn};

use super::sandbox::SandboxError;
use super::service_manager::ServiceManager;
use super::{Sandbox, Shared, Source};
use crate::config::{Config, Faults};
use crate::credentials::Store;
use crate::mailbox::maildir::MaildirStore;
use crate::threads;

/// The state that reloads need.
pub(super) struct Reload {
    pub(super) shared: Arc<Shared<MaildirStore, Store>>,
    /// The configuration at the start, which still applies to keys that need a restart.
    pub(super) started_with: Config,
    pub(super) source: Source,
    /// The restrictions of the process, which cannot be lifted.
    pub(super) sandbox: Sandbox,
    pub(super) service_manager: Arc<ServiceManager>,
    pub(super) one_at_a_time: Mutex<()>,
}

impl Reload {
    /// Begins a reload, in a thread for the file system of the configuration.
    pub(super) fn start(self: Arc<Self>) {
        let place = match &self.source {
            Source::File { path, .. } => path.clone(),
            Source::Fixed => PathBuf::new(),
        };
        if let Err(error) = threads::files().of(&place).start(move || self.run()) {
            error!("SIGHUP: the old configuration stays in use: {error}");
        }
    }

    /// Reads the configuration and applies it to new connections. If a part of it is invalid, the old
    /// one stays in use as a whole.
    pub(super) fn run(&self) {
        let _turn = self.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
        self.service_manager.reloading();
        let outcome = self.read_again();
        match &outcome {
            Ok(()) => info!("SIGHUP: the configuration is in use for new connections"),
            Err(error @ ReloadError::NoFile) => warn!("SIGHUP: {error}"),
            Err(ReloadError::Config(faults)) => {
                for line in faults.to_string().lines() {
                    error!("{line}");
                }
                error!("SIGHUP: the configuration has faults, the old one stays in use");
            }
            Err(error @ (ReloadError::Sandbox(_) | ReloadError::Server(_))) => {
                error!("SIGHUP: the old configuration stays in use: {error}");
            }
        }
        // If a stop has begun meanwhile, the service manager is to see that instead.
        if !self.shared.drain.is_cancelled() {
            self.service_manager.reloaded(outcome);
        }
    }

    fn read_again(&self) -> Result<(), ReloadError> {
        let Source::File { path, level } = &self.source else { return Err(ReloadError::NoFile) };
        let config = Config::load(path)?;
        self.sandbox.allows(&config, path)?;
        self.shared.renew(&config)?;
        level.set(config.log.level);
        for key in fixed_keys(&self.started_with, &config) {
            warn!("{key} has changed, which takes effect at the next start only");
        }
        Ok(())
    }
}

/// Why a reload failed.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    #[error("there is no configuration file to read again")]
    NoFile,
    #[error(transparent)]
    Config(#[from] Faults),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error(transparent)]
    Server(#[from] super::Error),
}

/// The changed keys that need a restart.
fn fixed_keys(old: &Config, new: &Config) -> Vec<&'static str> {
    [
        ("listen", old.listen != new.listen),
        ("run-as", old.run_as != new.run_as),
        ("sandbox", old.sandbox != new.sandbox),
        ("log.format", old.log.format != new.log.format),
    ]
    .into_iter()
    .filter_map(|(key, differs)| differs.then_some(key))
    .collect()
}
