//! Sessions: created, shown, closed, and what they have changed.

use super::{
    app::App,
    blocking::blocking,
    body::{Fields, kind},
    jobs::{PAGE_DEFAULT, PAGE_MAX, invalid_cursor, part},
    problem::Problem,
    reply::{self, Response},
    request::Request,
    submit::{self, command_refused},
    text_limits::Text,
};
use moonlog_core::{
    decide::{ChangeSession, CreateSession},
    error_info::ErrorInfo,
    event::SessionConfigured,
    id::SessionId,
    json::Json,
    projection::{SessionState, SessionStatus, SessionView},
};
use moonlog_runner::workspace::{Change, Revert, WorkspaceSpec};
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::Arc;
use warp::http::StatusCode;

/// A page of changes ends early when its diffs have this many bytes.
const PAGE_BYTES: usize = 4 << 20;

/// `POST /v1/sessions`
pub async fn create(app: Arc<App>, mut request: Request) -> Result<Response, Problem> {
    let mut fields = request.fields(&app.options).await?;
    let workspace = workspace(&mut fields);
    let create = CreateSession {
        workspace: Json::null(),
        agent: agent(&mut fields, app.options.limits.session_agent_max_bytes),
        title: fields.limited("title", Text::Title),
        labels: submit::labels(&mut fields),
        options: SessionConfigured {
            wake: fields.boolean("wake").unwrap_or(app.runner.options().agents.wake),
            budget_tokens: budget(&mut fields),
        },
    };
    fields.finish()?;
    let session = app.runner.create_session(create, workspace).await.map_err(|error| command_refused(error, &""))?;
    let location = format!("/v1/sessions/{}", session.id);
    Ok(reply::located(reply::json(StatusCode::CREATED, &shown(&app, &session)), &location))
}

/// `PATCH /v1/sessions/{id}`: what is not said stays, and `null` takes a title or a budget away.
pub async fn change(app: Arc<App>, mut request: Request) -> Result<Response, Problem> {
    let mut fields = request.fields(&app.options).await?;
    let takes_away = |fields: &Fields, name: &str| fields.is_null(name);
    let (no_title, no_budget) = (takes_away(&fields, "title"), takes_away(&fields, "budget_tokens"));
    let title = fields.limited("title", Text::Title);
    let budget_tokens = budget(&mut fields);
    let labels = fields.has("labels").then(|| submit::labels(&mut fields));
    let change = ChangeSession {
        status: fields.parsed("status"),
        title: title.map(Some).or(no_title.then_some(None)),
        labels,
        wake: fields.boolean("wake"),
        budget_tokens: budget_tokens.map(Some).or(no_budget.then_some(None)),
    };
    fields.finish()?;
    let id = named(&app, &request)?.id;
    let session = app.runner.change_session(&id, change).await.map_err(|error| command_refused(error, &id))?;
    Ok(reply::json(StatusCode::OK, &shown(&app, &session)))
}

/// How the session's agent is set up. It is kept in memory as long as the session is open.
fn agent(fields: &mut Fields, max_bytes: usize) -> Json {
    let agent = fields.object("agent", |agent| {
        if agent.has("job") {
            agent.error("job", "is for sessions that agents begin for themselves");
        }
        Json::from(Value::Object(agent.rest()))
    });
    let agent = agent.unwrap_or_else(Json::null);
    if agent.as_str().len() > max_bytes {
        let bytes = agent.as_str().len();
        fields.error(
            "agent",
            format!("must have up to {max_bytes} bytes (limits.session_agent_max_bytes), and has {bytes}"),
        );
    }
    agent
}

fn budget(fields: &mut Fields) -> Option<u64> {
    fields.whole("budget_tokens", 1..=i64::MAX).and_then(|tokens| u64::try_from(tokens).ok())
}

/// A session whole, with what is left of its budget.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    session: SessionView,
    #[serde(skip_serializing_if = "Option::is_none")]
    spent_tokens: Option<u64>,
}

fn shown(app: &App, session: &SessionState) -> Shown {
    let spent_tokens = session.options.budget_tokens.map(|_| app.runner.spent_in_session(&session.id));
    Shown { session: session.view(), spent_tokens }
}

/// `GET /v1/sessions`
pub async fn list(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let status: Option<SessionStatus> = request.query.parsed("status")?;
    let cursor: Option<SessionId> = match request.query.text("cursor") {
        None => None,
        Some(text) => Some(text.parse().map_err(|_| invalid_cursor())?),
    };
    let limit = request.query.whole("limit", 1, PAGE_MAX)?.unwrap_or(PAGE_DEFAULT) as usize;
    let views = app.runner.views().clone();
    let page = blocking(move || views.sessions(status, cursor, limit)).await??;
    Ok(reply::page(&page.items, page.next.map(|next| next.to_string())))
}

