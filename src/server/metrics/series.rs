//! The series and their values.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::page::{Labels, Page};
use super::process;
use crate::control::unix_time;
use crate::counters::{self, Counters, Observed, PLACES};
use crate::server::control::stores;
use crate::server::reload::Reload;
use crate::server::tls::{Certificates, InUse};

/// All series, as they are now.
pub(super) fn collect(reload: &Arc<Reload>, started: SystemTime) -> Page {
    let mut page = Page::default();
    add_process(&mut page, started);
    add_state(&mut page, reload);
    add_certificates(&mut page, reload);
    if let Some(counters) = counters::on() {
        add_connections(&mut page, counters);
        add_logins(&mut page, counters);
        add_mail(&mut page, counters);
        add_guard(&mut page, counters);
        add_stores(&mut page, counters);
        let reloads = with_zeros(counters.reloads.all(), ["succeeded", "refused"]);
        page.counters(
            "restante_reloads",
            "Reloads of the configuration, by outcome.",
            reloads.into_iter().map(|(outcome, number)| (label("outcome", outcome), number)),
        );
    }
    page
}

fn add_process(page: &mut Page, started: SystemTime) {
    let version = label("version", env!("CARGO_PKG_VERSION"));
    page.gauges("restante_build_info", "The version of the server; always 1.", [(version, 1.0)]);
    let started = started.duration_since(UNIX_EPOCH).unwrap_or_default();
    page.gauge(
        "process_start_time_seconds",
        "When the server started, in seconds since 1970.",
        started.as_secs_f64(),
    );
    page.seconds(
        "process_cpu_seconds",
        "Processor time of the process.",
        process::processor_time(),
    );
    for (name, help, value) in [
        ("process_resident_memory_bytes", "Memory of the process.", process::resident_memory()),
        ("process_open_fds", "Open files of the process.", process::open_files()),
        ("process_max_fds", "The most files that may be open.", process::most_open_files()),
    ] {
        page.gauges(name, help, value.map(|value| (Vec::new(), float(value))));
    }
}

fn add_state(page: &mut Page, reload: &Arc<Reload>) {
    let shared = &reload.shared;
    let (connections, sessions) = shared.connection_limits.connections().numbers();
    page.gauge("restante_connections", "Open connections.", count(connections));
    page.gauge("restante_sessions", "Connections that have logged in.", count(sessions));
    page.gauge(
        "restante_connections_limit",
        "The most connections that may be open: limits.connections.",
        shared.current().limits.connections.get(),
    );
    let up = stores(shared).into_iter().map(|store| {
        (vec![("store", store.name.into())], f64::from(u8::from(store.down.is_none())))
    });
    page.gauges("restante_store_up", "1 if a credential store answers, 0 if it is down.", up);
    let records = shared.throttle.records().into_iter();
    page.gauges(
        "restante_throttle_records",
        "Failed logins that the throttle remembers, by what it counts them for.",
        records.map(|(table, records)| (label("of", table), count(records))),
    );
    let (running, waiting) = shared.turns.load();
    page.gauge("restante_hashes_running", "Passwords that are being verified.", running);
    page.gauge("restante_hashes_waiting", "Logins that wait for their turn.", count(waiting));
}

fn add_certificates(page: &mut Page, reload: &Arc<Reload>) {
    let in_use = reload.shared.tls.as_deref().map(Certificates::in_use).unwrap_or_default();
    let expiry = in_use.into_iter().map(|InUse { pair, inspection }| {
        let path = pair.certificate.display().to_string();
        (vec![("certificate", path.into())], float(unix_time(inspection.not_after)))
    });
    page.gauges(
        "restante_certificate_expiry_seconds",
        "When a certificate ends, in seconds since 1970.",
        expiry,
    );
}

fn add_connections(page: &mut Page, counters: &Counters) {
    page.counter(
        "restante_connections_accepted",
        "Connections that came, those that were refused included.",
        counters.connections.get(),
    );
    page.counters(
        "restante_connections_refused",
        "Connections that were refused, by the limit that they exceed.",
        with_zeros(
            counters.refused_connections.all(),
            ["connections", "connections-per-address", "rate"],
        )
        .into_iter()
        .map(|(limit, number)| (label("limit", limit), number)),
    );
    page.counter(
        "restante_connections_evicted",
        "Connections that had not logged in and were ended for others.",
        counters.evictions.get(),
    );
    page.counters(
        "restante_sessions_ended",
        "Connections that have ended, by the reason (docs/LOGS.md).",
        counters.ended.all().into_iter().map(|(why, number)| (label("why", why), number)),
    );
}

