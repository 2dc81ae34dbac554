//! The console: one page, with its style and its script in it.

use super::{
    problem::Problem,
    reply::{self, Response},
};
use moonlog_core::event::EventBody;
use warp::http::{HeaderValue, StatusCode, header};

const PAGE: &str = include_str!("console.html");

/// `GET /`
pub async fn show() -> Result<Response, Problem> {
    Ok(page(StatusCode::OK))
}

/// The page. It holds nothing that needs a token; under 401 it asks for it.
pub fn page(status: StatusCode) -> Response {
    // What a job has named itself must never run as script: only what carries this answer's nonce does.
    let nonce = uuid::Uuid::now_v7().simple().to_string();
    let html = PAGE.replace("{{nonce}}", &nonce).replace("{{types}}", &EventBody::NAMES.join(","));
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let mut response = reply::bytes(status, HeaderValue::from_static("text/html; charset=utf-8"), html.into());
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(r#"Bearer realm="moonlog""#));
    }
    response
}
