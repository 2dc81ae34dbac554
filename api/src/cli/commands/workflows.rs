//! `moonlog workflows`: lists what can be run, and shows one.

use super::jobs::text;
use crate::cli::{
    args::Workflows,
    client::{Client, segment},
    failure::{Failure, Status},
    output,
    paint::{Look, Paint, harmless},
    table::Table,
};
use serde_json::Value;

/// Runs the command.
pub async fn run(client: &Client, options: &Workflows) -> Result<Status, Failure> {
    match &options.name {
        Some(name) => one(client, name, options).await,
        None => all(client, options).await,
    }
}

async fn one(client: &Client, name: &str, options: &Workflows) -> Result<Status, Failure> {
    let workflow = client.get(&format!("/v1/workflows/{}", segment(name))).await?;
    if options.source {
        output::text(&text(&workflow["source"]))?;
    } else if options.format.json {
        output::json(&workflow)?;
    } else {
        output::text(&describe(&workflow, Paint::for_terminal(&std::io::stdout())))?;
    }
    Ok(Status::Done)
}

async fn all(client: &Client, options: &Workflows) -> Result<Status, Failure> {
    let mut answer = client.get_with("/v1/workflows", &[("limit", "200")]).await?;
    if options.format.json {
        output::json(&answer)?;
        return Ok(Status::Done);
    }
    let Value::Array(items) = answer["items"].take() else {
        return Err(Failure::failed("the server's answer lists no workflows"));
    };
    let mut table = Table::new(&["NAME", "FROM", "DESCRIPTION"]);
    for item in &items {
        table.row([text(&item["name"]), origin(item), about(item)]);
    }
    output::table(&table)?;
    Ok(Status::Done)
}

/// Where it comes from, and what of the same name it hides.
fn origin(item: &Value) -> String {
    let shadows: Vec<String> = item["shadows"].as_array().into_iter().flatten().map(text).collect();
    let from = text(&item["origin"]);
    if shadows.is_empty() { from } else { format!("{from} (shadows {})", shadows.join(", ")) }
}

fn about(item: &Value) -> String {
    match item["errors"].as_array().and_then(|errors| errors.first()) {
        Some(problem) => {
            let message = text(&problem["message"]);
            let line = problem["line"].as_u64().filter(|_| !message.starts_with("line "));
            format!("broken: {}{message}", line.map(|line| format!("line {line}: ")).unwrap_or_default())
        }
        None => text(&item["description"]),
    }
}

fn describe(workflow: &Value, paint: Paint) -> String {
    let mut out = format!("{}\n", paint.put(Look::Bold, &harmless(&text(&workflow["name"]))));
    let description = text(&workflow["description"]);
    if !description.is_empty() {
        out.push_str(&format!("{}\n", harmless(&description)));
    }
    out.push_str(&format!("\nfrom    {}\nhash    {}\n", harmless(&origin(workflow)), text(&workflow["hash"])));
    let phases: Vec<_> = workflow["phases"].as_array().into_iter().flatten().map(text).collect();
    if !phases.is_empty() {
        out.push_str(&format!("phases  {}\n", harmless(&phases.join(" → "))));
    }
    if workflow["args_schema"].is_object() {
        out.push_str("\narguments\n");
        out.push_str(&arguments(&workflow["args_schema"], paint));
    }
    out
}

fn arguments(schema: &Value, paint: Paint) -> String {
    let required: Vec<_> = schema["required"].as_array().into_iter().flatten().map(text).collect();
    let mut out = String::new();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let mut facts = vec![text(&property["type"])];
        if required.contains(name) {
            facts.push("required".into());
        }
        if let Some(default) = property.get("default") {
            facts.push(format!("default {default}"));
        }
        let facts = facts.into_iter().filter(|fact| !fact.is_empty()).collect::<Vec<_>>().join(", ");
        let facts = paint.put(Look::Dim, &facts).into_owned();
        let name = paint.put(Look::Cyan, name).into_owned();
        out.push_str(&format!("  {name}  {facts}  {}\n", harmless(&text(&property["description"]))));
    }
    out
}
