//! Errors as answers: RFC 9457 problem details, always with a stable `code`.

use super::reply::{self, Response};
use moonlog_core::{error_info::ErrorInfo, log::ReadError, storage::StorageError};
use serde::Serialize;
use std::borrow::Cow;
use warp::http::{HeaderName, HeaderValue, StatusCode, header};

/// What is wrong with one part of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// The part: `retry.max`, `labels.team`, `args.items[2]`; a query parameter or a path segment by its name.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// The line, where the part is a script.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
}

impl FieldError {
    /// An error at `path`.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into(), line: None }
    }
}

/// An error as it is answered.
#[derive(Debug, Clone)]
pub struct Problem(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    status: StatusCode,
    code: Cow<'static, str>,
    detail: String,
    errors: Vec<FieldError>,
    members: serde_json::Map<String, serde_json::Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        let text = error.to_string();
        match error {
            ReadError::Poisoned(_) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "log_unavailable", text),
            ReadError::Storage(StorageError::Io { .. }) => {
                tracing::error!(%error, "the disk failed a request");
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "disk_failed", text)
            }
            error => Problem::internal(&error),
        }
    }
}

impl Problem {
    /// A problem with its status, stable code, and what to tell a person.
    pub fn new(status: StatusCode, code: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            status,
            code: code.into(),
            detail: detail.into(),
            errors: Vec::new(),
            members: serde_json::Map::new(),
            headers: Vec::new(),
        }))
    }

    /// 400
    pub fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// 404
    pub fn not_found(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, detail)
    }

    /// 500. The cause goes to the server's own log, not to the client.
    pub fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "a request failed inside the server");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the server failed; its log says why")
    }

    /// An error of the runner's, under `status`.
    pub fn of(status: StatusCode, error: &ErrorInfo) -> Self {
        let problem = Self::new(status, error.code.clone(), error.message.clone());
        match &error.details {
            Some(details) => problem.with("details", details.to_value()),
            None => problem,
        }
    }

    /// The same, with what is wrong in which part.
    #[must_use]
    pub fn errors(mut self, errors: Vec<FieldError>) -> Self {
        self.0.errors = errors;
        self
    }

    /// The same, with a member of its own.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<serde_json::Value>) -> Self {
        self.0.members.insert(name.into(), value.into());
        self
    }

    /// The same, with a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// The same, with when to try again.
    #[must_use]
    pub fn retry_after_ms(self, ms: u64) -> Self {
        // The header counts in seconds, and 0 would invite to hammer.
        self.header(header::RETRY_AFTER, HeaderValue::from(ms.div_ceil(1000).max(1)))
    }

    /// Its code.
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The answer.
    pub fn into_response(self) -> Response {
        let mut response = reply::bytes(self.0.status, MEDIA_TYPE, self.body().into());
        response.headers_mut().insert(header::CACHE_CONTROL, NO_STORE);
        response.headers_mut().extend(self.0.headers);
        response
    }

    /// The answer as bytes of HTTP/1.1, after which the connection is closed.
    pub fn to_http1(&self) -> Vec<u8> {
        let (status, body) = (self.0.status, self.body());
        let mut answer = format!("HTTP/1.1 {} {}\r\n", status.as_u16(), reason(status)).into_bytes();
        let length = HeaderValue::from(body.len());
        let date = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        for (name, value) in [
            (header::CONTENT_TYPE, MEDIA_TYPE.as_bytes()),
            (header::CONTENT_LENGTH, length.as_bytes()),
            (header::CACHE_CONTROL, NO_STORE.as_bytes()),
            (header::X_CONTENT_TYPE_OPTIONS, b"nosniff"),
            (header::CONNECTION, b"close"),
            (header::DATE, date.as_bytes()),
        ] {
            for part in [name.as_str().as_bytes(), b": ", value, b"\r\n"] {
                answer.extend_from_slice(part);
            }
        }
        answer.extend_from_slice(b"\r\n");
        answer.extend_from_slice(&body);
        answer
    }

    fn body(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Body<'a> {
            r#type: String,
            title: &'a str,
            status: u16,
            detail: &'a str,
            code: &'a str,
            #[serde(skip_serializing_if = "Vec::is_empty")]
            errors: &'a Vec<FieldError>,
            #[serde(flatten)]
            members: &'a serde_json::Map<String, serde_json::Value>,
        }
        let inner = &*self.0;
        let body = Body {
            r#type: format!("/v1/errors/{}", inner.code),
            title: reason(inner.status),
            status: inner.status.as_u16(),
            detail: &inner.detail,
            code: &inner.code,
            errors: &inner.errors,
            members: &inner.members,
        };
        serde_json::to_vec(&body).unwrap_or_default()
    }
}

const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

fn reason(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or("Error")
}
