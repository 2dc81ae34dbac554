//! `runner/TOOLS.md` is what the tools say of themselves. `WRITE_REFERENCE=1 cargo test -p moonlog-runner --test tools
//! reference` writes it anew.

use crate::place::Place;
use moonlog_runner::tool::ToolDefinition;
use serde_json::Value;
use std::fmt::Write;

#[tokio::test]
async fn the_reference_says_what_the_tools_say() {
    let place = Place::start().await;
    let written = reference(&place.tools().definitions());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/TOOLS.md");
    if std::env::var_os("WRITE_REFERENCE").is_some() {
        std::fs::write(path, &written).unwrap();
    }
    let there = std::fs::read_to_string(path).unwrap_or_default();
    assert!(there == written, "runner/TOOLS.md is not up to date: see runner/tests/tools/reference.rs");
}

fn reference(tools: &[ToolDefinition]) -> String {
    let mut text = String::from(
        "# Tools\n\nWhat agents and scripts may call; scripts by `tool(name, input)`. `GET /v1/tools` gives the same, with the \
         schemas. Written by a test, from the tools' own definitions with the default limits.\n",
    );
    for tool in tools {
        write!(text, "\n## `{}`\n\n{}\n\n| field | type | |\n|---|---|---|\n", tool.name, tool.description).unwrap();
        rows(&mut text, "", &tool.input_schema);
    }
    text
}

fn rows(text: &mut String, prefix: &str, schema: &Value) {
    let required: Vec<&Value> = schema["required"].as_array().into_iter().flatten().collect();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let needed = if required.contains(&&Value::from(name.as_str())) { " (required)" } else { "" };
        let description = field["description"].as_str().unwrap_or_default().replace('|', "\\|");
        writeln!(text, "| `{prefix}{name}`{needed} | {} | {description} |", kind(field)).unwrap();
        rows(text, &format!("{prefix}{name}[]."), &field["items"]);
    }
}

fn kind(field: &Value) -> String {
    if let Some(values) = field["enum"].as_array() {
        return values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ");
    }
    if let Some(forms) = field["anyOf"].as_array() {
        return forms.iter().map(kind).collect::<Vec<_>>().join(" or ");
    }
    field["type"].as_str().unwrap_or("any").to_owned()
}
