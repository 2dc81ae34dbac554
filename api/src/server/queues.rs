//! Queues: what waits, what runs, and whether more is started.

use super::{
    app::App,
    jobs::part,
    problem::Problem,
    reply::{self, Response},
    request::Request,
    submit::command_refused,
};
use std::sync::Arc;
use warp::http::StatusCode;

/// `GET /v1/queues`
pub async fn list(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let (items, next) = part(&request, app.runner.queues())?;
    Ok(reply::page(&items, next))
}

/// `POST /v1/queues/{name}/pause`
pub async fn pause(app: Arc<App>, mut request: Request) -> Result<Response, Problem> {
    request.fields(&app.options).await?.finish()?;
    let name = request.text(0);
    app.runner.pause_queue(name).await.map_err(|error| command_refused(error, &name))?;
    show(&app, name)
}

/// `POST /v1/queues/{name}/resume`
pub async fn resume(app: Arc<App>, mut request: Request) -> Result<Response, Problem> {
    request.fields(&app.options).await?.finish()?;
    let name = request.text(0);
    app.runner.resume_queue(name).await.map_err(|error| command_refused(error, &name))?;
    show(&app, name)
}

fn show(app: &App, name: &str) -> Result<Response, Problem> {
    match app.runner.queues().into_iter().find(|queue| queue.name == name) {
        Some(queue) => Ok(reply::json(StatusCode::OK, &queue)),
        None => Err(Problem::not_found("no_such_queue", format!("there is no queue `{name}`"))),
    }
}
