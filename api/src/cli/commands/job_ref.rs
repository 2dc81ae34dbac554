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
    let page = client.get_with("/v1/jobs", &[("limit", SEARCHED)]).await?;
    let ids = page["items"].as_array().into_iter().flatten().filter_map(|job| job["id"].as_str());
    meant("job", "moonlog jobs", text, ids)
}

/// Which of `ids`, the newest first, `text` means: the one that ends so, or `last`. `list` is the command that lists
/// them.
pub fn meant<'a>(
    noun: &str,
    list: &str,
    text: &str,
    mut ids: impl Iterator<Item = &'a str>,
) -> Result<String, Failure> {
    let end = text.to_ascii_lowercase();
    if end == "last" {
        let newest = ids.next().map(str::to_owned);
        return newest.ok_or_else(|| Failure::failed(format!("this server has no {noun}")));
    }
    let looks_like_an_end = end.len() >= SHORTEST && end.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    if !looks_like_an_end {
        return Err(Failure::usage(format!("`{text}` names no {noun}"))
            .hint(format!("give its id, the last characters of it, or `last`; `{list}` lists what there is")));
    }
    let mut found = ids.filter(|id| id.ends_with(&end));
    match (found.next(), found.next()) {
        (None, _) => Err(Failure::failed(format!("no {noun}'s id ends in `{text}`"))
            .hint(format!("`{list}` lists what this server has"))),
        (Some(_), Some(_)) => {
            Err(Failure::usage(format!("the ids of several end in `{text}`")).hint("give more of it"))
        }
        (Some(id), None) => Ok(id.to_owned()),
    }
}
