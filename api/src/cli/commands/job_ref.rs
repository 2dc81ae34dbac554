//! Which job is meant: by its id, by the end of one, or `last`.

use crate::cli::{client::Client, failure::Failure};
use moonlog_core::id::JobId;

/// How many of the newest jobs are looked through.
const SEARCHED: &str = "200";
/// The fewest characters of an id's end.
const SHORTEST: usize = 4;

/// The id of the job that `text` means.
pub async fn resolve(client: &Client, text: &str) -> Result<String, Failure> {
    if text.parse::<JobId>().is_ok() {
        return Ok(text.to_owned());
    }
    let end = text.to_ascii_lowercase();
    let looks_like_an_end = end.len() >= SHORTEST && end.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    if end != "last" && !looks_like_an_end {
        return Err(Failure::usage(format!("`{text}` names no job"))
            .hint("give its id, the last characters of it, or `last`; `moonlog jobs` lists them"));
    }
    let page = client.get_with("/v1/jobs", &[("limit", SEARCHED)]).await?;
    let ids = page["items"].as_array().into_iter().flatten().filter_map(|job| job["id"].as_str());
    let mut found = ids.filter(|id| end == "last" || id.ends_with(&end));
    match (found.next(), found.next()) {
        (None, _) => Err(Failure::failed(format!("no job's id ends in `{text}`"))
            .hint("`moonlog jobs` lists the jobs of this server")),
        (Some(_), Some(_)) if end != "last" => {
            Err(Failure::usage(format!("several jobs' ids end in `{text}`")).hint("give more of it"))
        }
        (Some(id), _) => Ok(id.to_owned()),
    }
}
