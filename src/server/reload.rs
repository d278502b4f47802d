//! SIGHUP: what can be taken over is, and what cannot is named.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::{error, info, warn};

use super::service_manager::ServiceManager;
use super::{Sandbox, Shared, Source};
use crate::config::Config;
use crate::credentials::Store;
use crate::mailbox::maildir::MaildirStore;
use crate::threads;

/// What a reload needs to know.
pub(super) struct Reload {
    shared: Arc<Shared<MaildirStore, Store>>,
    /// The configuration at start: what it says of sockets still holds.
    started_with: Config,
    source: Source,
    /// What the process has given up, which it cannot take back.
    sandbox: Sandbox,
    service_manager: Arc<ServiceManager>,
    one_at_a_time: Mutex<()>,
}

impl Reload {
    pub(super) fn new(
        shared: Arc<Shared<MaildirStore, Store>>,
        started_with: Config,
        source: Source,
        sandbox: Sandbox,
        service_manager: Arc<ServiceManager>,
    ) -> Self {
        Self {
            shared,
            started_with,
            source,
            sandbox,
            service_manager,
            one_at_a_time: Mutex::new(()),
        }
    }

    /// Begins to reload, in a thread for the file system of the configuration.
    pub(super) fn start(self: Arc<Self>) {
        let place = match &self.source {
            Source::File { path, .. } => path.clone(),
            Source::Fixed => PathBuf::new(),
        };
        if let Err(why) = threads::files().of(&place).start(move || self.run()) {
            error!("SIGHUP: the old configuration stays in use: {why}");
        }
    }

    /// Reads the configuration and takes it over for new connections. When anything in it is
    /// broken, the old one stays, whole.
    pub(super) fn run(&self) {
        let _turn = self.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
        self.service_manager.reloading();
        let outcome = self.read_again();
        // A stop that has begun meanwhile is what the service manager is to see.
        if !self.shared.drain.is_cancelled() {
            self.service_manager.reloaded(outcome);
        }
    }

    /// Logs what comes of it; a failure is also given back.
    fn read_again(&self) -> Result<(), String> {
        let Source::File { path, level } = &self.source else {
            let nothing = "there is no configuration file to read again";
            warn!("SIGHUP: {nothing}");
            return Err(nothing.to_owned());
        };
        let config = Config::load(path).map_err(|faults| {
            let faults = faults.to_string();
            for line in faults.lines() {
                error!("{line}");
            }
            error!("SIGHUP: the configuration has faults, the old one stays in use");
            faults
        })?;
        if let Some(why) = self.sandbox.refuses(&config, path) {
            error!("SIGHUP: the old configuration stays in use: {why}");
            return Err(why);
        }
        self.shared.renew(&config).map_err(|error| {
            error!("SIGHUP: the old configuration stays in use: {error}");
            error.to_string()
        })?;
        level.set(config.log.level);
        for key in fixed_keys(&self.started_with, &config) {
            warn!("{key} has changed, which takes effect at the next start only");
        }
        info!("SIGHUP: the configuration is in use for new connections");
        Ok(())
    }
}

/// The keys that differ and cannot be taken over by a running process.
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
