//! The body of a submission, and why one may be refused.

use super::{
    body::{Fields, kind},
    problem::{FieldError, Problem},
    text_limits::Text,
};
use moonlog_core::{event::JobRetryPolicy, id::Hash};
use moonlog_runner::{CommandError, ScriptSource, Submit, SubmitError};
use serde_json::Value;
use std::collections::BTreeMap;
use warp::http::StatusCode;

/// How many codes a retry policy may name, and how long each may be.
const CODES_MAX: usize = 100;
const CODE_MAX_BYTES: usize = 100;
/// JSON numbers up to here are the same in every language.
const WHOLE_MAX: i64 = (1 << 53) - 1;

/// Reads a submission. `key` is that of the header, which a key in the body wins over.
///
/// # Errors
/// 400 with everything that is wrong.
pub fn read(mut fields: Fields, key: Option<&str>) -> Result<Submit, Problem> {
    let canonical = (fields.has("idempotency_key") || key.is_some()).then(|| fields.canonical());
    let what = what(&mut fields);
    let mut submit = Submit::new(what);
    submit.idempotency_key = self::key(&mut fields, key);
    submit.request_hash = canonical.map(|text| Hash::of(text.as_bytes()));
    submit.args = fields.json("args");
    submit.queue = fields.limited("queue", Text::Name);
    submit.priority = fields.whole("priority", i32::MIN..=i32::MAX).unwrap_or(0);
    submit.run_at = fields.time("run_at");
    submit.timeout_ms = whole(&mut fields, "timeout_ms", 1);
    submit.retry = fields.object("retry", retry);
    submit.budget_tokens = whole(&mut fields, "budget_tokens", 0);
    submit.concurrency_key = fields.limited("concurrency_key", Text::Key);
    submit.session = fields.parsed("session");
    submit.resume_from = fields.parsed("resume_from");
    submit.labels = labels(&mut fields);
    fields.finish()?;
    Ok(submit)
}

/// The key of the body, else the header's.
pub fn key(fields: &mut Fields, header: Option<&str>) -> Option<String> {
    let key = fields.limited("idempotency_key", Text::Key);
    match header {
        Some(header) if key.is_none() && !fields.failed("idempotency_key") => {
            let (max_bytes, config) = fields.limits().max(Text::Key);
            if header.is_empty() || header.len() > max_bytes {
                let message = format!("must have from 1 to {max_bytes} bytes ({config}), also as a header");
                fields.error("idempotency_key", message);
            }
            Some(header.to_owned())
        }
        _ => key,
    }
}

/// A script that is brought along: its source, and its name where it is given one.
fn brought(fields: &mut Fields) -> Option<(String, Option<String>)> {
    match fields.value("script") {
        None => None,
        Some(Value::String(source)) => Some((source, None)),
        Some(Value::Object(object)) => {
            let mut inner = fields.inner("script", object);
            let source = inner.text("source");
            let source = inner.required("source", source);
            let name = inner.limited("name", Text::Name);
            fields.take_errors(inner);
            Some((source, name))
        }
        Some(other) => fields.wrong("script", "a script's source", &other),
    }
}

/// The script that stands in for a job's own, where one is given.
pub fn other_script(fields: &mut Fields) -> Option<ScriptSource> {
    brought(fields).map(|(source, name)| ScriptSource::Script { source, name })
}

fn what(fields: &mut Fields) -> ScriptSource {
    let workflow = fields.limited("workflow", Text::Name);
    let script = if workflow.is_some() && fields.has("script") {
        let _ = fields.value("script");
        Some((String::new(), None))
    } else {
        brought(fields)
    };
    match (workflow, script) {
        (Some(name), None) => ScriptSource::Workflow(name),
        (None, Some((source, name))) => ScriptSource::Script { source, name },
        (Some(name), Some(_)) => {
            fields.error("script", "cannot stand beside `workflow`: a job runs one of the two");
            ScriptSource::Workflow(name)
        }
        (None, None) => {
            if !fields.failed("workflow") && !fields.failed("script") {
                fields.error("workflow", "is missing: a job runs a `workflow` by name, or a `script`");
            }
            ScriptSource::Workflow(String::new())
        }
    }
}

fn whole(fields: &mut Fields, name: &str, min: i64) -> Option<u64> {
    fields.whole(name, min..=WHOLE_MAX).and_then(|number| u64::try_from(number).ok())
}

