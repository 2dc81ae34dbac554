//! The log's integrity, looked at while the server runs.

use super::{
    app::App,
    blocking::blocking,
    problem::Problem,
    reply::{self, Response},
};
use std::sync::Arc;
use warp::http::StatusCode;

/// `GET /v1/verify`
pub async fn run(app: Arc<App>) -> Result<Response, Problem> {
    // It reads the whole log: two at once would only be slower.
    let Ok(_turn) = app.verifying.try_acquire() else {
        let text = "a verification is under way; try again when it is done";
        return Err(Problem::new(StatusCode::CONFLICT, "verifying", text).retry_after_ms(5_000));
    };
    let log = app.runner.log().clone();
    let report = blocking(move || log.verify()).await??;
    let body = serde_json::json!({
        "ok": report.is_sound(),
        "head": report.head,
        "events": report.events,
        "removed": report.removed,
        "frames": report.frames,
        "streams": report.streams,
        "blobs": report.blobs,
        "chain": report.chain,
        "damage": report.damage,
    });
    Ok(reply::json(StatusCode::OK, &body))
}
