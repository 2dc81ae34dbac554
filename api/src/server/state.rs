//! A job's state as of a version of its stream: the fold of its events up to there.

use super::{
    app::{App, no_such_job},
    blocking::blocking,
    problem::Problem,
    query::invalid,
    reply::{self, Response},
    request::Request,
};
use moonlog_core::{
    event::StreamId,
    id::{JobId, SessionId},
    log::{Log, ReadError},
    projection::{FlowState, JobState, JobView, SessionView, Views},
};
use serde::Serialize;
use std::{collections::BTreeSet, sync::Arc};
use warp::http::StatusCode;

/// How many sessions are told of: each is a walk through the log.
const SESSIONS_MAX: usize = 20;
/// Events that are read at once.
const PAGE: usize = 512;

#[derive(Serialize)]
struct State {
    at: u64,
    position: u64,
    job: JobView,
    flow: FlowState,
    /// Those that the job's events name, as they stood.
    sessions: Vec<SessionView>,
}

/// `GET /v1/jobs/{id}/state`
pub async fn show(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let id: JobId = request.segment(0, "no_such_job")?;
    let at = request.query.whole("at", 1, u64::MAX)?;
    let (log, views) = (app.runner.log().clone(), app.runner.views().clone());
    let stream = StreamId::Job(id);
    let Some(end) = log.stream_head(&stream)? else {
        return Err(no_such_job(&id));
    };
    let at = at.unwrap_or(end.version);
    if at > end.version {
        return Err(invalid("at", format!("is beyond the job's last version, {}", end.version)));
    }
    let state = blocking(move || fold(&log, &views, &stream, at)).await??;
    match state {
        Some(state) => Ok(reply::json(StatusCode::OK, &state)),
        None => Err(Problem::internal(&format!("the stream of job {id} does not begin with job.submitted"))),
    }
}

fn fold(log: &Log, views: &Views, stream: &StreamId, at: u64) -> Result<Option<State>, ReadError> {
    let mut job: Option<JobState> = None;
    let mut flow = FlowState::default();
    let (mut version, mut position) = (0, 0);
    let mut named = BTreeSet::new();
    while version < at {
        let wanted = usize::try_from(at - version).unwrap_or(PAGE).min(PAGE);
        let events = log.read_stream(stream, version, wanted)?;
        for event in &events {
            match &mut job {
                None => job = JobState::from_submitted(event),
                Some(job) => job.apply(event),
            }
            flow.apply(event);
            named.extend(event.session);
            (version, position) = (event.version, event.position);
        }
        if events.is_empty() {
            break;
        }
    }
    let Some(job) = job else { return Ok(None) };
    let sessions = sessions(views, named, position)?;
    Ok(Some(State { at: version, position, job: job.view(), flow, sessions }))
}

/// Sessions as they stood at a position; only those that are there.
fn sessions(views: &Views, named: BTreeSet<SessionId>, position: u64) -> Result<Vec<SessionView>, ReadError> {
    let mut sessions = Vec::new();
    for id in named.into_iter().take(SESSIONS_MAX) {
        if let Some(now) = views.session(&id)? {
            let then = views.session_at(&id, now.created_position - 1, position)?;
            sessions.extend(then.map(|session| session.view()));
        }
    }
    Ok(sessions)
}
