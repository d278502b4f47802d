//! Picks up renewed certificates without a signal.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{self, Instant, MissedTickBehavior};
use tracing::{error, info};

use super::Certificates;
use crate::config;
use crate::threads;

/// Looks at the files of `certificates` every few seconds, for as long as it is polled.
///
/// Reading the time stamps of a few files is cheap, and works on every file system and through
/// symbolic links; change notifications do not.
pub(in crate::server) async fn watch(certificates: Arc<Certificates>) {
    let mut ticks = time::interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut warned = Instant::now();
    let threads = threads::files().of(&certificates.path());
    loop {
        ticks.tick().await;
        if warned.elapsed() >= DAY {
            warned = Instant::now();
            certificates.warn();
        }
        let certificates = Arc::clone(&certificates);
        match threads.run(move || certificates.poll()).await {
            Ok(None) => {}
            Ok(Some(Ok(()))) => info!("certificates have changed and are in use"),
            Ok(Some(Err(error))) => {
                error!("certificates have changed but the old ones stay in use: {error}");
            }
            Err(error) => error!("certificates could not be looked at: {error}"),
        }
    }
}

/// The state of all files, to notice a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp(Vec<Option<FileStamp>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct FileStamp {
    device: u64,
    inode: u64,
    octets: u64,
    modified: (i64, i64),
    /// Changes even when a file is replaced by one with the old modification time.
    changed: (i64, i64),
}

impl Stamp {
    /// The state of all files of a `[tls]` section now; a missing file is a state as well.
    pub(super) fn of(section: &config::Tls) -> Self {
        Self(
            super::pairs(section)
                .flat_map(|pair| [&pair.certificate, &pair.private_key])
                .chain(&section.client_ca)
                .map(|path| FileStamp::of(path))
                .collect(),
        )
    }
}

impl FileStamp {
    fn of(path: &Path) -> Option<Self> {
        let data = fs::metadata(path).ok()?;
        Some(Self {
            device: data.dev(),
            inode: data.ino(),
            octets: data.len(),
            modified: (data.mtime(), data.mtime_nsec()),
            changed: (data.ctime(), data.ctime_nsec()),
        })
    }
}

const PERIOD: Duration = Duration::from_secs(5);

/// How often warnings are repeated: the operator is to notice a failing renewal before the clients do.
const DAY: Duration = Duration::from_secs(86_400);
