//! Certificates that are renewed are taken over without being asked to.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{self, Instant, MissedTickBehavior};
use tracing::{error, info};

use super::Front;
use crate::config;
use crate::threads;

/// Looks at the files of `front` every few seconds, for as long as it is polled.
///
/// Reading the time stamps of a handful of files costs nothing, works on every file system and
/// through symbolic links, which notifications of changes do not.
pub(in crate::server) async fn watch(front: Arc<Front>) {
    let mut ticks = time::interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut warned = Instant::now();
    let threads = threads::files().of(&front.place());
    loop {
        ticks.tick().await;
        if warned.elapsed() >= DAY {
            warned = Instant::now();
            front.warn();
        }
        let front = Arc::clone(&front);
        match threads.run(move || front.look()).await {
            Ok(None) => {}
            Ok(Some(Ok(()))) => info!("certificates have changed and are in use"),
            Ok(Some(Err(error))) => {
                error!("certificates have changed but the old ones stay in use: {error}");
            }
            Err(error) => error!("certificates could not be looked at: {error}"),
        }
    }
}

/// What tells one state of the files from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp(Vec<Option<FileStamp>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct FileStamp {
    device: u64,
    inode: u64,
    octets: u64,
    modified: (i64, i64),
    /// Moves on when a file is replaced by one with the old time stamp, too.
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

/// A renewal that fails for weeks is not to be noticed by the clients first.
const DAY: Duration = Duration::from_secs(86_400);
