//! Errors across the border: what a script throws as `ErrorInfo`, and `ErrorInfo` as what a script catches.
//!
//! A thrown text has the code `script_error`. A thrown table with `code` or `message` keeps both, and its other fields
//! as details, beside those of a table `details` of its own; what catches it finds them either way. Anything else stands in the details as `thrown`. Both ways lead back to the same value, so that a script
//! that is replayed catches what it caught at first.

use crate::value::{self, Marks, Nulls};
use mlua::{Lua, Table, Value};
use moonlog_core::{error_info::ErrorInfo, json::Json};
use serde_json::{Map, Value as Tree};

/// The code of what a script itself throws.
const SCRIPT_ERROR: &str = "script_error";
/// An error's parts may be this long.
const ERROR_BYTES: usize = 256 << 10;

/// What was thrown, as it is recorded.
pub(crate) fn to_error(thrown: &Value, traceback: Option<String>, marks: &Marks) -> ErrorInfo {
    let mut error = match thrown {
        Value::String(text) => ErrorInfo::new(code_of(&text.to_string_lossy()), clip(text.to_string_lossy())),
        Value::Table(_) => match value::to_json(thrown, "error", marks, ERROR_BYTES).map(|json| json.to_value()) {
            Ok(Tree::Object(fields)) if fields.contains_key("code") || fields.contains_key("message") => {
                from_fields(fields)
            }
            Ok(tree) => {
                let mut error = ErrorInfo::new(SCRIPT_ERROR, clip(tree.to_string()));
                error.details = Some(serde_json::json!({ "thrown": tree }).into());
                error
            }
            Err(bad) => {
                ErrorInfo::new(SCRIPT_ERROR, format!("a table was thrown that cannot be shown: {}", bad.message))
            }
        },
        Value::Nil => ErrorInfo::new(SCRIPT_ERROR, "the script threw nil"),
        Value::Boolean(_) | Value::Integer(_) | Value::Number(_) => {
            let tree = value::to_json(thrown, "error", marks, ERROR_BYTES).map_or(Tree::Null, |json| json.to_value());
            let mut error = ErrorInfo::new(SCRIPT_ERROR, tree.to_string());
            error.details = Some(serde_json::json!({ "thrown": tree }).into());
            error
        }
        Value::Error(inner) => ErrorInfo::new(SCRIPT_ERROR, clip(inner.to_string())),
        other => ErrorInfo::new(SCRIPT_ERROR, format!("a {} was thrown", other.type_name())),
    };
    error.traceback = traceback.map(|text| script_frames(&text)).filter(|text| !text.is_empty()).or(error.traceback);
    error
}

/// Luau's own errors that stand for a limit get its code.
fn code_of(message: &str) -> &'static str {
    if message.ends_with("stack overflow") || message.contains("stack overflow (message handler") {
        "limit_recursion"
    } else {
        SCRIPT_ERROR
    }
}

fn clip(text: String) -> String {
    match text.char_indices().nth(ERROR_BYTES / 4) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn from_fields(mut fields: Map<String, Tree>) -> ErrorInfo {
    let mut text = |key: &str| match fields.shift_remove(key) {
        Some(Tree::String(text)) => Some(text),
        Some(Tree::Null) | None => None,
        Some(other) => Some(other.to_string()),
    };
    let code = text("code").unwrap_or_else(|| SCRIPT_ERROR.into());
    let message = text("message").unwrap_or_else(|| code.clone());
    let traceback = text("traceback");
    let retryable = matches!(fields.shift_remove("retryable"), Some(Tree::Bool(true)));
    if let Some(Tree::Object(_)) = fields.get("details")
        && let Some(Tree::Object(inner)) = fields.shift_remove("details")
    {
        for (key, field) in inner {
            fields.entry(key).or_insert(field);
        }
    }
    let details = (!fields.is_empty()).then(|| Json::from(Tree::Object(fields)));
    ErrorInfo { code, message, traceback, retryable, details }
}

/// What a script catches where `error` was recorded.
pub(crate) fn to_thrown(lua: &Lua, error: &ErrorInfo, marks: &Marks) -> mlua::Result<Value> {
    let details = error.details.as_ref().map(Json::to_value);
    match (error.code.as_str(), &details) {
        (SCRIPT_ERROR | "limit_recursion", None) => return Ok(Value::String(lua.create_string(&error.message)?)),
        (SCRIPT_ERROR, Some(Tree::Object(fields))) if fields.len() == 1 && fields.contains_key("thrown") => {
            return value::tree_to_lua(lua, &fields["thrown"], marks, Nulls::Nil);
        }
        _ => {}
    }
    to_table(lua, error, marks)
}

/// The error as the table `{code, message, retryable, ...}` that prints as its message.
pub(crate) fn to_table(lua: &Lua, error: &ErrorInfo, marks: &Marks) -> mlua::Result<Value> {
    let table = lua.create_table()?;
    match error.details.as_ref().map(Json::to_value) {
        Some(details @ Tree::Object(_)) if OF_EVERY_ERROR.iter().any(|name| details.get(name).is_some()) => {
            table.raw_set("details", value::tree_to_lua(lua, &details, marks, Nulls::Nil)?)?;
            fill(lua, &table, &details, marks)?;
        }
        Some(details @ Tree::Object(_)) => fill(lua, &table, &details, marks)?,
        Some(other) => table.raw_set("details", value::tree_to_lua(lua, &other, marks, Nulls::Nil)?)?,
        None => {}
    }
    name(&table, error, marks)?;
    Ok(Value::Table(table))
}

/// A plain table that was thrown, with what an error has: its own fields, code, message and retryable.
pub(crate) fn completed(lua: &Lua, thrown: &Table, error: &ErrorInfo, marks: &Marks) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    for pair in thrown.pairs::<Value, Value>() {
        let (key, value) = pair?;
        table.raw_set(key, value)?;
    }
    name(&table, error, marks)?;
    Ok(table)
}

/// What stands beside an error's details has these names, which its details may have too.
const OF_EVERY_ERROR: [&str; 3] = ["code", "message", "retryable"];

fn fill(lua: &Lua, table: &Table, details: &Tree, marks: &Marks) -> mlua::Result<()> {
    for (key, field) in details.as_object().into_iter().flatten() {
        table.raw_set(key.as_str(), value::tree_to_lua(lua, field, marks, Nulls::Nil)?)?;
    }
    Ok(())
}

/// Sets what every error has.
fn name(table: &Table, error: &ErrorInfo, marks: &Marks) -> mlua::Result<()> {
    table.raw_set("code", error.code.as_str())?;
    table.raw_set("message", error.message.as_str())?;
    table.raw_set("retryable", error.retryable)?;
    table.set_metatable(Some(marks.error.clone()))
}

/// The script's own frames of a traceback.
pub(crate) fn script_frames(traceback: &str) -> String {
    const FRAMES_MAX: usize = 50;
    let frames: Vec<&str> = traceback
        .lines()
        .map(str::trim)
        .filter(|line| !["[moonlog]", "[C]", "stack traceback:"].iter().any(|other| line.starts_with(other)))
        .filter(|line| !line.is_empty())
        .take(FRAMES_MAX)
        .collect();
    frames.join("\n")
}
