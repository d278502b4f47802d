//! What the service manager is told: readiness, reloads, the stop, and the line that
//! `systemctl status` shows. Without a service manager, nothing is sent.

use std::env;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sd_notify::NotifyState;
use tracing::warn;

/// What the service manager is told, and what it has been told last.
#[derive(Debug, Default)]
pub(super) struct ServiceManager(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    connections: u32,
    /// Why the last reload failed, if it did.
    failure: Option<String>,
}

impl ServiceManager {
    /// How often [`Self::serving`] is worth calling.
    pub(super) const EVERY: Duration = Duration::from_secs(10);

    /// Whether there is one.
    pub(super) fn is_there() -> bool {
        env::var_os("NOTIFY_SOCKET").is_some()
    }

    /// The start is over.
    pub(super) fn ready(&self) {
        let status = self.with(|told| told.status());
        tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
    }

    /// So many connections are open. Sent when that has changed.
    pub(super) fn serving(&self, connections: u32) {
        let status = self.with(|told| {
            let has_changed = told.connections != connections;
            told.connections = connections;
            has_changed.then(|| told.status())
        });
        if let Some(status) = status {
            tell(&[NotifyState::Status(&status)]);
        }
    }

    /// A reload begins. With `Type=notify-reload` the time has to come along.
    pub(super) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(error) => warn!("the service manager was not told: {error}"),
        }
    }

    /// A reload is over; when it failed, `outcome` says why.
    pub(super) fn reloaded(&self, outcome: Result<(), String>) {
        let status = self.with(|told| {
            told.failure = outcome.err();
            told.status()
        });
        tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
    }

    /// The stop begins, and sessions may go on for `grace`. The manager is asked to wait that long,
    /// and for removals after it, whatever `TimeoutStopSec=` says.
    pub(super) fn stopping(&self, grace: Duration) {
        let patience = (grace + REMOVALS).as_micros().try_into().unwrap_or(u32::MAX);
        tell(&[
            NotifyState::Stopping,
            NotifyState::ExtendTimeoutUsec(patience),
            NotifyState::Status("waiting for sessions to end"),
        ]);
    }

    /// What the stop waits for now.
    pub(super) fn waiting_for_removals(&self) {
        tell(&[NotifyState::Status("waiting for removals to finish")]);
    }

    /// All that serves makes progress.
    pub(super) fn alive(&self) {
        tell(&[NotifyState::Watchdog]);
    }

    fn with<T>(&self, change: impl FnOnce(&mut Told) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Told {
    fn status(&self) -> String {
        let mut status = match self.connections {
            0 => "serving".to_owned(),
            1 => "serving, 1 connection".to_owned(),
            several => format!("serving, {several} connections"),
        };
        if let Some(failure) = &self.failure {
            status.push_str("; the last reload failed: ");
            status.extend(one_line(failure));
        }
        status
    }
}

/// The first line, and so much of it that the whole message is taken (systemd: 4096 octets).
fn one_line(text: &str) -> impl Iterator<Item = char> {
    let line = text.lines().next().unwrap_or_default();
    line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300)
}

/// What is left for removals after the grace time by the unit that comes with the server.
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
        assert_eq!(service_manager.with(|told| told.status()), "serving");
        service_manager.serving(2);
        service_manager.reloaded(Err(format!("file:1:2: a\tkey\nREADY=0\n{}", "x".repeat(9_000))));
        assert_eq!(
            service_manager.with(|told| told.status()),
            "serving, 2 connections; the last reload failed: file:1:2: a key"
        );
        service_manager.reloaded(Err("x".repeat(9_000)));
        assert!(service_manager.with(|told| told.status()).len() < 400);
        service_manager.reloaded(Ok(()));
        service_manager.serving(1);
        assert_eq!(service_manager.with(|told| told.status()), "serving, 1 connection");
    }
}