fn add_logins(page: &mut Page, counters: &Counters) {
    let logins = counters.logins.all().into_iter();
    page.counters(
        "restante_logins",
        "Logins, by outcome and mechanism.",
        logins.map(|((outcome, mechanism), number)| {
            (vec![("outcome", outcome.into()), ("mechanism", mechanism.into())], number)
        }),
    );
    page.histogram(
        "restante_login_duration_seconds",
        "Time of successful logins, the opening of the maildrop included.",
        counters.login_time.get(),
    );
    page.histogram(
        "restante_throttle_delay_seconds",
        "Time that logins had to wait because of earlier failures.",
        counters.throttle_delay.get(),
    );
}

fn add_mail(page: &mut Page, counters: &Counters) {
    let listings: [(&str, Observed); 2] =
        [("index", counters.listing_from_index.get()), ("scan", counters.listing_by_scan.get())];
    page.histograms(
        "restante_listing_duration_seconds",
        "Time to take the listing of a maildrop, from its index or by reading its folders.",
        listings.map(|(source, observed)| (label("source", source), observed)),
    );
    let retrievals = counters.retrieval_time.get();
    page.counter("restante_messages_retrieved", "Messages sent by RETR.", retrievals.count);
    page.histogram(
        "restante_retr_duration_seconds",
        "Time from RETR to the last octet, which a slow client prolongs.",
        retrievals,
    );
    page.counter(
        "restante_retrieved_bytes",
        "Octets of messages sent by RETR.",
        counters.retrieved_octets.get(),
    );
    page.counter(
        "restante_messages_retrieved_again",
        "Messages sent by RETR to a user who is known to have retrieved them before.",
        counters.retrieved_again.get(),
    );
    page.gauge(
        "restante_retrieved_memory_ratio",
        "The share of the memory of retrieved messages that is used.",
        float(counters.retrieved_messages.count()) / float(PLACES),
    );
    page.counter("restante_messages_removed", "Messages removed by QUIT.", counters.removed.get());
    page.counter(
        "restante_messages_not_removed",
        "Marked messages that QUIT could not remove.",
        counters.not_removed.get(),
    );
}

fn add_guard(page: &mut Page, counters: &Counters) {
    let both = OBJECTIONS.iter().flat_map(|of| ACTIONS.map(|action| (*of, action)));
    let objections = with_zeros(counters.objections.all(), both).into_iter();
    page.counters(
        "restante_guard_objections",
        "Logins that would show other unique-ids, by the objection and whether they were refused.",
        objections.map(|((objection, action), number)| {
            (vec![("objection", objection.into()), ("action", action.into())], number)
        }),
    );
    page.counters(
        "restante_unique_ids_changed",
        "Messages with other unique-ids than before, as often as a login would have shown them.",
        with_zeros(counters.changed_unique_ids.all(), ACTIONS)
            .into_iter()
            .map(|(action, number)| (label("action", action), number)),
    );
}

fn add_stores(page: &mut Page, counters: &Counters) {
    let stores = counters.stores.all();
    let label = |store: &str| vec![("store", Cow::Owned(store.to_owned()))];
    page.counters(
        "restante_store_requests_failed",
        "Requests to a credential store that failed or were late.",
        stores.iter().map(|(store, _, failed)| (label(store), *failed)),
    );
    page.histograms(
        "restante_store_request_duration_seconds",
        "Time of requests to a credential store.",
        stores.iter().map(|(store, observed, _)| (label(store), observed.clone())),
    );
}

/// What the guard objects to, and what it does then.
const OBJECTIONS: [&str; 5] =
    ["unclaimed", "changed", "replaced", "foreign-state", "other-separator"];
const ACTIONS: [&str; 2] = ["refused", "warned"];

/// What was counted, and zero for those of `keys` that were not yet: a series that begins with one does
/// not show the first event.
fn with_zeros<K: Ord>(
    counted: Vec<(K, u64)>,
    keys: impl IntoIterator<Item = K>,
) -> BTreeMap<K, u64> {
    let mut all: BTreeMap<_, _> = keys.into_iter().map(|key| (key, 0)).collect();
    all.extend(counted);
    all
}

fn label(name: &'static str, value: &'static str) -> Labels {
    vec![(name, value.into())]
}

/// A number of things that fit into memory.
fn count(number: usize) -> f64 {
    float(u64::try_from(number).unwrap_or(u64::MAX))
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53, and no number here is larger")]
fn float(number: u64) -> f64 {
    number as f64
}
