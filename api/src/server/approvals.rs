//! Approvals: what waits for a person, and what that person says.

use super::{
    app::App,
    jobs::part,
    problem::Problem,
    reply::{self, Response},
    request::Request,
    submit::command_refused,
    text_limits::Text,
};
use moonlog_core::{event::Decision, id::JobId};
use std::sync::Arc;
use warp::http::StatusCode;

/// `GET /v1/approvals`
pub async fn list(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let job: Option<JobId> = request.query.parsed("job")?;
    let mut approvals = app.runner.views().with(|projection| projection.approvals());
    approvals.retain(|approval| job.is_none_or(|job| approval.job == job));
    let (items, next) = part(&request, approvals)?;
    Ok(reply::page(&items, next))
}

/// `POST /v1/jobs/{id}/approvals/{approval}`
pub async fn decide(app: Arc<App>, mut request: Request) -> Result<Response, Problem> {
    let id: JobId = request.segment(0, "no_such_job")?;
    let mut fields = request.fields(&app.options).await?;
    let approved = fields.boolean("approved");
    let approved = fields.required("approved", approved);
    let by = fields.limited("by", Text::Name);
    let note = fields.limited("note", Text::Note);
    fields.finish()?;
    let decision = if approved { Decision::Approved } else { Decision::Denied };
    let decided = app.runner.decide(&id, request.text(1), decision, by, note).await;
    decided.map_err(|error| command_refused(error, &id))?;
    Ok(reply::json(StatusCode::OK, &app.view(&id)?))
}
