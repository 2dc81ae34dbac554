//! Two jobs beside each other.

use super::{
    app::App,
    blocking::blocking,
    problem::Problem,
    reply::{self, Response},
    request::Request,
};
use moonlog_core::{
    compare::{Compared, Comparison},
    event::StreamId,
    id::JobId,
    log::{Log, ReadError},
};
use serde::Serialize;
use std::sync::Arc;
use warp::http::StatusCode;

/// How many events one read takes.
const READ_EVENTS: usize = 4_096;

#[derive(Serialize)]
struct Diff {
    job: JobId,
    other: JobId,
    #[serde(flatten)]
    comparison: Comparison,
}

/// `GET /v1/jobs/{id}/diff/{other}`
pub async fn show(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let (job, other): (JobId, JobId) = (request.segment(0, "no_such_job")?, request.segment(1, "no_such_job")?);
    app.job(&job)?;
    app.job(&other)?;
    let log = app.runner.log().clone();
    let comparison = blocking(move || Ok::<_, ReadError>(read(&log, job)?.with(&read(&log, other)?))).await??;
    Ok(reply::json(StatusCode::OK, &Diff { job, other, comparison }))
}

fn read(log: &Log, job: JobId) -> Result<Compared, ReadError> {
    let (stream, mut compared, mut after) = (StreamId::Job(job), Compared::default(), 0);
    loop {
        let events = log.read_stream(&stream, after, READ_EVENTS)?;
        let Some(last) = events.last() else { return Ok(compared) };
        after = last.version;
        events.iter().for_each(|event| compared.apply(event));
    }
}
