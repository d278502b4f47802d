//! Whether the server makes progress, and whether it is ready for clients.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::server::control::stores;
use crate::server::reload::Reload;
use crate::server::watchdog::Parts;
use crate::threads;

/// Answers questions about the health of the server.
pub(super) struct Health {
    reload: Arc<Reload>,
    parts: Arc<Parts>,
    /// One question at a time, since it takes a thread of the runtime.
    turn: Mutex<()>,
}

impl Health {
    pub(super) fn new(reload: &Arc<Reload>, parts: &Arc<Parts>) -> Self {
        let (reload, parts) = (Arc::clone(reload), Arc::clone(parts));
        Self { reload, parts, turn: Mutex::default() }
    }

    /// What makes no progress: the worker threads and the accept loops, as the watchdog asks them.
    pub(super) async fn stuck(&self) -> Vec<String> {
        let _turn = self.turn.lock().await;
        let mut round = self.parts.ask();
        let missing = spawn_blocking(move || match round.wait(PATIENCE) {
            true => String::new(),
            false => round.missing(),
        });
        match missing.await {
            Ok(none) if none.is_empty() => Vec::new(),
            Ok(parts) => vec![format!("no progress: {parts}")],
            Err(error) => vec![format!("the server cannot ask its parts: {error}")],
        }
    }

    /// Why clients cannot be served now, or not all of them.
    pub(super) async fn unready(&self) -> Vec<String> {
        let shared = &self.reload.shared;
        let mut reasons = Vec::new();
        if shared.drain.is_cancelled() {
            reasons.push("the server stops".to_owned());
        }
        reasons.extend(self.stuck().await);
        let down = stores(shared).into_iter().filter(|store| store.down.is_some());
        reasons.extend(down.map(|store| format!("the credential store {} is down", store.name)));
        let reloadable = shared.current();
        if let Some(root) = reloadable.env.mailbox.root() {
            reasons.extend(no_mail(root).await);
        }
        reasons
    }
}

/// Why no mail can be read below `root`.
async fn no_mail(root: &Path) -> Option<String> {
    let (path, shown) = (root.to_owned(), root.display());
    let pool = threads::files().of(root);
    let is_there = pool.run(move || path.is_dir());
    match timeout(PATIENCE, is_there).await {
        Ok(Ok(true)) => None,
        Ok(Ok(false)) => Some(format!("the mail directory {shown} is not there")),
        Ok(Err(_)) | Err(_) => Some(format!("the mail directory {shown} does not answer")),
    }
}

/// How long a part may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
