//! The catalogue of error codes.

use super::{
    app::App,
    jobs::part,
    problem::Problem,
    reply::{self, Response},
    request::Request,
};
use moonlog_core::error_code::{self, ErrorCode};
use std::sync::Arc;
use warp::http::StatusCode;

/// `GET /v1/errors`
pub async fn list(_: Arc<App>, request: Request) -> Result<Response, Problem> {
    let (items, next) = part(&request, error_code::all().collect::<Vec<&ErrorCode>>())?;
    Ok(reply::page(&items, next))
}

/// `GET /v1/errors/{code}`
pub async fn show(_: Arc<App>, request: Request) -> Result<Response, Problem> {
    let code = request.text(0);
    match error_code::find(code) {
        Some(code) => Ok(reply::json(StatusCode::OK, code)),
        None => {
            let code: String = code.chars().take(80).collect();
            let detail = format!("`{code}` is no error code of moonlog's; scripts may throw codes of their own");
            Err(Problem::not_found("no_such_code", detail))
        }
    }
}
