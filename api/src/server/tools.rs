//! Tools: what agents and scripts may call.

use super::{
    app::App,
    jobs::part,
    problem::Problem,
    reply::{self, Response},
    request::Request,
};
use std::sync::Arc;

/// `GET /v1/tools`
pub async fn list(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let (items, next) = part(&request, app.runner.tools().definitions())?;
    Ok(reply::page(&items, next))
}