fn retry(fields: &mut Fields) -> JobRetryPolicy {
    let max = fields.whole("max", 1..=1_000_000_u32);
    let max = fields.required("max", max);
    JobRetryPolicy {
        max,
        backoff_ms: whole(fields, "backoff_ms", 0).unwrap_or(1_000),
        factor: fields.number("factor", 0.0..=1_000.0).unwrap_or(2.0),
        max_backoff_ms: whole(fields, "max_backoff_ms", 0).unwrap_or(60_000),
        on: codes(fields, "on"),
        not_on: codes(fields, "not_on"),
    }
}

/// Codes of errors, or how they begin with a `*` behind it. Scripts throw codes of their own, so any name will do.
fn codes(fields: &mut Fields, name: &str) -> Vec<String> {
    let is_code = |code: &str| {
        let code = code.strip_suffix('*').unwrap_or(code);
        code.len() <= CODE_MAX_BYTES && code.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
    };
    let Some(value) = fields.value(name) else { return Vec::new() };
    let codes: Option<Vec<String>> = serde_json::from_value(value).ok();
    match codes.filter(|codes| codes.len() <= CODES_MAX && codes.iter().all(|code| !code.is_empty() && is_code(code))) {
        Some(codes) => codes,
        None => {
            let message = format!(
                "must be a list of up to {CODES_MAX} error codes, such as [\"timeout\", \"limit_*\"]; `moonlog errors` lists \
                 those there are"
            );
            fields.error(name, message);
            Vec::new()
        }
    }
}

/// The labels: names and texts.
pub fn labels(fields: &mut Fields) -> BTreeMap<String, String> {
    let max = fields.limits().labels;
    let ((name_max, name_key), (label_max, label_key)) =
        (fields.limits().max(Text::Name), fields.limits().max(Text::Label));
    let labels = fields.object("labels", |inner| {
        let mut labels = BTreeMap::new();
        for (name, value) in inner.rest() {
            match value {
                Value::String(text) if name.len() <= name_max && text.len() <= label_max => {
                    labels.insert(name, text);
                }
                Value::String(_) => inner.error(
                    &name,
                    format!(
                        "is too long: names have up to {name_max} bytes ({name_key}), values {label_max} ({label_key})"
                    ),
                ),
                other => inner.error(&name, format!("must be a text, and is {}", kind(&other))),
            }
        }
        labels
    });
    let labels = labels.unwrap_or_default();
    if labels.len() > max {
        fields.error("labels", format!("has {} labels, and {max} are allowed (limits.labels)", labels.len()));
    }
    labels
}

/// The answer to a submission that was refused.
pub fn refused(error: SubmitError) -> Problem {
    let text = error.to_string();
    match error {
        SubmitError::NoSuchWorkflow { name, nearest } => {
            let problem = Problem::not_found("no_such_workflow", text).with("workflow", name);
            match nearest {
                Some(nearest) => problem.with("nearest", nearest),
                None => problem,
            }
        }
        SubmitError::DoesNotCompile(problems) => Problem::bad_request("script_does_not_compile", text)
            .errors(problems.into_iter().map(script_error).collect()),
        SubmitError::InvalidArgs(errors) => {
            let errors = errors.into_iter().map(|e| FieldError::new(args_path(&e.path), e.message)).collect();
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_args", text).errors(errors)
        }
        SubmitError::KeyReused { job } => {
            Problem::new(StatusCode::CONFLICT, "idempotency_key_reused", text).with("job", job.to_string())
        }
        SubmitError::QueueFull { retry_after_ms, .. } => {
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "queue_full", text).retry_after_ms(retry_after_ms)
        }
        SubmitError::TooManyJobs { retry_after_ms, .. } => {
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_jobs", text).retry_after_ms(retry_after_ms)
        }
        SubmitError::NoSuchQueue { .. } => {
            Problem::bad_request("no_such_queue", text.clone()).errors(vec![FieldError::new("queue", text)])
        }
        SubmitError::TooLarge { what, limit_bytes, .. } => {
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", text.clone())
                .errors(vec![FieldError::new(what, text)])
                .with("limit_bytes", limit_bytes)
        }
        SubmitError::NoSuchSession { .. } => Problem::not_found("no_such_session", text),
        SubmitError::SessionClosed(error) => Problem::of(StatusCode::CONFLICT, &error),
        SubmitError::Invalid(error) => Problem::of(StatusCode::BAD_REQUEST, &error),
        SubmitError::Unavailable(error) => unavailable(&error),
    }
}

