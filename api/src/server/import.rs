//! Jobs of other logs come in.

use super::{
    app::App,
    blocking::blocking,
    jobs::located,
    problem::Problem,
    reply::{self, Response},
    request::Request,
    submit::command_refused,
};
use crate::bundle::Bundle;
use std::sync::Arc;
use warp::http::StatusCode;

/// `POST /v1/import`
pub async fn run(app: Arc<App>, mut request: Request) -> Result<Response, Problem> {
    let limit = app.options.limits.import_max_bytes;
    let body = request.bytes("application/x-ndjson", limit, &app.options).await?;
    let bundle = blocking(move || Bundle::read(&body[..]))
        .await?
        .map_err(|error| Problem::bad_request("invalid_bundle", format!("the bundle cannot be read: {error}")))?;
    let named = bundle.header.job.clone();
    let id = app.runner.import(&bundle.script, bundle.events).await.map_err(|error| command_refused(error, &named))?;
    Ok(located(reply::json(StatusCode::CREATED, &app.view(&id)?), &id))
}
