//! What a server's refusal (RFC 9457, `application/problem+json`) means to the person at the command line.

use super::{
    failure::{Failure, Status},
    paint::harmless,
};
use serde::Deserialize;

/// The fields of a problem that are read here.
#[derive(Debug, Default, Deserialize)]
pub struct Problem {
    #[serde(default)]
    title: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    errors: Vec<Place>,
    first_position: Option<u64>,
}

/// One thing that is wrong in what was sent.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Place {
    path: String,
    line: Option<u64>,
    message: String,
}

/// The failure that an answer with this status and body stands for.
pub fn failure(status: u16, body: &str) -> Failure {
    let problem: Problem = serde_json::from_str(body).unwrap_or_default();
    let message = [&problem.detail, &problem.title].into_iter().find(|text| !text.is_empty());
    let message = message.map_or_else(|| format!("the server answered with status {status}"), |text| tidy(text));
    // A single error has been said in whole already.
    let said = problem.errors.len() == 1 && problem.errors.iter().all(|place| message.contains(&tidy(&place.message)));
    let places = problem.errors.iter().filter(|_| !said).map(Place::show);
    let mut failure = Failure::new(exit(status, &problem.code), message.clone()).details(places);
    failure.first_position = problem.first_position.filter(|_| status == 410);
    match hint(status, &problem.code) {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

impl Place {
    fn show(&self) -> String {
        let place = match (self.line, self.path.as_str()) {
            (Some(_), _) if self.message.starts_with("line ") => return tidy(&self.message),
            (Some(line), _) => format!("line {line}"),
            (None, "") => return tidy(&self.message),
            (None, path) => path.to_owned(),
        };
        format!("{}: {}", tidy(&place), tidy(&self.message))
    }
}

/// Lines stay lines; nothing else may act on the terminal.
fn tidy(text: &str) -> String {
    text.trim().lines().map(|line| harmless(line).into_owned()).collect::<Vec<_>>().join("\n  ")
}

fn exit(status: u16, code: &str) -> Status {
    match (status, code) {
        (502..=504, _) => Status::Unreachable,
        // What was submitted or asked for is wrong in itself.
        (400 | 401 | 403 | 413 | 415 | 422, _) => Status::Usage,
        (404, code) if code.contains("workflow") => Status::Usage,
        _ => Status::Failed,
    }
}

fn hint(status: u16, code: &str) -> Option<&'static str> {
    Some(match (status, code) {
        (401, _) => "set MOONLOG_TOKEN to the server's token",
        (404, code) if code.contains("workflow") => {
            "`moonlog workflows` lists those there are; a script file is given by its path, such as ./hello.luau"
        }
        (404, code) if code.contains("job") => "`moonlog jobs` lists the jobs of this server",
        (413, _) => "the limits stand in `moonlog config`",
        (422, _) => "`moonlog workflows NAME` shows which arguments it takes",
        (429, _) => "try again later, or raise the queue's capacity in moonlog.toml",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_readable() {
        let bodies = [
            (
                404,
                r#"{"title":"Not Found","detail":"no workflow is named `repo-reprt`; did you mean `repo-report`?","code":"no_such_workflow","status":404}"#,
            ),
            (404, r#"{"detail":"no such job","code":"no_such_job"}"#),
            (
                422,
                r#"{"detail":"args do not fit the schema","code":"invalid_args","errors":[{"path":"/path","message":"7 is not of type string"}]}"#,
            ),
            (
                400,
                r#"{"detail":"the script does not compile","code":"does_not_compile","errors":[{"line":3,"message":"expected `end`"}]}"#,
            ),
            (409, r#"{"detail":"the job has ended","code":"job_ended"}"#),
            (503, r#"{"detail":"the log refuses appends: disk full\u001b[2J","code":"poisoned"}"#),
            (500, "<html>"),
        ];
        let shown: Vec<_> =
            bodies.map(|(status, body)| failure(status, body)).map(|f| format!("{f}\n-> {:?}", f.status)).into();
        insta::assert_snapshot!(shown.join("\n\n"));
    }
}