/// The answer to a command that was refused. `what` is what was not there, for `NoSuchJob`.
pub fn command_refused(error: CommandError, job: &dyn std::fmt::Display) -> Problem {
    match error {
        CommandError::NoSuchJob => super::app::no_such_job(job),
        CommandError::NotFound(error) => Problem::of(StatusCode::NOT_FOUND, &error),
        CommandError::Conflict(error) => Problem::of(StatusCode::CONFLICT, &error),
        CommandError::TooMany(error) => {
            let problem = Problem::of(StatusCode::TOO_MANY_REQUESTS, &error);
            if error.retryable { problem.retry_after_ms(1_000) } else { problem }
        }
        CommandError::Invalid(error) => invalid(&error),
        CommandError::Unavailable(error) => unavailable(&error),
        CommandError::Submit(error) => refused(error),
    }
}

/// A field of the command that is no good is named as those are that were no good when the body was read.
fn invalid(error: &moonlog_core::error_info::ErrorInfo) -> Problem {
    let details = error.details.as_ref().map(|details| details.to_value()).unwrap_or_default();
    match (details["field"].as_str(), details["message"].as_str()) {
        (Some(field), Some(message)) => {
            let problem = Problem::new(StatusCode::BAD_REQUEST, error.code.clone(), error.message.clone());
            problem.errors(vec![FieldError::new(field, message)])
        }
        _ => Problem::of(StatusCode::BAD_REQUEST, error),
    }
}

fn unavailable(error: &moonlog_core::error_info::ErrorInfo) -> Problem {
    let problem = Problem::of(StatusCode::SERVICE_UNAVAILABLE, error);
    if error.retryable { problem.retry_after_ms(1_000) } else { problem }
}

/// What is wrong with a script, as part of a problem.
pub fn script_error(problem: moonlog_scripts::Problem) -> FieldError {
    FieldError { path: "script".into(), message: problem.message, line: problem.line }
}

/// A JSON pointer into the arguments as a path of the body: `/items/2/name` is `args.items[2].name`.
fn args_path(pointer: &str) -> String {
    let mut path = String::from("args");
    for segment in pointer.split('/').skip(1) {
        let segment = segment.replace("~1", "/").replace("~0", "~");
        if !segment.is_empty() && segment.bytes().all(|b| b.is_ascii_digit()) {
            path.push_str(&format!("[{segment}]"));
        } else {
            path.push('.');
            path.push_str(&segment);
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::{super::text_limits::TextLimits, *};

    fn read_text(body: &str) -> Result<Submit, Problem> {
        read(Fields::read(body.as_bytes(), TextLimits::default())?, None)
    }

    #[test]
    fn a_full_submission_is_read() {
        let id = "019ab0c2-7d1e-7cc1-9d53-0a3d6b6f2f11";
        let body = format!(
            r#"{{"workflow":"w","args":{{"b":1,"a":[]}},"idempotency_key":"k","queue":"q","priority":-3,
            "run_at":"2026-11-21T07:32:31Z","timeout_ms":5,"retry":{{"max":3,"factor":1.5}},"budget_tokens":7,
            "concurrency_key":"c","session":"{id}","resume_from":"{id}","labels":{{"team":"x"}}}}"#
        );
        let submit = read_text(&body).unwrap();
        assert_eq!(submit.what, ScriptSource::Workflow("w".into()));
        assert_eq!(submit.args.unwrap().as_str(), r#"{"a":[],"b":1}"#);
        assert_eq!((submit.priority, submit.timeout_ms, submit.budget_tokens), (-3, Some(5), Some(7)));
        let retry = submit.retry.unwrap();
        assert_eq!((retry.max, retry.backoff_ms, retry.max_backoff_ms), (3, 1_000, 60_000));
        assert_eq!(submit.labels["team"], "x");
        let reordered = r#"{ "idempotency_key" : "k", "workflow" : "w" }"#;
        let first = read_text(r#"{"workflow":"w","idempotency_key":"k"}"#).unwrap().request_hash;
        assert_eq!(read_text(reordered).unwrap().request_hash, first);
        let of = |args: &str| {
            read_text(&format!(r#"{{"workflow":"w","idempotency_key":"k","args":{args}}}"#)).unwrap().request_hash
        };
        assert_eq!(of(r#"{"n":[1,-0.0,2e2]}"#), of(r#"{ "n" : [1.0, 0, 200] }"#));
        assert_ne!(of(r#"{"n":1}"#), of(r#"{"n":1.5}"#));
        assert!(first.is_some() && read_text(r#"{"workflow":"w"}"#).unwrap().request_hash.is_none());
    }

    #[test]
    fn pointers_become_paths() {
        for (pointer, path) in [("", "args"), ("/a", "args.a"), ("/a/0/b~1c", "args.a[0].b/c")] {
            assert_eq!(args_path(pointer), path);
        }
    }
}
