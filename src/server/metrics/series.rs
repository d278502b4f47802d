//! The series and their values.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::page::{Labels, Page};
use crate::control::unix_time;
use crate::server::control::stores;
use crate::server::reload::Reload;
use crate::server::tls::{Certificates, InUse};

/// All series, as they are now.
pub(super) fn collect(reload: &Arc<Reload>, started: SystemTime) -> Page {
    let mut page = Page::default();
    let shared = &reload.shared;
    let version = label("version", env!("CARGO_PKG_VERSION"));
    page.gauges("restante_build_info", "The version of the server; always 1.", [(version, 1.0)]);
    let started = started.duration_since(UNIX_EPOCH).unwrap_or_default();
    page.gauge(
        "restante_start_time_seconds",
        "When the server started, in seconds since 1970.",
        started.as_secs_f64(),
    );
    let all = shared.connection_limits.connections().all();
    let sessions = all.iter().filter(|handle| handle.is_logged_in()).count();
    page.gauge("restante_connections", "Open connections.", count(all.len()));
    page.gauge("restante_sessions", "Connections that have logged in.", count(sessions));
    let logins = shared.connection_limits.connections().logins().all();
    page.counter("restante_logins", "Successful logins.", logins);
    page.gauge(
        "restante_connections_limit",
        "The most connections that may be open: limits.connections.",
        shared.current().limits.connections.get(),
    );
    let up = stores(shared).into_iter().map(|store| {
        (vec![("store", store.name.into())], f64::from(u8::from(store.down.is_none())))
    });
    page.gauges("restante_store_up", "1 if a credential store answers, 0 if it is down.", up);
    let in_use = shared.tls.as_deref().map(Certificates::in_use).unwrap_or_default();
    let expiry = in_use.into_iter().map(|InUse { pair, inspection }| {
        let path = pair.certificate.display().to_string();
        (vec![("certificate", path.into())], seconds(unix_time(inspection.not_after)))
    });
    page.gauges(
        "restante_certificate_expiry_seconds",
        "When a certificate ends, in seconds since 1970.",
        expiry,
    );
    page
}

fn label(name: &'static str, value: &'static str) -> Labels {
    vec![(name, value.into())]
}

/// A number of things that fit into memory, which is exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "there are never so many")]
fn count(number: usize) -> f64 {
    number as f64
}

#[expect(clippy::cast_precision_loss, reason = "exact for millions of years")]
fn seconds(number: u64) -> f64 {
    number as f64
}
