//! Picks up renewed certificates without a signal.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{self, Instant, MissedTickBehavior};
use tracing::{error, info};

use super::Certificates;
use crate::config;
use crate::threads::{self, FileStamp};

/// Looks at the files of `certificates` every few seconds, for as long as it is polled.
///
/// Reading the time stamps of a few files is cheap. It works on every file system and through
/// symbolic links, while change notifications do not.
pub(in crate::server) async fn watch(certificates: Arc<Certificates>) {
    let mut ticks = time::interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut warned = Instant::now();
    let threads = threads::files().of(&certificates.path());
    loop {
        ticks.tick().await;
        let is_due = warned.elapsed() >= DAY;
        if is_due {
            warned = Instant::now();
        }
        let certificates = Arc::clone(&certificates);
        let look = move || {
            if is_due {
                certificates.warn();
            }
            certificates.poll()
        };
        match threads.run(look).await {
            Ok(None) => {}
            Ok(Some(Ok(()))) => info!("certificates have changed and are in use"),
            Ok(Some(Err(error))) => {
                error!("certificates have changed but the old ones stay in use: {error}");
            }
            Err(error) => error!("certificates could not be looked at: {error}"),
        }
    }
}

/// The state of all files of a `[tls]` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp(Vec<Option<FileStamp>>);

impl Stamp {
    /// The present state. A missing file is a state, too.
    pub(super) fn of(section: &config::Tls) -> Self {
        Self(
            super::pairs(section)
                .flat_map(|pair| [&pair.certificate, &pair.private_key])
                .chain(&section.client_ca)
                .map(|path| FileStamp::at(path).ok())
                .collect(),
        )
    }
}

const PERIOD: Duration = Duration::from_secs(5);

/// How often warnings are repeated, so that the operator notices a failed renewal before the clients
/// do.
const DAY: Duration = Duration::from_secs(86_400);
