//! `moonlog trace`: what took how long in a job, as a waterfall.

use super::{job_ref, usage};
use crate::cli::{
    args::Trace,
    client::{Client, segment},
    failure::{Failure, Status},
    output,
    paint::{Look, Paint, harmless},
};
use moonlog_core::time::Timestamp;
use serde_json::Value;
use std::collections::HashMap;

/// How wide a bar is.
const BAR_COLUMNS: usize = 32;
/// How much of a name is shown.
const NAME_COLUMNS: usize = 44;

/// Runs the command.
pub async fn run(client: &Client, options: &Trace) -> Result<Status, Failure> {
    let id = job_ref::resolve(client, &options.job).await?;
    let trace = client.get(&format!("/v1/jobs/{}/traces", segment(&id))).await?;
    if options.format.json {
        output::json(&trace)?;
    } else {
        output::text(&waterfall(&trace, Paint::for_terminal(&std::io::stdout())))?;
    }
    Ok(Status::Done)
}

fn time(value: &Value) -> Option<i64> {
    value.as_str()?.parse::<Timestamp>().ok().map(Timestamp::as_micros)
}

/// The trace as lines: name, bar, duration, tokens.
fn waterfall(trace: &Value, paint: Paint) -> String {
    let spans: Vec<&Value> = trace["spans"].as_array().into_iter().flatten().collect();
    let Some(begin) = spans.first().and_then(|span| time(&span["started_at"])) else { return String::new() };
    let ends = spans.iter().flat_map(|span| [time(&span["ended_at"]), time(&span["started_at"])]).flatten();
    let length = ends.max().unwrap_or(begin).saturating_sub(begin).max(1);
    let mut below: HashMap<&str, Vec<&Value>> = HashMap::new();
    for span in &spans {
        if let Some(parent) = span["parent"].as_str() {
            below.entry(parent).or_default().push(span);
        }
    }
    let mut out = String::new();
    let mut rest: Vec<(&Value, usize)> = spans.first().map(|root| (*root, 0)).into_iter().collect();
    while let Some((span, depth)) = rest.pop() {
        out.push_str(&line(span, depth, begin, length, paint));
        let children = span["id"].as_str().and_then(|id| below.get(id)).into_iter().flatten();
        rest.extend(children.rev().map(|child| (*child, depth + 1)));
    }
    let usage = &trace["usage"];
    if usage["prompt_tokens"].as_u64().unwrap_or(0) > 0 {
        let sum = format!(
            "{} prompt tokens ({} cached{}), {} completion tokens{}\n",
            usage["prompt_tokens"],
            usage["cached_tokens"],
            percent(&trace["cache_hit_rate"]),
            usage["completion_tokens"],
            usage::beside(usage)
        );
        out.push_str(&paint.put(Look::Dim, &sum));
    }
    out
}

fn line(span: &Value, depth: usize, begin: i64, length: i64, paint: Paint) -> String {
    let text = |key: &str| span[key].as_str().unwrap_or("");
    let model = span["model"].as_str().map(|model| format!(" {model}")).unwrap_or_default();
    let name = format!("{}{} {}{model}", "  ".repeat(depth.min(10)), text("kind"), harmless(text("name")));
    let name = console::pad_str(&name, NAME_COLUMNS, console::Alignment::Left, Some("…")).into_owned();
    let from = time(&span["started_at"]).unwrap_or(begin).saturating_sub(begin);
    let to = time(&span["ended_at"]).map_or(length, |at| at.saturating_sub(begin));
    let column = |at: i64| ((at as f64 / length as f64) * BAR_COLUMNS as f64) as usize;
    let start = column(from).min(BAR_COLUMNS - 1);
    let width = (column(to).min(BAR_COLUMNS)).saturating_sub(start).max(1);
    let bar = format!("{}{}{}", " ".repeat(start), "█".repeat(width), " ".repeat(BAR_COLUMNS - start - width));
    let look = match text("outcome") {
        "ok" => Look::Green,
        "running" | "skipped" => Look::Cyan,
        "cancelled" | "interrupted" => Look::Yellow,
        _ => Look::Red,
    };
    let took = span["duration_ms"].as_u64().map_or_else(|| "running".into(), |ms| format!("{ms} ms"));
    let mut said = vec![format!("{took:>10}")];
    if text("outcome") != "ok" && text("outcome") != "running" {
        said.push(text("outcome").into());
    }
    if span["cached"].as_bool() == Some(true) {
        said.push("cached".into());
    }
    if span["usage"].is_object() {
        let usage = &span["usage"];
        let (prompt, completion) = (&usage["prompt_tokens"], &usage["completion_tokens"]);
        let (cached, beside) = (percent(&span["cache_hit_rate"]), usage::beside(usage));
        said.push(format!("{prompt}+{completion} tokens{cached}{beside}"));
    }
    format!("{name} {} {}\n", paint.put(look, &bar), said.join(", "))
}

fn percent(rate: &Value) -> String {
    rate.as_f64().map(|rate| format!(", {:.0}% cached", rate * 100.0)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn spans_stand_below_those_that_they_are_in() {
        let at = |ms: u32| format!("2026-11-21T10:00:00.{:06}Z", ms * 1000);
        let trace = json!({
            "spans": [
                { "id": "job", "kind": "job", "name": "w", "started_at": at(0), "ended_at": at(100), "duration_ms": 100, "outcome": "ok" },
                { "id": "a", "parent": "job", "kind": "step", "name": "ask", "started_at": at(0), "ended_at": at(50), "duration_ms": 50, "outcome": "error" },
                { "id": "b", "parent": "job", "kind": "step", "name": "sleep", "started_at": at(50), "outcome": "running" },
                { "id": "t", "parent": "a", "kind": "turn", "name": "turn 1", "model": "main", "started_at": at(0), "ended_at": at(25),
                  "duration_ms": 25, "outcome": "ok", "usage": { "prompt_tokens": 10, "completion_tokens": 2, "cost": 0.000125, "estimated": true }, "cache_hit_rate": 0.5 },
            ],
            "usage": { "prompt_tokens": 10, "completion_tokens": 2, "cached_tokens": 5 }, "cache_hit_rate": 0.5,
        });
        let shown = waterfall(&trace, Paint::OFF);
        let first_words: Vec<&str> = shown.lines().map(|line| line.trim_start().split(' ').next().unwrap()).collect();
        assert_eq!(first_words, ["job", "step", "turn", "step", "10"]);
        assert!(shown.lines().nth(2).unwrap().contains("10+2 tokens, 50% cached, cost 0.000125, estimated"), "{shown}");
        assert!(shown.lines().nth(1).unwrap().contains(&format!("{}{}", "█".repeat(16), " ".repeat(16))), "{shown}");
    }
}
