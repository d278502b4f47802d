//! SIGHUP: what can be taken over is, and what cannot is named.

use std::sync::{Arc, Mutex, PoisonError};

use sd_notify::NotifyState;
use tracing::{error, info, warn};

use super::supervise::tell;
use super::{House, Source};
use crate::auth::Store;
use crate::config::Config;
use crate::mailbox::maildir::MaildirStore;
use crate::telemetry::LevelHandle;

/// What a reload needs to know.
pub(super) struct Reload {
    house: Arc<House<MaildirStore, Store>>,
    /// The configuration at start: what it says of sockets still holds.
    started_with: Config,
    source: Source,
    one_at_a_time: Mutex<()>,
}

impl Reload {
    pub(super) fn new(
        house: Arc<House<MaildirStore, Store>>,
        started_with: Config,
        source: Source,
    ) -> Self {
        Self { house, started_with, source, one_at_a_time: Mutex::new(()) }
    }

    /// Reads the configuration and takes it over for new connections. When anything in it is
    /// broken, the old one stays, whole.
    pub(super) fn run(&self) {
        let _turn = self.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
        let Source::File { path, level } = &self.source else {
            warn!("SIGHUP: there is no configuration file to read again");
            return;
        };
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(error) => warn!("the service manager was not told: {error}"),
        }
        match Config::load(path) {
            Ok(config) => self.take_over(&config, level),
            Err(faults) => {
                for line in faults.to_string().lines() {
                    error!("{line}");
                }
                error!("SIGHUP: the configuration has faults, the old one stays in use");
            }
        }
        if !self.house.drain.is_cancelled() {
            tell(&[NotifyState::Ready]);
        }
    }

    fn take_over(&self, config: &Config, level: &LevelHandle) {
        if let Err(error) = self.house.renew(config) {
            error!("SIGHUP: the old configuration stays in use: {error}");
            return;
        }
        level.set(config.log.level);
        for key in fixed_keys(&self.started_with, config) {
            warn!("{key} has changed, which takes effect at the next start only");
        }
        info!("SIGHUP: the configuration is in use for new connections");
    }
}

/// The keys that differ and cannot be taken over by a running process.
fn fixed_keys(old: &Config, new: &Config) -> Vec<&'static str> {
    [
        ("listen", old.listen != new.listen),
        ("run-as", old.run_as != new.run_as),
        ("log.format", old.log.format != new.log.format),
    ]
    .into_iter()
    .filter_map(|(key, differs)| differs.then_some(key))
    .collect()
}
