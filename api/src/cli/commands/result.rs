//! What a job returned, as it is printed.

use crate::cli::{
    failure::{Failure, Status},
    markdown, output,
    paint::{Paint, harmless_lines},
    tree::End,
};
use moonlog_core::error_info::ErrorInfo;
use serde_json::{Value, json};

/// The code of an error that a script did not choose.
const UNEXPECTED: &str = "script_error";

/// Prints how the job ended: its result on standard output, or why there is none as a failure.
pub fn print(job: &str, end: &End, as_json: bool) -> Result<Status, Failure> {
    let (state, error) = match end {
        End::Completed(result) => return value(&result.to_value(), as_json),
        End::Failed(error) => ("failed", error.clone()),
        End::Cancelled(reason) => {
            let message = reason.as_deref().map_or_else(String::new, |reason| format!(": {reason}"));
            ("cancelled", ErrorInfo::new("cancelled", format!("the job was cancelled{message}")))
        }
        End::TimedOut(limit) => ("timed_out", ErrorInfo::new("timed_out", format!("the job reached its {limit}"))),
    };
    if as_json {
        output::json(&json!({"job": job, "state": state, "error": error}))?;
    }
    Err(failure(job, &error))
}

/// Prints a result.
pub fn value(result: &Value, as_json: bool) -> Result<Status, Failure> {
    let markdown = result.as_str().or_else(|| result["markdown"].as_str());
    match markdown {
        Some(text) if !as_json && output::is_terminal() => {
            output::text(&markdown::render(
                &harmless_lines(text),
                output::columns(),
                Paint::for_terminal(&std::io::stdout()),
            ))?;
        }
        Some(text) if !as_json => output::text(text)?,
        _ if result.is_null() && !as_json => {}
        _ => output::json(result)?,
    }
    Ok(Status::Done)
}

/// Why a job has no result.
fn failure(job: &str, error: &ErrorInfo) -> Failure {
    let mut lines = error.message.trim().lines();
    let first = lines.next().unwrap_or(&error.code).to_owned();
    // A script that throws an error of its own kind says all in it; of one that broke, the place is wanted.
    let traceback = error.traceback.as_deref().filter(|_| error.code == UNEXPECTED).unwrap_or_default().trim().lines();
    let details = lines.chain(traceback.filter(|line| !line.trim().is_empty()));
    Failure::failed(first)
        .details(details.map(|line| line.trim_end().to_owned()).collect::<Vec<_>>())
        .hint(format!("code {}; what happened: moonlog events {job}", error.code))
}
