//! Blobs: bytes by their hash, which never change.

use super::{
    app::App,
    blocking::blocking,
    problem::Problem,
    reply::{self, Response},
    request::Request,
};
use moonlog_core::id::Hash;
use std::sync::Arc;
use warp::http::{HeaderValue, StatusCode, header};

/// `GET /v1/blobs/{hash}`
pub async fn show(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let hash: Hash = request.segment(0, "no_such_blob")?;
    let tag = format!("\"{hash}\"");
    let known = request.header("if-none-match").is_some_and(|tags| tags.split(',').any(|known| known.trim() == tag));
    let log = app.runner.log().clone();
    let Some(bytes) = blocking(move || log.blob(&hash)).await?? else {
        return Err(Problem::not_found("no_such_blob", format!("there is no blob {hash}")));
    };
    let mut response = if known {
        reply::empty(StatusCode::NOT_MODIFIED)
    } else {
        reply::bytes(StatusCode::OK, HeaderValue::from_static("application/octet-stream"), bytes.into())
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=31536000, immutable"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    Ok(response)
}
