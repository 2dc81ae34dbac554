//! A job's trace, as its own JSON or as OTLP/JSON.

use super::{
    app::App,
    blocking::blocking,
    otlp,
    problem::Problem,
    query::invalid,
    reply::{self, Response},
    request::Request,
};
use moonlog_core::{
    event::{Event, StreamId},
    id::JobId,
    log::ReadError,
    projection::Trace,
};
use std::sync::Arc;
use warp::http::StatusCode;

/// How many events are read at a time.
const READ_EVENTS: usize = 4_096;

/// `GET /v1/jobs/{id}/traces`
pub async fn show(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let id: JobId = request.segment(0, "no_such_job")?;
    app.job(&id)?;
    let as_otlp = match request.query.text("format") {
        None | Some("json") => false,
        Some("otlp") => true,
        Some(_) => return Err(invalid("format", "must be json or otlp")),
    };
    let reader = app.clone();
    let trace = blocking(move || trace(&reader, &id)).await??;
    let trace = trace.ok_or_else(|| Problem::not_found("no_such_job", format!("there is no job {id}")))?;
    Ok(if as_otlp { reply::json(StatusCode::OK, &otlp::of(&trace)) } else { reply::json(StatusCode::OK, &trace) })
}

fn trace(app: &App, job: &JobId) -> Result<Option<Trace>, ReadError> {
    let stream = StreamId::Job(*job);
    let (mut events, mut version): (Vec<Arc<Event>>, u64) = (Vec::new(), 0);
    loop {
        let read = app.runner.log().read_stream(&stream, version, READ_EVENTS)?;
        let Some(last) = read.last() else { break };
        version = last.version;
        // Pieces of answers and outputs are most of a stream, and take no time of their own.
        events.extend(read.into_iter().filter(|event| !matches!(event.body.name(), "chat.delta" | "process.output")));
    }
    Ok(Trace::fold(events))
}
