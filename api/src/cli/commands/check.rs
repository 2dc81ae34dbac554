//! `moonlog check`: what is wrong with a script, without running it. Needs no server.

use super::script_file;
use crate::cli::{
    args::Check,
    failure::{Failure, Status},
    output,
};
use serde_json::json;
use std::path::Display;

/// Runs the command.
pub fn run(options: &Check) -> Result<Status, Failure> {
    let (source, name) = (script_file::read(&options.file)?, script_file::stem(&options.file));
    let checked = moonlog_scripts::check(&name, &source);
    if options.format.json {
        output::json(&match &checked {
            Ok(info) => json!({"ok": true, "info": info, "problems": []}),
            Err(problems) => json!({"ok": false, "problems": problems}),
        })?;
    }
    match checked {
        Ok(_) if options.format.json => Ok(Status::Done),
        Ok(info) => {
            let what = if info.is_workflow { "workflow" } else { "script" };
            let file = options.file.display();
            for warning in &info.warnings {
                output::text(&place(&file, warning.line, &format!("warning: {}", warning.message)))?;
            }
            output::text(&format!("ok: {what} {}", info.name.as_deref().unwrap_or(&name)))?;
            Ok(Status::Done)
        }
        Err(_) if options.format.json => Err(Failure::silent(Status::Failed)),
        Err(problems) => {
            let count = if problems.len() == 1 { "a problem".into() } else { format!("{} problems", problems.len()) };
            let file = options.file.display();
            let lines = problems.iter().map(|problem| place(&file, problem.line, &problem.message));
            Err(Failure::failed(format!("{file} has {count}")).details(lines))
        }
    }
}

/// `file:3: what is wrong`, which editors and terminals know how to follow.
fn place(file: &Display<'_>, line: Option<u32>, message: &str) -> String {
    match line {
        Some(line) => {
            format!("{file}:{line}: {}", message.strip_prefix(&format!("line {line}: ")).unwrap_or(message))
        }
        None => format!("{file}: {message}"),
    }
}
