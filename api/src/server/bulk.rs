//! Many jobs at once: cancelled or run again by what they have in common.

use super::{
    app::App,
    body::Fields,
    problem::Problem,
    reply::{self, Response},
    request::Request,
    submit::{self, command_refused},
    text_limits::Text,
};
use moonlog_core::projection::{JobFilter, JobStatus, LabelFilter};
use moonlog_runner::{Bulk, Retry};
use std::sync::Arc;
use warp::http::StatusCode;

/// `POST /v1/jobs/cancel`
pub async fn cancel(app: Arc<App>, mut request: Request) -> Result<Response, Problem> {
    let mut fields = request.fields(&app.options).await?;
    let bulk = bulk(&app, &mut fields, "cancelled", |state| !state.is_ended());
    let reason = fields.limited("reason", Text::Reason);
    fields.finish()?;
    let report = app.runner.cancel_all(refuse_all(bulk)?, reason).await;
    Ok(reply::json(StatusCode::OK, &report.map_err(|error| command_refused(error, &"of this filter"))?))
}

/// `POST /v1/jobs/retry`: jobs that failed, where no state is named.
pub async fn retry(app: Arc<App>, mut request: Request) -> Result<Response, Problem> {
    let key = request.header("idempotency-key").map(str::to_owned);
    let mut fields = request.fields(&app.options).await?;
    let bulk = bulk(&app, &mut fields, "retried", JobStatus::is_ended);
    let idempotency_key = submit::key(&mut fields, key.as_deref());
    let retry = Retry { script: submit::other_script(&mut fields), args: fields.json("args"), idempotency_key };
    fields.finish()?;
    let mut bulk = refuse_all(bulk)?;
    bulk.filter.state.get_or_insert(JobStatus::Failed);
    let report = app.runner.retry_all(bulk, retry).await;
    Ok(reply::json(StatusCode::OK, &report.map_err(|error| command_refused(error, &"of this filter"))?))
}

fn bulk(app: &App, fields: &mut Fields, what: &str, can: impl Fn(JobStatus) -> bool) -> Bulk {
    let filter = fields.object("filter", |filter| {
        let labels = submit::labels(filter);
        let labels = labels.into_iter().map(|(key, value)| LabelFilter { key, value: Some(value) });
        let mut read = JobFilter {
            state: filter.parsed("state"),
            workflow: filter.limited("workflow", Text::Name),
            queue: filter.limited("queue", Text::Name),
            labels: labels.collect(),
            parent: filter.parsed("parent"),
            session: filter.parsed("session"),
            since: filter.time("since"),
            exhausted: filter.boolean("exhausted"),
            ended: None,
        };
        // A label by its name alone, or as the list has it.
        read.labels.extend(filter.parsed::<LabelFilter>("label"));
        if let Some(state) = read.state.filter(|state| !can(*state)) {
            filter.error("state", format!("is {state}: jobs in that state cannot be {what}"));
        }
        read
    });
    let max = i64::try_from(app.options.limits.bulk_jobs).unwrap_or(i64::MAX);
    let limit = fields.whole("limit", 1..=max).unwrap_or(max);
    let dry_run = fields.boolean("dry_run").unwrap_or(false);
    Bulk { filter: filter.unwrap_or_default(), limit: usize::try_from(limit).unwrap_or(usize::MAX), dry_run }
}

/// Whoever means all jobs has to say so by a state, a time, a queue or a workflow.
fn refuse_all(bulk: Bulk) -> Result<Bulk, Problem> {
    if bulk.filter == JobFilter::default() {
        let detail = "the filter is empty, which would be all jobs: name a label, a state, a workflow, a queue, a parent or \
                      a time";
        return Err(Problem::bad_request("empty_filter", detail)
            .errors(vec![super::problem::FieldError::new("filter", "is empty")]));
    }
    Ok(bulk)
}