/// `GET /v1/sessions/{id}`
pub async fn show(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let session = named(&app, &request)?;
    // What it has used may have to be added up from the log.
    let app = app.clone();
    let shown = blocking(move || shown(&app, &session)).await?;
    Ok(reply::json(StatusCode::OK, &shown))
}

/// `POST /v1/sessions/{id}/close`
pub async fn close(app: Arc<App>, mut request: Request) -> Result<Response, Problem> {
    request.fields(&app.options).await?.finish()?;
    let id = named(&app, &request)?.id;
    let session = app.runner.close_session(&id).await.map_err(|error| command_refused(error, &id))?;
    Ok(reply::json(StatusCode::OK, &session.view()))
}

/// `GET /v1/sessions/{id}/changes`
pub async fn changes(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Page {
        items: Vec<Change>,
        next: Option<String>,
        omitted: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        base_commit: Option<String>,
    }
    let id = named(&app, &request)?.id;
    let changes = app.runner.workspaces().changes(&id).await.map_err(refused)?;
    let all = changes.items.len();
    let (mut items, mut next) = part(&request, changes.items)?;
    let mut bytes = 0;
    let fits = |change: &&Change| {
        bytes += change.diff.as_ref().map_or(0, String::len);
        bytes <= PAGE_BYTES
    };
    let kept = items.iter().take_while(fits).count().max(1);
    if kept < items.len() {
        let rest = items.len() - kept;
        let from = next.as_ref().and_then(|next| next.parse().ok()).unwrap_or(all) - rest;
        items.truncate(kept);
        next = Some(from.to_string());
    }
    Ok(reply::json(StatusCode::OK, &Page { items, next, omitted: changes.omitted, base_commit: changes.base_commit }))
}

/// `POST /v1/sessions/{id}/changes/revert`
pub async fn revert(app: Arc<App>, mut request: Request) -> Result<Response, Problem> {
    let mut fields = request.fields(&app.options).await?;
    let which = which(&mut fields);
    fields.finish()?;
    let id = named(&app, &request)?.id;
    let reverted = app.runner.workspaces().revert(&id, which).await.map_err(refused)?;
    Ok(reply::json(StatusCode::OK, &json!({ "reverted": reverted })))
}

/// `POST /v1/sessions/{id}/changes/merge`
pub async fn merge(app: Arc<App>, mut request: Request) -> Result<Response, Problem> {
    request.fields(&app.options).await?.finish()?;
    let id = named(&app, &request)?.id;
    let merged = app.runner.workspaces().merge(&id).await.map_err(refused)?;
    Ok(reply::json(StatusCode::OK, &merged))
}

fn named(app: &App, request: &Request) -> Result<Arc<SessionState>, Problem> {
    let id: SessionId = request.segment(0, "no_such_session")?;
    match app.runner.session(&id) {
        Ok(Some(session)) => Ok(session),
        Ok(None) => Err(Problem::not_found("no_such_session", format!("there is no session {id}"))),
        Err(error) => Err(error.into()),
    }
}

fn workspace(fields: &mut Fields) -> Option<WorkspaceSpec> {
    match fields.value("workspace")? {
        value @ Value::Object(_) => match WorkspaceSpec::read(&Json::from(value)) {
            Ok(spec) => spec,
            Err(error) => {
                fields.error("workspace", error.message);
                None
            }
        },
        other => fields.wrong("workspace", "an object", &other),
    }
}

fn which(fields: &mut Fields) -> Revert {
    let all = fields.boolean("all");
    let paths = match fields.value("paths") {
        None => None,
        Some(Value::Array(items)) => {
            let mut paths = Vec::with_capacity(items.len());
            for (at, item) in items.into_iter().enumerate() {
                match item {
                    Value::String(path) => paths.push(path),
                    other => fields.error(&format!("paths[{at}]"), format!("must be a text, and is {}", kind(&other))),
                }
            }
            Some(paths)
        }
        Some(other) => fields.wrong("paths", "a list of texts", &other),
    };
    match (all, paths) {
        (Some(true), None) => Revert::All,
        (Some(true), Some(_)) => {
            fields.error("all", "cannot stand beside `paths`");
            Revert::All
        }
        (_, Some(paths)) => Revert::Paths(paths),
        (_, None) => {
            if !fields.failed("paths") && !fields.failed("all") {
                fields.error("paths", "is missing: name the files, or say `all`");
            }
            Revert::Paths(Vec::new())
        }
    }
}

/// The answer to what a workspace refuses.
pub fn refused(error: ErrorInfo) -> Problem {
    let status = match error.code.as_str() {
        "no_such_session" => StatusCode::NOT_FOUND,
        "stopping" | "log_unavailable" | "git_timed_out" => StatusCode::SERVICE_UNAVAILABLE,
        "git_failed" | "git_not_found" | "git_output_too_large" | "not_reverted" | "not_created" => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
        _ => StatusCode::CONFLICT,
    };
    Problem::of(status, &error)
}
