//! The body of a submission, and why one may be refused.

use super::{
    body::{Fields, kind},
    problem::{FieldError, Problem},
};
use moonlog_core::{event::RetryPolicy, id::Hash};
use moonlog_runner::{CommandError, ScriptSource, Submit, SubmitError};
use serde_json::Value;
use std::collections::BTreeMap;
use warp::http::StatusCode;

const KEY_MAX_BYTES: usize = 512;
/// The longest name, in bytes.
pub const NAME_MAX_BYTES: usize = 256;
const LABEL_MAX_BYTES: usize = 1024;
/// JSON numbers up to here are the same in every language.
const WHOLE_MAX: i64 = (1 << 53) - 1;

/// Reads a submission. `key` is that of the header, which a key in the body wins over.
///
/// # Errors
/// 400 with everything that is wrong.
pub fn read(mut fields: Fields, key: Option<&str>, labels_max: usize) -> Result<Submit, Problem> {
    let canonical = (fields.has("idempotency_key") || key.is_some()).then(|| fields.canonical());
    let what = what(&mut fields);
    let mut submit = Submit::new(what);
    submit.idempotency_key = self::key(&mut fields, key);
    submit.request_hash = canonical.map(|text| Hash::of(text.as_bytes()));
    submit.args = fields.json("args");
    submit.queue = fields.short_text("queue", NAME_MAX_BYTES);
    submit.priority = fields.whole("priority", i32::MIN..=i32::MAX).unwrap_or(0);
    submit.run_at = fields.time("run_at");
    submit.timeout_ms = whole(&mut fields, "timeout_ms", 1);
    submit.retry = fields.object("retry", retry);
    submit.budget_tokens = whole(&mut fields, "budget_tokens", 0);
    submit.concurrency_key = fields.short_text("concurrency_key", KEY_MAX_BYTES);
    submit.session = fields.parsed("session");
    submit.resume_from = fields.parsed("resume_from");
    submit.labels = labels(&mut fields, labels_max);
    fields.finish()?;
    Ok(submit)
}

/// The key of the body, else the header's.
pub fn key(fields: &mut Fields, header: Option<&str>) -> Option<String> {
    let key = fields.short_text("idempotency_key", KEY_MAX_BYTES);
    match header {
        Some(header) if key.is_none() && !fields.failed("idempotency_key") => {
            if header.is_empty() || header.len() > KEY_MAX_BYTES {
                let message = format!("must have from 1 to {KEY_MAX_BYTES} bytes, also as a header");
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
        Some(value @ Value::Object(_)) => {
            let mut inner = Fields::of("script", value);
            let source = inner.text("source");
            let source = inner.required("source", source);
            let name = inner.short_text("name", NAME_MAX_BYTES);
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
    let workflow = fields.short_text("workflow", NAME_MAX_BYTES);
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

fn retry(fields: &mut Fields) -> RetryPolicy {
    let max = fields.whole("max", 1..=1_000_000_u32);
    let max = fields.required("max", max);
    RetryPolicy {
        max,
        backoff_ms: whole(fields, "backoff_ms", 0).unwrap_or(1_000),
        factor: fields.number("factor", 0.0..=1_000.0).unwrap_or(2.0),
        max_backoff_ms: whole(fields, "max_backoff_ms", 0).unwrap_or(60_000),
    }
}

/// The labels: names and texts.
pub fn labels(fields: &mut Fields, max: usize) -> BTreeMap<String, String> {
    let labels = fields.object("labels", |inner| {
        let mut labels = BTreeMap::new();
        for (name, value) in inner.rest() {
            match value {
                Value::String(text) if name.len() <= NAME_MAX_BYTES && text.len() <= LABEL_MAX_BYTES => {
                    labels.insert(name, text);
                }
                Value::String(_) => inner.error(
                    &name,
                    format!("is too long: names have up to {NAME_MAX_BYTES} bytes, values {LABEL_MAX_BYTES}"),
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
    use super::*;

    fn read_text(body: &str) -> Result<Submit, Problem> {
        read(Fields::read(body.as_bytes())?, None, 2)
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
