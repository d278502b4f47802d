//! Metrics and health over HTTP. docs/METRICS.md is the reference.
//!
//! - `series`: the series and their values; `process`: those of the process. `page`: their text.
//! - `health`: whether the server makes progress, and whether it is ready.

use std::sync::Arc;
use std::time::SystemTime;

use super::reload::Reload;
use super::watchdog::Parts;
use crate::http::{Request, Response, Site, StatusCode};
use health::Health;

mod health;
mod page;
mod process;
mod series;

/// The pages for a monitoring system.
pub(super) struct Metrics {
    reload: Arc<Reload>,
    health: Health,
    started: SystemTime,
}

impl Metrics {
    /// The pages of a server that starts now.
    pub(super) fn new(reload: &Arc<Reload>, parts: &Arc<Parts>) -> Self {
        let health = Health::new(reload, parts);
        Self { reload: Arc::clone(reload), health, started: SystemTime::now() }
    }

    fn metrics(&self, request: &Request) -> Response {
        let page = series::collect(&self.reload, self.started);
        let (text, content_type) = match request.header("accept") {
            Some(types) if types.contains("application/openmetrics-text") => {
                (page.open_metrics(), OPEN_METRICS)
            }
            _ => (page.prometheus(), PROMETHEUS),
        };
        match text {
            Ok(text) => Response::new(StatusCode::OK, content_type, text),
            Err(error) => Response::text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        }
    }
}

impl Site for Metrics {
    async fn answer(&self, request: Request) -> Response {
        let path = request.path();
        if !["/metrics", "/healthz", "/readyz"].contains(&path) {
            return Response::not_found();
        }
        if !request.only_reads() {
            return Response::method_not_allowed("GET, HEAD");
        }
        match path {
            "/healthz" => report(&self.health.stuck().await),
            "/readyz" => report(&self.health.unready().await),
            _ => self.metrics(&request),
        }
    }
}

/// The reasons why something is not as it should be, or `ok`.
fn report(reasons: &[String]) -> Response {
    match reasons {
        [] => Response::text(StatusCode::OK, "ok"),
        reasons => Response::text(StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n")),
    }
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
