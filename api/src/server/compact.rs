//! Compaction on request.

use super::{
    app::App,
    problem::Problem,
    reply::{self, Response},
    request::Request,
    submit::command_refused,
};
use crate::retention::{Compact, CompactError};
use std::sync::Arc;
use warp::http::StatusCode;

/// `POST /v1/compact`
pub async fn run(app: Arc<App>, mut request: Request) -> Result<Response, Problem> {
    let mut fields = request.fields(&app.options).await?;
    let mut limits = app.compactor.configured();
    let mut limit = |name: &str, limit: &mut Option<u64>| {
        if let Some(given) = fields.whole::<i64>(name, 0..=i64::MAX) {
            *limit = u64::try_from(given).ok();
        }
    };
    limit("max_age_ms", &mut limits.max_age_ms);
    limit("max_ended_jobs", &mut limits.max_ended_jobs);
    limit("max_bytes", &mut limits.max_bytes);
    let dry_run = fields.boolean("dry_run").unwrap_or(false);
    let rewrite = fields.boolean("rewrite").unwrap_or(true);
    fields.finish()?;
    // A task of its own: what was begun is done, whether the client waits for it or not.
    let compactor = app.compactor.clone();
    let compacted = tokio::spawn(async move { compactor.run(Compact { limits, dry_run, rewrite }).await });
    match compacted.await.map_err(|error| Problem::internal(&error))? {
        Ok(compacted) => Ok(reply::json(StatusCode::OK, &compacted)),
        Err(error) => Err(refused(error)),
    }
}

fn refused(error: CompactError) -> Problem {
    let text = error.to_string();
    match error {
        CompactError::Busy => Problem::new(StatusCode::CONFLICT, "compacting", text).retry_after_ms(5_000),
        CompactError::Command(error) => command_refused(error, &"of these"),
        CompactError::Export { .. } => Problem::new(StatusCode::CONFLICT, "export_failed", text),
        CompactError::Stopped => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", text),
        CompactError::Log(error) if error.is_disk_full() => {
            Problem::new(StatusCode::INSUFFICIENT_STORAGE, "disk_full", text)
        }
        CompactError::Log(error) => error.into(),
    }
}
