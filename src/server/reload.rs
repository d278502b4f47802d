//! SIGHUP and `restante reload`: applies a changed configuration as far as possible, and logs which
//! keys need a restart.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tracing::{error, info, warn};

use super::sandbox::SandboxError;
use super::service_manager::ServiceManager;
use super::{Sandbox, Shared, Source};
use crate::config::{Config, Faults};
use crate::control::{LastReload, Reloaded, unix_time};
use crate::counters;
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
    /// Locked only for a moment, unlike `one_at_a_time`: a status does not wait for a reload.
    pub(super) last: Mutex<Option<LastReload>>,
}

impl Reload {
    /// Begins a reload, in a thread for the file system of the configuration. `done` is called with
    /// its outcome, unless no thread can be had.
    pub(super) fn start(
        self: Arc<Self>,
        trigger: Trigger,
        done: impl FnOnce(Result<Reloaded, ReloadError>) + Send + 'static,
    ) {
        let place = match &self.source {
            Source::File { path, .. } => path.clone(),
            Source::Fixed => PathBuf::new(),
        };
        let reload = move || done(self.run(trigger));
        if let Err(error) = threads::files().of(&place).start(reload) {
            error!("{trigger}: the old configuration stays in use: {error}");
        }
    }

    /// The last reload, if there was one.
    pub(super) fn last(&self) -> Option<LastReload> {
        self.lock_last().clone()
    }

    fn lock_last(&self) -> MutexGuard<'_, Option<LastReload>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the configuration and applies it to new connections. If a part of it is invalid, the old
    /// one stays in use as a whole.
    fn run(&self, trigger: Trigger) -> Result<Reloaded, ReloadError> {
        let _turn = self.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
        self.service_manager.reloading();
        let outcome = self.read_again();
        match &outcome {
            Ok(_) => info!("{trigger}: the configuration is in use for new connections"),
            Err(error @ ReloadError::NoFile) => warn!("{trigger}: {error}"),
            Err(ReloadError::Config(faults)) => {
                for line in faults.to_string().lines() {
                    error!("{line}");
                }
                error!("{trigger}: the configuration has faults, the old one stays in use");
            }
            Err(error @ (ReloadError::Sandbox(_) | ReloadError::Server(_))) => {
                error!("{trigger}: the old configuration stays in use: {error}");
            }
        }
        if let Some(counters) = counters::on() {
            counters.reloads.add(if outcome.is_ok() { "succeeded" } else { "refused" }, 1);
        }
        let error = outcome.as_ref().err().map(ToString::to_string);
        *self.lock_last() = Some(LastReload { at: unix_time(SystemTime::now()), error });
        // If a stop has begun meanwhile, the service manager is to see that instead.
        if !self.shared.drain.is_cancelled() {
            self.service_manager.reloaded(outcome.as_ref().map(|_| ()));
        }
        outcome
    }

    fn read_again(&self) -> Result<Reloaded, ReloadError> {
        let Source::File { path, level } = &self.source else { return Err(ReloadError::NoFile) };
        let config = Config::load(path)?;
        self.sandbox.allows(&config, path)?;
        self.shared.renew(&config)?;
        level.set(config.log.level);
        let needs_restart = fixed_keys(&self.started_with, &config);
        for key in &needs_restart {
            warn!("{key} has changed, which takes effect at the next start only");
        }
        Ok(Reloaded { needs_restart: needs_restart.into_iter().map(str::to_owned).collect() })
    }
}

/// Who asks for a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trigger {
    Signal,
    Command,
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Signal => "SIGHUP",
            Self::Command => "restante reload",
        })
    }
}

/// Why a reload failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReloadError {
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
        ("control", old.control != new.control),
        ("metrics", old.metrics != new.metrics),
        ("web", old.web != new.web),
        ("last-logins", old.last_logins != new.last_logins),
    ]
    .into_iter()
    .filter_map(|(key, differs)| differs.then_some(key))
    .collect()
}
