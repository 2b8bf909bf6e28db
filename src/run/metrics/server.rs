//! The HTTP side of the metrics: `/metrics`, `/healthz` and a page that links to both.
//!
//! It shares a thread with the clock's loop, so everything is bounded: connections, the
//! time and bytes of a request, the life of a connection. A slow or broken client costs
//! one of [`MAX_CONNECTIONS`] places for a few seconds and nothing else.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::core::Status;
use crate::wire::control::Report;

/// How many clients are served at a time; further ones wait in the listener's queue.
pub(super) const MAX_CONNECTIONS: usize = 16;

/// A request's head, and hyper's buffer for writing.
const MAX_HEAD: usize = 16 << 10;

/// How long the system is left alone after it could not accept a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// For the head of its request.
    pub(super) head: Duration,
    /// From the connection to the last byte of the answer.
    pub(super) connection: Duration,
}

impl Limits {
    /// Five seconds to ask and five to take the answer.
    const USUAL: Self = Self { head: Duration::from_secs(5), connection: Duration::from_secs(10) };
}

/// Serves what `reports` returns until the future is dropped; `chrony` adds chrony_exporter's names.
pub async fn serve(listener: TcpListener, reports: impl Fn() -> Report + Clone + Send + Sync + 'static, chrony: bool) {
    serve_within(Limits::USUAL, listener, router(reports, chrony)).await;
}

/// Every connection carries one request.
pub(super) async fn serve_within(limits: Limits, listener: TcpListener, router: Router) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.head).max_buf_size(MAX_HEAD).keep_alive(false);
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone()));
        tokio::spawn(async move {
            // A client that is late, breaks off or talks nonsense concerns nobody.
            let _ = tokio::time::timeout(limits.connection, connection).await;
            drop(place);
        });
    }
}

/// The three pages.
pub(super) fn router(reports: impl Fn() -> Report + Clone + Send + Sync + 'static, chrony: bool) -> Router {
    let (for_metrics, for_health, for_index) = (reports.clone(), reports.clone(), reports);
    Router::new()
        .route("/metrics", get(move || async move { metrics(&for_metrics(), chrony) }))
        .route("/healthz", get(move || async move { health(&for_health()) }))
        .route("/", get(move || async move { Html(index(&for_index())) }))
}

fn metrics(report: &Report, chrony: bool) -> impl IntoResponse + use<> {
    let (code, text) = match super::render(report, chrony) {
        Ok(text) => (StatusCode::OK, text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    };
    (code, [(header::CONTENT_TYPE, super::CONTENT_TYPE)], text)
}

/// 200 only while sources are followed.
fn health(report: &Report) -> (StatusCode, String) {
    let t = &report.tracking;
    if t.status == Status::Synchronised.as_str() {
        return (StatusCode::OK, format!("{}\n", t.status));
    }
    let reason = report.problems.first().map_or_else(|| format!("leap status: {}", t.leap), Clone::clone);
    (StatusCode::SERVICE_UNAVAILABLE, format!("{}: {}\n", t.status, reason.replace(['\r', '\n'], " ")))
}

fn index(report: &Report) -> String {
    let problems: String = report.problems.iter().map(|problem| format!("<li>{}</li>", escape(problem))).collect();
    let bound = report.tracking.clock.error.map_or_else(|| "unknown".to_owned(), |error| format!("at most {error:.9} s"));
    format!(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Paraclock</title></head><body>\
         <h1>Paraclock {}</h1><p>Status: {}. Error of the clock: {bound}. Source: {}.</p><ul>{problems}</ul>\
         <p><a href=\"/metrics\">metrics</a> <a href=\"/healthz\">healthz</a></p></body></html>\n",
        escape(&report.version),
        escape(&report.tracking.status),
        escape(if report.tracking.reference_name.is_empty() { "none" } else { &report.tracking.reference_name }),
    )
}

/// Text that HTML does not take for markup.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
