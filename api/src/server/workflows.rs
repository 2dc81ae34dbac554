//! Workflows: list, show, check.

use super::{
    app::App,
    blocking::blocking,
    jobs::part,
    problem::{FieldError, Problem},
    reply::{self, Response},
    request::Request,
    submit::script_error,
};
use moonlog_core::{id::Hash, json::Json};
use moonlog_scripts::{Entry, Library, Origin, Workflow, WorkflowInfo};
use serde::Serialize;
use std::sync::Arc;
use warp::http::StatusCode;

/// A workflow as lists show it; a broken file with what is wrong with it.
#[derive(Serialize)]
struct Row {
    name: String,
    description: Option<String>,
    phases: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<Hash>,
    origin: String,
    shadows: Vec<String>,
    broken: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
}

#[derive(Serialize)]
struct Shown<'a> {
    name: &'a str,
    description: Option<&'a str>,
    phases: &'a [String],
    hash: Hash,
    origin: String,
    shadows: Vec<String>,
    args_schema: Option<&'a Json>,
    source: &'a str,
}

#[derive(Serialize)]
struct Report {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<Hash>,
    #[serde(skip_serializing_if = "Option::is_none")]
    workflow: Option<WorkflowInfo>,
    errors: Vec<FieldError>,
}

/// `GET /v1/workflows`
pub async fn list(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let library = app.runner.library().clone();
    let entries = blocking(move || library.list()).await?;
    let (items, next) = part(&request, entries)?;
    let rows: Vec<Row> = items.into_iter().map(row).collect();
    Ok(reply::page(&rows, next))
}

/// `GET /v1/workflows/{name}`
pub async fn show(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let name = request.text(0).to_owned();
    let library = app.runner.library().clone();
    let wanted = name.clone();
    let found = blocking(move || library.get(&wanted).ok_or_else(|| (library.broken(&wanted), broken_files(&library))));
    let found = found.await?;
    match found {
        Ok(workflow) => Ok(reply::json(StatusCode::OK, &shown(&workflow))),
        Err((Some(broken), _)) => {
            let detail = format!("no workflow is named `{name}`: {} is broken", broken.origin);
            let errors = broken.problems.into_iter().map(script_error).collect();
            Err(Problem::not_found("no_such_workflow", detail).errors(errors))
        }
        // A broken file cannot say which name it would have.
        Err((None, broken)) if !broken.is_empty() => {
            let detail =
                format!("no workflow is named `{name}`; it may be in a file that is broken: {}", broken.join(", "));
            Err(Problem::not_found("no_such_workflow", detail))
        }
        Err((None, _)) => Err(Problem::not_found("no_such_workflow", format!("no workflow is named `{name}`"))),
    }
}

/// The files that are broken.
fn broken_files(library: &Library) -> Vec<String> {
    let broken = library.list().into_iter().filter_map(|entry| match entry {
        Entry::Broken(broken) => Some(origin(&broken.origin)),
        Entry::Workflow(_) => None,
    });
    broken.collect()
}

/// `POST /v1/workflows/check`: a script that is broken is what was asked about, and so no error of the request.
pub async fn check(app: Arc<App>, mut request: Request) -> Result<Response, Problem> {
    let mut fields = request.fields(&app.options).await?;
    let script = fields.text("script");
    let script = fields.required("script", script);
    let name = fields.short_text("name", 256).unwrap_or_else(|| "script".into());
    fields.finish()?;
    let limit = app.options.limits.script_source_bytes;
    if script.len() as u64 > limit {
        let text = format!("the script is larger than {limit} bytes (limits.script_source_bytes)");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", text).with("limit_bytes", limit));
    }
    let hash = Hash::of(moonlog_scripts::link(&script).as_bytes());
    let report = match blocking(move || moonlog_scripts::check(&name, &script)).await? {
        Ok(info) => Report { ok: true, hash: Some(hash), workflow: Some(info), errors: Vec::new() },
        Err(problems) => {
            Report { ok: false, hash: None, workflow: None, errors: problems.into_iter().map(script_error).collect() }
        }
    };
    Ok(reply::json(StatusCode::OK, &report))
}

fn row(entry: Entry) -> Row {
    match entry {
        Entry::Workflow(workflow) => Row {
            name: workflow.name.clone(),
            description: workflow.description.clone(),
            phases: workflow.phases.clone(),
            hash: Some(workflow.hash),
            origin: origin(&workflow.origin),
            shadows: workflow.shadows.iter().map(origin).collect(),
            broken: false,
            errors: Vec::new(),
        },
        Entry::Broken(broken) => Row {
            name: broken.name,
            description: None,
            phases: Vec::new(),
            hash: None,
            origin: origin(&broken.origin),
            shadows: Vec::new(),
            broken: true,
            errors: broken.problems.into_iter().map(script_error).collect(),
        },
    }
}

fn shown(workflow: &Workflow) -> Shown<'_> {
    Shown {
        name: &workflow.name,
        description: workflow.description.as_deref(),
        phases: &workflow.phases,
        hash: workflow.hash,
        origin: origin(&workflow.origin),
        shadows: workflow.shadows.iter().map(origin).collect(),
        args_schema: workflow.args_schema.as_ref(),
        source: &workflow.source,
    }
}

fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Builtin => "builtin".into(),
        Origin::File(path) => path.display().to_string(),
    }
}
