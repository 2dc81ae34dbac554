//! What can be asked of a job: cancel, delete, signal, retry, fork.

use super::{
    app::App,
    jobs::located,
    problem::Problem,
    reply::{self, Response},
    request::Request,
    submit::{self, command_refused},
    text_limits::Text,
};
use moonlog_core::{id::JobId, json::Json};
use moonlog_runner::{Fork, Retry};
use std::sync::Arc;
use warp::http::StatusCode;

/// `POST /v1/jobs/{id}/cancel`
pub async fn cancel(app: Arc<App>, mut request: Request) -> Result<Response, Problem> {
    let id: JobId = request.segment(0, "no_such_job")?;
    let mut fields = request.fields(&app.options).await?;
    let reason = fields.limited("reason", Text::Reason);
    fields.finish()?;
    app.runner.cancel(&id, reason).await.map_err(|error| command_refused(error, &id))?;
    Ok(reply::json(StatusCode::ACCEPTED, &app.view(&id)?))
}

/// `DELETE /v1/jobs/{id}`
pub async fn delete(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let id: JobId = request.segment(0, "no_such_job")?;
    app.runner.delete(&id).await.map_err(|error| command_refused(error, &id))?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// `POST /v1/jobs/{id}/signals/{name}`
pub async fn signal(app: Arc<App>, mut request: Request) -> Result<Response, Problem> {
    let id: JobId = request.segment(0, "no_such_job")?;
    let mut fields = request.fields(&app.options).await?;
    let payload = fields.json("payload").unwrap_or_else(Json::null);
    let header = request.header("idempotency-key").map(str::to_owned);
    let key = submit::key(&mut fields, header.as_deref());
    fields.finish()?;
    let name = request.text(1);
    app.runner.signal(&id, name, payload, key).await.map_err(|error| command_refused(error, &id))?;
    Ok(reply::json(StatusCode::ACCEPTED, &app.view(&id)?))
}

/// `POST /v1/jobs/{id}/retry`
pub async fn retry(app: Arc<App>, mut request: Request) -> Result<Response, Problem> {
    let id: JobId = request.segment(0, "no_such_job")?;
    let mut fields = request.fields(&app.options).await?;
    let retry = Retry { script: submit::other_script(&mut fields), args: fields.json("args"), ..Retry::default() };
    fields.finish()?;
    let retried = app.runner.retry(&id, retry).await.map_err(|error| command_refused(error, &id))?;
    Ok(located(reply::json(StatusCode::CREATED, &app.view(&retried)?), &retried))
}

/// `POST /v1/jobs/{id}/fork`
pub async fn fork(app: Arc<App>, mut request: Request) -> Result<Response, Problem> {
    let id: JobId = request.segment(0, "no_such_job")?;
    let mut fields = request.fields(&app.options).await?;
    let at = fields.whole("at", 1..=i64::MAX).and_then(|at| u64::try_from(at).ok());
    let at = fields.required("at", at);
    let fork = Fork { at, script: submit::other_script(&mut fields), args: fields.json("args") };
    fields.finish()?;
    let forked = app.runner.fork(&id, fork).await.map_err(|error| command_refused(error, &id))?;
    Ok(located(reply::json(StatusCode::CREATED, &app.view(&forked)?), &forked))
}
