//! Whether the server makes progress, and whether it is ready for clients.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::credentials::CredentialStore;
use crate::mailbox::maildir::PathTemplate;
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
        let reloadable = shared.current();
        let authenticator = &reloadable.env.authenticator;
        let down = |name: String| format!("the credential store {name} is down");
        let passwords = authenticator.stores().iter().filter(|it| it.down().is_some());
        reasons.extend(passwords.map(|it| down(it.label())));
        let tokens = authenticator.token_providers().iter().filter(|it| it.down().is_some());
        reasons.extend(tokens.map(|it| down(it.label())));
        reasons.extend(no_mail(&self.reload.started_with.maildir.path).await);
        reasons
    }
}

/// Why no mail can be read below the constant part of `template`.
async fn no_mail(template: &Path) -> Option<String> {
    let template = PathTemplate::new(template);
    let root = template.root()?.to_owned();
    let (done, is_there) = oneshot::channel();
    let path = root.clone();
    let look = move || {
        // The client may have gone.
        done.send(path.is_dir()).ok();
    };
    let shown = root.display();
    threads::files().of(&root).start(look).ok()?;
    match timeout(PATIENCE, is_there).await {
        Ok(Ok(true)) => None,
        Ok(Ok(false)) => Some(format!("the mail directory {shown} is not there")),
        Ok(Err(_)) | Err(_) => Some(format!("the mail directory {shown} does not answer")),
    }
}

/// How long a part may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
