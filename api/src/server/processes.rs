//! Processes: start, list, show, output, search, signal.

use super::{
    app::App,
    body::{Fields, kind},
    problem::{FieldError, Problem},
    query::invalid,
    reply::{self, Response},
    request::Request,
    serve::stopped,
    text_limits::Text,
};
use moonlog_core::{
    error_info::ErrorInfo,
    event::ProcessTokenClaimed,
    id::{Hash, ProcessId},
    projection::ProcessView,
};
use moonlog_runner::process::{Owner, ProcessScope, ProcessSpec, SearchOptions};
use serde::Serialize;
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};
use warp::http::StatusCode;

/// What Linux takes as one argument.
const COMMAND_MAX_BYTES: usize = 128 << 10;
/// JSON numbers up to here are the same in every language.
const WHOLE_MAX: i64 = (1 << 53) - 1;
/// What may be sent over HTTP; scripts may send more.
const SIGNALS: [&str; 3] = ["terminate", "kill", "interrupt"];

/// `POST /v1/processes`
pub async fn start(app: Arc<App>, mut request: Request) -> Result<Response, Problem> {
    let mut spec = read(request.fields(&app.options).await?)?;
    let table = app.runner.process_table();
    // Whoever asks again is answered, whatever became of the session since. That there is none is said by the table.
    let before = table.started_before(&spec).map_err(refused)?;
    if before.is_none()
        && let Some(session) = spec.owner.session.filter(|session| matches!(app.runner.session(session), Ok(Some(_))))
    {
        let root = app.runner.workspaces().root(&session).await.map_err(super::sessions::refused)?;
        spec.workdir = match (root, spec.workdir) {
            (Some(root), Some(workdir)) => Some(root.join(workdir)),
            (root, workdir) => workdir.or(root),
        };
    }
    let started = table.start(spec).await.map_err(refused)?;
    let status = if started.started { StatusCode::CREATED } else { StatusCode::OK };
    let answer = json!({ "id": started.id, "started": started.started });
    Ok(reply::located(reply::json(status, &answer), &format!("/v1/processes/{}", started.id)))
}

/// `GET /v1/processes`
pub async fn list(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct List {
        processes: Vec<ProcessView>,
    }
    let scope = ProcessScope { job: request.query.parsed("job")?, ..scope(&request)? };
    let limit = request.query.whole("limit", 1, u64::MAX)?.map_or(usize::MAX, |limit| limit as usize);
    let found = app.runner.process_table().list(&scope);
    let processes = found.iter().take(limit).map(|state| state.view()).collect();
    Ok(reply::json(StatusCode::OK, &List { processes }))
}

/// `GET /v1/processes/{id}`
pub async fn show(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let (id, scope) = named(&request)?;
    let state = app.runner.process_table().state(&id, &scope).await.map_err(refused)?;
    Ok(reply::json(StatusCode::OK, &state.view()))
}

/// `GET /v1/processes/{id}/output`
pub async fn output(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let (id, scope) = named(&request)?;
    let table = app.runner.process_table();
    if let Some(at_most) = request.query.wait(app.options.limits.wait_max)? {
        let mut stop = app.stop.clone();
        tokio::select! {
            biased;
            ended = table.wait(&id, &scope, at_most) => ended.map(|_| ()).map_err(refused)?,
            () = stopped(&mut stop) => {}
        }
    }
    let view = table.snapshot(&id, &scope).await.map_err(refused)?;
    Ok(reply::json(StatusCode::OK, &view))
}

/// `GET /v1/processes/{id}/search`
pub async fn search(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let (id, scope) = named(&request)?;
    let query = &request.query;
    let pattern = query.text("pattern").ok_or_else(|| invalid("pattern", "is missing: a regular expression"))?;
    let defaults = SearchOptions::default();
    let number = |name, min, default: usize| -> Result<usize, Problem> {
        Ok(query.whole(name, min, u64::from(u32::MAX))?.map_or(default, |number| number as usize))
    };
    let options =
        SearchOptions { limit: number("limit", 1, defaults.limit)?, context: number("context", 0, defaults.context)? };
    let found = app.runner.process_table().search(&id, &scope, pattern, options).await.map_err(refused)?;
    Ok(reply::json(StatusCode::OK, &found))
}

/// `POST /v1/processes/{id}/signal`
pub async fn signal(app: Arc<App>, mut request: Request) -> Result<Response, Problem> {
    let (id, scope) = named(&request)?;
    let mut fields = request.fields(&app.options).await?;
    let signal = fields.text("signal");
    let signal = fields.required("signal", signal);
    if !fields.failed("signal") && !SIGNALS.contains(&signal.as_str()) {
        fields.error("signal", format!("must be one of {}", SIGNALS.join(", ")));
    }
    fields.finish()?;
    let table = app.runner.process_table();
    table.signal(&id, &scope, &signal).await.map_err(refused)?;
    let state = table.state(&id, &scope).await.map_err(refused)?;
    Ok(reply::json(StatusCode::OK, &state.view()))
}

