//! `moonlog approve`: lists what waits for a decision, and decides.

use super::{job_ref, jobs::text};
use crate::cli::{
    args::Approve,
    client::{Client, segment},
    failure::{Failure, Status},
    output,
    table::Table,
};
use serde_json::{Value, json};

/// Runs the command.
pub async fn run(client: &Client, options: &Approve) -> Result<Status, Failure> {
    let Some(job) = &options.job else { return list(client, options.format.json).await };
    let job = job_ref::resolve(client, job).await?;
    let approval = match &options.approval {
        Some(approval) => approval.clone(),
        None => only(client, &job).await?,
    };
    let by = options.by.clone().or_else(|| std::env::var("USER").ok().filter(|user| !user.is_empty()));
    let mut body = json!({"approved": !options.deny});
    for (name, value) in [("by", by), ("note", options.note.clone())] {
        if let Some(value) = value {
            body[name] = json!(value);
        }
    }
    let path = format!("/v1/jobs/{}/approvals/{}", segment(&job), segment(&approval));
    let answer = client.post(&path, &body).await?;
    if options.format.json {
        output::json(&answer)?;
    } else {
        output::text(&format!("{} {approval} of {job}", if options.deny { "denied" } else { "approved" }))?;
    }
    Ok(Status::Done)
}

async fn open(client: &Client) -> Result<Vec<Value>, Failure> {
    let mut page = client.get_with("/v1/approvals", &[("limit", "200")]).await?;
    Ok(match page["items"].take() {
        Value::Array(items) => items,
        _ => Vec::new(),
    })
}

async fn list(client: &Client, as_json: bool) -> Result<Status, Failure> {
    let open = open(client).await?;
    if as_json {
        output::json(&open)?;
        return Ok(Status::Done);
    }
    if open.is_empty() {
        output::note("nothing waits for an approval");
        return Ok(Status::Done);
    }
    let mut table = Table::new(&["JOB", "APPROVAL", "NAME", "TITLE"]);
    for approval in &open {
        let title = [&approval["title"], &approval["input"]].into_iter().map(text).find(|text| !text.is_empty());
        let cells = ["job", "id", "name"].map(|field| text(&approval[field]));
        table.row(cells.into_iter().chain(title));
    }
    output::table(&table)?;
    Ok(Status::Done)
}

/// The job's only open approval.
async fn only(client: &Client, job: &str) -> Result<String, Failure> {
    let open = open(client).await?;
    let open: Vec<String> = open.iter().filter(|item| item["job"] == job).map(|item| text(&item["id"])).collect();
    match open.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(Failure::failed(format!("job {job} waits for no approval"))),
        several => {
            Err(Failure::usage("the job waits for several approvals: name one").details(several.iter().cloned()))
        }
    }
}
