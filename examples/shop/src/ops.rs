//! What an operator asks for: JSON logs, Prometheus metrics, health probes, an end on TERM.

use std::time::Duration;

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;
use verk::{Health, Verk};

/// Writes the log to stdout, one JSON object a line. `RUST_LOG` chooses the lines.
pub fn init_log() {
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into()))
        .log_internal_errors(false) // a log whose reader died must not stop the program
        .init();
}

/// Installs the recorder of metrics. Call it before verk is built.
pub fn init_metrics() -> anyhow::Result<PrometheusHandle> {
    let seconds = Matcher::Suffix("_seconds".to_owned());
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(seconds, &[0.001, 0.01, 0.1, 1.0, 10.0, 60.0])?
        .install_recorder()?;
    let upkeep = handle.clone();
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_secs(5));
        loop {
            ticks.tick().await;
            upkeep.run_upkeep();
        }
    });
    Ok(handle)
}

/// `/live`, `/ready` and `/metrics`. Records the metrics of `verk` from now on.
pub fn router(verk: &Verk, metrics: PrometheusHandle) -> Router {
    tokio::spawn(verk.record_metrics(Duration::from_secs(5)));
    Router::new()
        .route("/live", get(live))
        .route("/ready", get(ready))
        .with_state(verk.clone())
        .route("/metrics", get(async move || metrics.render()))
}

async fn live(State(verk): State<Verk>) -> (StatusCode, Json<Health>) {
    let health = verk.health();
    (status(health.live), Json(health))
}

async fn ready(State(verk): State<Verk>) -> (StatusCode, Json<Health>) {
    let health = verk.health();
    (status(health.ready), Json(health))
}

fn status(well: bool) -> StatusCode {
    if well {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

pub async fn listen(address: &str) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await?;
    tracing::info!(address = %listener.local_addr()?, "listening");
    Ok(listener)
}

/// Waits for TERM or Ctrl-C.
pub async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut term = signal(SignalKind::terminate()).expect("the system allows signal handlers");
    tokio::select! {
        _ = term.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
