//! Prometheus metrics: what requests took, and how the log, the queues and the feeds stand when they are asked for.

use super::app::App;
use metrics::{counter, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use warp::http::StatusCode;

const BUCKETS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 300.0];
/// How often what was measured is put into its buckets; until then each measurement is kept.
const UPKEEP: Duration = Duration::from_secs(5);

/// The recorder is the process's: every server in it measures into the same one.
static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// A server's metrics.
pub struct Metrics {
    connections: AtomicU64,
    upkeep: Option<tokio::task::JoinHandle<()>>,
}

/// Makes the recorder on a thread of its own, while a server starts: its clock is compared with the system's first, which takes
/// some milliseconds of a processor.
pub fn prepare() {
    std::thread::spawn(recorder);
}

fn recorder() -> &'static Option<PrometheusHandle> {
    RECORDER.get_or_init(|| {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), BUCKETS)
            .inspect_err(|error| tracing::warn!(%error, "metrics have no buckets"))
            .unwrap_or_else(|_| PrometheusBuilder::new());
        builder.install_recorder().inspect_err(|error| tracing::warn!(%error, "there are no metrics")).ok()
    })
}

impl Metrics {
    pub fn new() -> Self {
        let upkeep = recorder().clone().map(|handle| {
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(UPKEEP).await;
                    handle.run_upkeep();
                }
            })
        });
        Self { connections: AtomicU64::new(0), upkeep }
    }

    pub fn connected(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub fn disconnected(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// A request was answered; `route` is empty where its path is none.
    pub fn answered(&self, method: &'static str, route: &'static str, status: StatusCode, took: Duration) {
        let class = match status.as_u16() {
            100..=199 => "1xx",
            200..=299 => "2xx",
            300..=399 => "3xx",
            400..=499 => "4xx",
            _ => "5xx",
        };
        counter!("moonlog_http_requests_total", "method" => method, "route" => route, "status" => class).increment(1);
        histogram!("moonlog_http_request_seconds", "route" => route).record(took);
    }

    /// Everything as text.
    pub fn render(&self, app: &App) -> String {
        let Some(Some(handle)) = RECORDER.get() else { return String::new() };
        let log = app.runner.log();
        gauge!("moonlog_log_head").set(log.head() as f64);
        gauge!("moonlog_log_writable").set(if log.is_poisoned().is_some() { 0.0 } else { 1.0 });
        if let Ok(bytes) = log.storage().bytes_on_disk() {
            gauge!("moonlog_log_bytes").set(bytes as f64);
        }
        for queue in app.runner.queues() {
            gauge!("moonlog_queue_depth", "queue" => queue.name.clone()).set(queue.depth as f64);
            gauge!("moonlog_queue_running", "queue" => queue.name.clone()).set(queue.running as f64);
            gauge!("moonlog_queue_paused", "queue" => queue.name).set(f64::from(u8::from(queue.paused)));
        }
        for webhook in app.runner.webhooks() {
            gauge!("moonlog_webhook_pending", "webhook" => webhook.name.clone()).set(webhook.pending as f64);
            counter!("moonlog_webhook_delivered_total", "webhook" => webhook.name.clone()).absolute(webhook.delivered);
            counter!("moonlog_webhook_failed_total", "webhook" => webhook.name).absolute(webhook.failed);
        }
        gauge!("moonlog_http_connections").set(self.connections.load(Ordering::Relaxed) as f64);
        gauge!("moonlog_feeds_open").set(app.feeds.stats().open() as f64);
        counter!("moonlog_feed_events_total").absolute(app.feeds.stats().events());
        handle.render()
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        if let Some(upkeep) = &self.upkeep {
            upkeep.abort();
        }
    }
}
