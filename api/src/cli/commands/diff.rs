//! `moonlog diff`: two jobs beside each other. The exit status tells whether they differ.

use super::{job_ref, jobs::text};
use crate::cli::{
    args::Diff,
    client::{Client, segment},
    failure::{Failure, Status},
    output,
    paint::harmless,
};
use serde_json::Value;

/// How much of a value is shown, in characters.
const SHOWN_CHARS: usize = 300;

/// Runs the command.
pub async fn run(client: &Client, options: &Diff) -> Result<Status, Failure> {
    let left = job_ref::resolve(client, &options.job).await?;
    let right = job_ref::resolve(client, &options.other).await?;
    let diff = client.get(&format!("/v1/jobs/{}/diff/{}", segment(&left), segment(&right))).await?;
    if options.format.json {
        output::json(&diff)?;
    } else {
        output::text(&lines(&diff).join("\n"))?;
    }
    if diff["same"] == true { Ok(Status::Done) } else { Err(Failure::silent(Status::Failed)) }
}

/// What differs, in lines: what the first job has behind `-`, what the second has behind `+`.
fn lines(diff: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    if diff["same"] == true {
        lines.push("the jobs did the same".to_owned());
    }
    if let Some(first) = diff.get("first") {
        let place = first["path"].as_str().map_or_else(String::new, |path| format!(" at step {}", harmless(path)));
        let version = |side: &str| match first["versions"][side].as_u64() {
            Some(version) => version.to_string(),
            None => "none".to_owned(),
        };
        let (what, left, right) = (text(&first["what"]), version("left"), version("right"));
        lines.push(format!("they part{place}: {what} (version {left} and {right})"));
    }
    for part in ["script", "args"] {
        sides(&mut lines, part, &diff[part]["left"], &diff[part]["right"]);
    }
    for step in diff["steps"].as_array().into_iter().flatten() {
        let path = harmless(step["path"].as_str().unwrap_or_default()).into_owned();
        for what in step["what"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            match what {
                "only_left" => lines.push(format!("step {path}\n  - {}", shown(&step["left"]["input"]))),
                "only_right" => lines.push(format!("step {path}\n  + {}", shown(&step["right"]["input"]))),
                what => sides(&mut lines, &format!("step {path} {what}"), &step["left"][what], &step["right"][what]),
            }
        }
    }
    for part in ["event", "result", "error"] {
        sides(&mut lines, &format!("end {part}"), &diff["end"]["left"][part], &diff["end"]["right"][part]);
    }
    lines
}

fn sides(lines: &mut Vec<String>, what: &str, left: &Value, right: &Value) {
    if left != right {
        lines.push(format!("{what}\n  - {}\n  + {}", shown(left), shown(right)));
    }
}

fn shown(value: &Value) -> String {
    let text = harmless(&text(value)).into_owned();
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
