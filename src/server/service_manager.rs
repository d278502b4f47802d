//! Notifications of the service manager: readiness, reloads, the stop, and the line that
//! `systemctl status` shows. Without a service manager, nothing is sent.

use std::env;
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sd_notify::NotifyState;
use tracing::warn;

/// Notifies the service manager, and remembers the last status.
#[derive(Debug, Default)]
pub(super) struct ServiceManager(Mutex<Status>);

#[derive(Debug, Default)]
struct Status {
    connections: u32,
    /// Why the last reload failed, if it did.
    failure: Option<String>,
}

impl ServiceManager {
    /// How often to call [`Self::serving`].
    pub(super) const EVERY: Duration = Duration::from_secs(10);

    /// Whether there is one.
    pub(super) fn is_there() -> bool {
        env::var_os("NOTIFY_SOCKET").is_some()
    }

    /// The start is complete.
    pub(super) fn ready(&self) {
        let status = self.with(|status| status.line());
        tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
    }

    /// The number of open connections, sent if it has changed.
    pub(super) fn serving(&self, connections: u32) {
        let status = self.with(|status| {
            let has_changed = status.connections != connections;
            status.connections = connections;
            has_changed.then(|| status.line())
        });
        if let Some(status) = status {
            tell(&[NotifyState::Status(&status)]);
        }
    }

    /// A reload begins. `Type=notify-reload` requires the time.
    pub(super) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(error) => warn!("the service manager was not told: {error}"),
        }
    }

    /// A reload has ended.
    pub(super) fn reloaded(&self, outcome: Result<(), impl Display>) {
        let status = self.with(|status| {
            status.failure = outcome.err().map(|error| error.to_string());
            status.line()
        });
        tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
    }

    /// The stop begins, and sessions may continue for `grace`. Asks the manager to wait for that time
    /// and for removals after it, whatever `TimeoutStopSec=` is.
    pub(super) fn stopping(&self, grace: Duration) {
        let patience = (grace + REMOVALS).as_micros().try_into().unwrap_or(u32::MAX);
        tell(&[
            NotifyState::Stopping,
            NotifyState::ExtendTimeoutUsec(patience),
            NotifyState::Status("waiting for sessions to end"),
        ]);
    }

    /// The stop waits for removals.
    pub(super) fn waiting_for_removals(&self) {
        tell(&[NotifyState::Status("waiting for removals to finish")]);
    }

    /// All parts of the server make progress.
    pub(super) fn alive(&self) {
        tell(&[NotifyState::Watchdog]);
    }

    fn with<T>(&self, change: impl FnOnce(&mut Status) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Status {
    fn line(&self) -> String {
        let mut line = match self.connections {
            0 => "serving".to_owned(),
            1 => "serving, 1 connection".to_owned(),
            several => format!("serving, {several} connections"),
        };
        if let Some(failure) = &self.failure {
            line.push_str("; the last reload failed: ");
            line.extend(one_line(failure));
        }
        line
    }
}

/// The first line, shortened so that the whole message is accepted (systemd: 4096 octets).
fn one_line(text: &str) -> impl Iterator<Item = char> {
    let line = text.lines().next().unwrap_or_default();
    line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300)
}

/// The time for removals after the grace time, as in the unit that comes with the server.
const REMOVALS: Duration = Duration::from_secs(90);

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!("the service manager was not told: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_one_line_whatever_the_failure() {
        let service_manager = ServiceManager::default();
        assert_eq!(service_manager.with(|status| status.line()), "serving");
        service_manager.serving(2);
        service_manager.reloaded(Err(format!("file:1:2: a\tkey\nREADY=0\n{}", "x".repeat(9_000))));
        assert_eq!(
            service_manager.with(|status| status.line()),
            "serving, 2 connections; the last reload failed: file:1:2: a key"
        );
        service_manager.reloaded(Err("x".repeat(9_000)));
        assert!(service_manager.with(|status| status.line()).len() < 400);
        service_manager.reloaded(Ok::<_, String>(()));
        service_manager.serving(1);
        assert_eq!(service_manager.with(|status| status.line()), "serving, 1 connection");
    }
}
