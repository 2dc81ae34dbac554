//! Which process is meant: by its id, by the end of one, or `last`.

use super::job_ref::meant;
use crate::cli::{client::Client, failure::Failure};
use moonlog_core::id::ProcessId;

/// The id of the process that `text` means.
pub async fn resolve(client: &Client, text: &str) -> Result<String, Failure> {
    if text.parse::<ProcessId>().is_ok() {
        return Ok(text.to_owned());
    }
    let list = client.get("/v1/processes").await?;
    let mut newest: Vec<_> = list["processes"].as_array().into_iter().flatten().collect();
    newest.sort_by_key(|process| std::cmp::Reverse(process["id"].as_str()));
    meant("process", "moonlog ps", text, newest.into_iter().filter_map(|process| process["id"].as_str()))
}
