//! Webhooks: what they are owed, what has failed, and having it delivered once more.

use super::{
    app::App,
    jobs::part,
    problem::Problem,
    reply::{self, Response},
    request::Request,
    submit::command_refused,
};
use moonlog_runner::webhook::RedeliverWhat;
use serde_json::json;
use std::sync::Arc;
use warp::http::StatusCode;

/// `GET /v1/webhooks`
pub async fn list(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let (items, next) = part(&request, app.runner.webhooks())?;
    Ok(reply::page(&items, next))
}

/// `GET /v1/webhooks/{name}`
pub async fn show(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let name = request.text(0);
    match app.runner.webhooks().into_iter().find(|webhook| webhook.name == name) {
        Some(webhook) => Ok(reply::json(StatusCode::OK, &webhook)),
        None => Err(Problem::not_found("no_such_webhook", format!("there is no webhook `{name}`"))),
    }
}

/// `POST /v1/webhooks/{name}/redeliver`
pub async fn redeliver(app: Arc<App>, mut request: Request) -> Result<Response, Problem> {
    let mut fields = request.fields(&app.options).await?;
    let event = fields.whole("event", 1..=i64::MAX).and_then(|event| u64::try_from(event).ok());
    let failed = fields.boolean("failed").unwrap_or(false);
    if event.is_some() == failed && !fields.failed("event") && !fields.failed("failed") {
        fields.error("event", "is wanted, or `failed`: true, and not both");
    }
    fields.finish()?;
    let what = event.map_or(RedeliverWhat::Failed, RedeliverWhat::Event);
    let redelivering = app.runner.redeliver(request.text(0), what).await;
    let redelivering = redelivering.map_err(|error| command_refused(error, &request.text(0)))?;
    Ok(reply::json(StatusCode::ACCEPTED, &json!({ "redelivering": redelivering })))
}
