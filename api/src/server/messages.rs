//! What is said in sessions: messages, those that wait, interrupting, editing.

use super::{
    app::App,
    body::Fields,
    problem::Problem,
    reply::{self, Response},
    request::Request,
    submit::command_refused,
};
use moonlog_core::{
    decide::Busy,
    id::{JobId, SessionId},
    json::Json,
    message::Part,
};
use moonlog_runner::CommandError;
use serde_json::json;
use std::sync::Arc;
use warp::http::StatusCode;

/// `POST /v1/sessions/{id}/messages`
pub async fn say(app: Arc<App>, mut request: Request) -> Result<Response, Problem> {
    let session = session_of(&request)?;
    let mut fields = request.fields(&app.options).await?;
    let busy = match fields.text("busy").as_deref() {
        None | Some("queue") => Busy::Queue,
        Some("interrupt") => Busy::Interrupt,
        Some("reject") => Busy::Reject,
        Some(_) => {
            fields.error("busy", "must be one of queue, interrupt, reject");
            Busy::Queue
        }
    };
    let parts = parts(fields)?;
    let job = app.runner.say(&session, parts, busy).await.map_err(refused)?;
    accepted(&app, &job)
}

/// `POST /v1/sessions/{id}/messages/{message}/edit`
pub async fn edit(app: Arc<App>, mut request: Request) -> Result<Response, Problem> {
    let (session, message) = (session_of(&request)?, request.text(1).to_owned());
    let parts = parts(request.fields(&app.options).await?)?;
    let job = app.runner.edit(&session, &message, parts).await.map_err(refused)?;
    accepted(&app, &job)
}

/// `GET /v1/sessions/{id}/queue/{message}`
pub async fn show_queued(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let (session, message) = (session_of(&request)?, request.text(1));
    let state = app.runner.session(&session)?;
    let state = state.ok_or_else(|| Problem::not_found("no_such_session", format!("there is no session {session}")))?;
    let queued = state.chat.queue.iter().find(|queued| queued.message == message);
    let queued = queued.ok_or_else(|| {
        Problem::not_found("no_such_message", format!("no message `{message}` waits in session {session}"))
    })?;
    Ok(reply::json(StatusCode::OK, queued))
}

/// `PATCH /v1/sessions/{id}/queue/{message}`
pub async fn change_queued(app: Arc<App>, mut request: Request) -> Result<Response, Problem> {
    let (session, message) = (session_of(&request)?, request.text(1).to_owned());
    let parts = parts(request.fields(&app.options).await?)?;
    app.runner.change_queued(&session, &message, parts.clone()).await.map_err(refused)?;
    Ok(reply::json(StatusCode::OK, &json!({ "message": message, "parts": parts })))
}

/// `DELETE /v1/sessions/{id}/queue/{message}`
pub async fn drop_queued(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let (session, message) = (session_of(&request)?, request.text(1));
    app.runner.drop_queued(&session, message).await.map_err(refused)?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// `POST /v1/sessions/{id}/interrupt`
pub async fn interrupt(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let session = session_of(&request)?;
    app.runner.interrupt(&session).await.map_err(refused)?;
    Ok(reply::json(StatusCode::ACCEPTED, &json!({ "session": session, "interrupted": true })))
}

fn session_of(request: &Request) -> Result<SessionId, Problem> {
    request.segment(0, "no_such_session")
}

/// The job that answers, which may have to wait for its turn.
fn accepted(app: &App, job: &JobId) -> Result<Response, Problem> {
    let answer = reply::json(StatusCode::ACCEPTED, &app.view(job)?);
    Ok(reply::located(answer, &format!("/v1/jobs/{job}")))
}

/// What is said: `text`, or `parts`.
fn parts(mut fields: Fields) -> Result<Json, Problem> {
    let (text, given) = (fields.text("text"), fields.json("parts"));
    let parts = match (text, given) {
        (Some(text), None) if text.trim().is_empty() => {
            fields.error("text", "must say something, and is empty");
            Json::null()
        }
        (Some(text), None) => Json::from(json!([{ "type": "text", "text": text }])),
        (None, Some(parts)) => {
            match parts.to::<Vec<Part>>() {
                Ok(read) if read.is_empty() => fields.error("parts", "must have at least one part"),
                Ok(read) if !read.iter().all(|part| matches!(part, Part::Text { .. } | Part::Image { .. })) => {
                    fields.error("parts", "may be of type text or image");
                }
                Ok(read) if read.iter().all(is_blank) => fields.error("parts", "must say something, and is empty"),
                Ok(_) => {}
                Err(error) => fields.error("parts", format!("must be a list of parts: {error}")),
            }
            parts
        }
        (None, None) => {
            if !fields.failed("text") {
                fields.error("text", "is missing, and so is `parts`");
            }
            Json::null()
        }
        (Some(_), Some(_)) => {
            fields.error("parts", "stands beside `text`: one of them is enough");
            Json::null()
        }
    };
    fields.finish()?;
    Ok(parts)
}

fn is_blank(part: &Part) -> bool {
    matches!(part, Part::Text { text } if text.trim().is_empty())
}

fn refused(error: CommandError) -> Problem {
    command_refused(error, &"")
}