fn named(request: &Request) -> Result<(ProcessId, ProcessScope), Problem> {
    Ok((request.segment(0, "no_such_process")?, scope(request)?))
}

fn scope(request: &Request) -> Result<ProcessScope, Problem> {
    Ok(ProcessScope { session: request.query.parsed("session")?, job: None })
}

/// Reads what is to be started.
///
/// # Errors
/// 400 with everything that is wrong.
fn read(mut fields: Fields) -> Result<ProcessSpec, Problem> {
    let canonical = fields.has("client_token").then(|| fields.canonical());
    let command = fields.short_text("command", COMMAND_MAX_BYTES);
    let command = fields.required("command", command);
    if !fields.failed("command") && command.trim().is_empty() {
        fields.error("command", "is empty");
    }
    let args = texts(&mut fields, "args");
    let shell = fields.boolean("shell").unwrap_or(false);
    let workdir = fields.short_text("workdir", COMMAND_MAX_BYTES);
    let env = variables(&mut fields);
    let background = fields.boolean("background").unwrap_or(false);
    let timeout_ms = fields.whole("timeout_ms", 1..=WHOLE_MAX).and_then(|ms| u64::try_from(ms).ok());
    let session = fields.parsed("session");
    let client_token = fields.limited("client_token", Text::Key);
    fields.finish()?;
    let (command, args) = match shell {
        // What stands behind the script is the shell's name for it, then the arguments.
        true if args.is_empty() => ("sh".to_owned(), vec!["-c".to_owned(), command]),
        true => ("sh".to_owned(), ["-c".to_owned(), command, "sh".to_owned()].into_iter().chain(args).collect()),
        false => (command, args),
    };
    let id = ProcessId::from(uuid::Uuid::now_v7());
    let claim = client_token.map(|client_token| {
        let request_hash = Hash::of(canonical.unwrap_or_default().as_bytes());
        ProcessTokenClaimed { client_token, request_hash }
    });
    Ok(ProcessSpec {
        args,
        workdir: workdir.map(Into::into),
        env,
        background,
        timeout_ms,
        claim,
        ..ProcessSpec::new(id, command, Owner::own(id, session))
    })
}

fn texts(fields: &mut Fields, name: &str) -> Vec<String> {
    match fields.value(name) {
        None => Vec::new(),
        Some(Value::Array(items)) => {
            let mut texts = Vec::with_capacity(items.len());
            for (at, item) in items.into_iter().enumerate() {
                match item {
                    Value::String(text) => texts.push(text),
                    other => {
                        fields.wrong::<()>(&format!("{name}[{at}]"), "a text", &other);
                    }
                }
            }
            texts
        }
        Some(other) => fields.wrong(name, "a list of texts", &other).unwrap_or_default(),
    }
}

fn variables(fields: &mut Fields) -> BTreeMap<String, String> {
    let variables = fields.object("env", |inner| {
        let mut variables = BTreeMap::new();
        for (name, value) in inner.rest() {
            match value {
                Value::String(text) => {
                    variables.insert(name, text);
                }
                other => inner.error(&name, format!("must be a text, and is {}", kind(&other))),
            }
        }
        variables
    });
    variables.unwrap_or_default()
}

/// The answer to what could not be done with a process.
fn refused(error: ErrorInfo) -> Problem {
    let (status, field) = match error.code.as_str() {
        "no_such_process" | "no_such_session" => (StatusCode::NOT_FOUND, None),
        "process_exited" | "client_token_reused" | "session_closed" => (StatusCode::CONFLICT, None),
        "too_many_processes" => (StatusCode::TOO_MANY_REQUESTS, None),
        "log_unreadable" | "not_recorded" | "interrupted" => (StatusCode::SERVICE_UNAVAILABLE, None),
        "invalid_pattern" => (StatusCode::BAD_REQUEST, Some("pattern")),
        "unknown_signal" => (StatusCode::BAD_REQUEST, Some("signal")),
        "no_such_directory" | "not_a_directory" => (StatusCode::BAD_REQUEST, Some("workdir")),
        "invalid_argument" | "arguments_too_large" => (StatusCode::BAD_REQUEST, Some("args")),
        "invalid_environment" => (StatusCode::BAD_REQUEST, Some("env")),
        "invalid_command" | "command_not_found" | "permission_denied" | "not_executable" => {
            (StatusCode::BAD_REQUEST, Some("command"))
        }
        _ if error.retryable => (StatusCode::SERVICE_UNAVAILABLE, None),
        _ => (StatusCode::BAD_REQUEST, None),
    };
    let problem = Problem::of(status, &error);
    let problem = match field {
        Some(field) => problem.errors(vec![FieldError::new(field, error.message.clone())]),
        None => problem,
    };
    if error.retryable { problem.retry_after_ms(1_000) } else { problem }
}
