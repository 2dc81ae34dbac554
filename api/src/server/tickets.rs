//! Tickets for feeds: what a browser's EventSource shows as `?ticket=`.

use super::{
    app::App,
    problem::Problem,
    reply::{self, Response},
    request::Request,
};
use std::sync::Arc;
use warp::http::StatusCode;

/// `POST /v1/tickets`
pub async fn give(app: Arc<App>, mut request: Request) -> Result<Response, Problem> {
    request.fields(&app.options).await?.finish()?;
    let (ticket, expires_at) = app.tickets.give();
    Ok(reply::json(StatusCode::CREATED, &serde_json::json!({ "ticket": ticket, "expires_at": expires_at })))
}
