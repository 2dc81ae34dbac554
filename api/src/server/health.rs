//! Whether the server lives, whether it can be used, and its metrics.

use super::{
    app::App,
    problem::Problem,
    reply::{self, Response},
};
use std::sync::Arc;
use warp::http::{HeaderValue, StatusCode};

/// `GET /healthz`
pub async fn live() -> Result<Response, Problem> {
    Ok(reply::json_text(StatusCode::OK, r#"{"status":"ok"}"#.into()))
}

/// `GET /readyz`. A runner that has started has recovered.
pub async fn ready(app: Arc<App>) -> Result<Response, Problem> {
    if *app.stop.borrow() {
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the server stops"));
    }
    match app.runner.log().is_poisoned() {
        Some(poisoned) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "log_unavailable", poisoned.to_string())),
        None => Ok(reply::json_text(StatusCode::OK, r#"{"status":"ready"}"#.into())),
    }
}

/// `GET /metrics`
pub async fn metrics(app: Arc<App>) -> Result<Response, Problem> {
    let text = app.metrics.render(&app);
    Ok(reply::bytes(StatusCode::OK, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"), text.into()))
}
