//! Jobs: submit, list, show.

use super::{
    app::App,
    blocking::blocking,
    problem::Problem,
    reply::{self, Response},
    request::Request,
    submit,
};
use moonlog_core::{
    id::JobId,
    log::ReadError,
    projection::{JobFilter, JobView, Page, Views},
};
use std::sync::Arc;
use warp::http::StatusCode;

/// Items of a page of a list.
pub const PAGE_DEFAULT: u64 = 50;
/// The most there may be.
pub const PAGE_MAX: u64 = 200;

/// Jobs that are read at once; so many may be in memory beyond `PAGE_BYTES`.
const READ_AT_ONCE: usize = 25;
/// A page ends early when its jobs' arguments and results have this many bytes.
const PAGE_BYTES: usize = 4 << 20;

/// `POST /v1/jobs`
pub async fn submit(app: Arc<App>, mut request: Request) -> Result<Response, Problem> {
    let wait = request.query.wait(app.options.limits.wait_max)?;
    let fields = request.fields(&app.options).await?;
    let mut submit = submit::read(fields, request.header("idempotency-key"))?;
    submit.queue.get_or_insert_with(|| app.options.default_queue.clone());
    let submitted = match wait {
        Some(wait) => app.submit_and_wait(submit, wait).await,
        None => app.runner.submit(submit).await,
    };
    let submitted = submitted.map_err(submit::refused)?;
    let view = app.view(&submitted.job)?;
    let status = match wait {
        Some(_) => waited(&view),
        None if submitted.created => StatusCode::CREATED,
        None => StatusCode::OK,
    };
    Ok(located(reply::json(status, &view), &submitted.job))
}

/// `GET /v1/jobs/{id}`
pub async fn show(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let id: JobId = request.segment(0, "no_such_job")?;
    match request.query.wait(app.options.limits.wait_max)? {
        Some(wait) => {
            let view = app.wait(&id, wait).await?;
            Ok(reply::json(waited(&view), &view))
        }
        None => Ok(reply::json(StatusCode::OK, &app.view(&id)?)),
    }
}

/// `GET /v1/jobs`
pub async fn list(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let query = &request.query;
    let filter = JobFilter {
        session: None,
        state: query.parsed("state")?,
        workflow: query.text("workflow").map(str::to_owned),
        queue: query.text("queue").map(str::to_owned),
        labels: query.parsed("label")?.into_iter().collect(),
        exhausted: query.boolean("exhausted")?,
        ended: None,
        parent: query.parsed("parent")?,
        since: query.parsed("since")?,
    };
    let cursor: Option<JobId> = match query.text("cursor") {
        None => None,
        Some(text) => Some(text.parse().map_err(|_| invalid_cursor())?),
    };
    let limit = query.whole("limit", 1, PAGE_MAX)?.unwrap_or(PAGE_DEFAULT);
    let views = app.runner.views().clone();
    // A filter that few jobs fit reads many rows.
    let page = blocking(move || read_page(&views, &filter, cursor, limit as usize)).await??;
    let mut items = page.items;
    items.iter_mut().for_each(|job| app.runner.explain(job));
    Ok(reply::page(&items, page.next.map(|next| next.to_string())))
}

/// A page that ends early where its jobs have much to show: results may be megabytes each.
fn read_page(
    views: &Views,
    filter: &JobFilter,
    mut cursor: Option<JobId>,
    limit: usize,
) -> Result<Page<JobView>, ReadError> {
    let mut all = Page { items: Vec::new(), next: None };
    let mut bytes = 0;
    loop {
        let wanted = (limit - all.items.len()).min(READ_AT_ONCE);
        let page = views.jobs(filter, cursor, wanted)?;
        // It has looked at many that do not fit: others want to read too.
        let is_cut = page.items.len() < wanted;
        bytes += page.items.iter().map(shown_bytes).sum::<usize>();
        all.items.extend(page.items);
        all.next = page.next;
        if all.next.is_none() || is_cut || all.items.len() >= limit || bytes >= PAGE_BYTES {
            return Ok(all);
        }
        cursor = all.next;
    }
}

fn shown_bytes(job: &JobView) -> usize {
    job.args.as_str().len() + job.result.as_ref().map_or(0, |result| result.as_str().len())
}

/// 400 for a list's cursor that was not given by that list.
pub fn invalid_cursor() -> Problem {
    Problem::bad_request("invalid_cursor", "the cursor is none that this list has given as `next`")
        .errors(vec![super::problem::FieldError::new("cursor", "is none that this list has given as `next`")])
}

/// The part of a list that is in memory as a whole: the cursor is the number of items before it.
pub fn part<T>(request: &Request, items: Vec<T>) -> Result<(Vec<T>, Option<String>), Problem> {
    let limit = request.query.whole("limit", 1, PAGE_MAX)?.unwrap_or(PAGE_DEFAULT) as usize;
    let from: usize = match request.query.text("cursor") {
        None => 0,
        Some(text) => text.parse().map_err(|_| invalid_cursor())?,
    };
    let next = (items.len() > from.saturating_add(limit)).then(|| (from + limit).to_string());
    Ok((items.into_iter().skip(from).take(limit).collect(), next))
}

/// Answers with where a job is.
pub fn located(response: Response, id: &JobId) -> Response {
    reply::located(response, &format!("/v1/jobs/{id}"))
}

fn waited(view: &JobView) -> StatusCode {
    if view.ended_at.is_some() { StatusCode::OK } else { StatusCode::ACCEPTED }
}
