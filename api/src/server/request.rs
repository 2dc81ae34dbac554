//! A request as handlers get it.

use super::{
    blocking::blocking, body::Fields, options::ServeOptions, problem::Problem, query::Query, text_limits::TextLimits,
};
use bytes::{Bytes, BytesMut};
use std::{pin::Pin, str::FromStr, time::Duration};
use tokio_stream::{Stream, StreamExt};
use warp::http::{HeaderMap, Method, StatusCode, header};

/// A body that comes piece by piece.
pub type BodyStream = Pin<Box<dyn Stream<Item = Result<Bytes, warp::Error>> + Send>>;

/// What is read and thrown away of a body that is too large, so that the client, which sends before it listens, hears
/// the answer: this many times the limit.
const DISCARD_TIMES: u64 = 8;
/// Larger bodies are taken apart on a thread of their own.
const PARSE_HERE_BYTES: usize = 256 << 10;
const DISCARD_TIME: Duration = Duration::from_secs(10);

/// What stands before the body.
pub struct Head {
    pub method: Method,
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
}

/// A request.
pub struct Request {
    pub head: Head,
    /// What stands at the path's variables, decoded, in their order.
    pub segments: Vec<String>,
    pub query: Query,
    pub body: BodyStream,
}

impl Request {
    /// A variable of the path, as what it must be.
    ///
    /// # Errors
    /// 404: nothing can be there under such a name.
    pub fn segment<T: FromStr<Err: std::fmt::Display>>(&self, at: usize, code: &'static str) -> Result<T, Problem> {
        self.text(at).parse().map_err(|error| Problem::not_found(code, format!("{error}")))
    }

    /// A variable of the path.
    pub fn text(&self, at: usize) -> &str {
        self.segments.get(at).map_or("", String::as_str)
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name)?.to_str().ok()
    }

    /// The body's fields.
    ///
    /// # Errors
    /// 400, 408, 413, 415
    pub async fn fields(&mut self, options: &ServeOptions) -> Result<Fields, Problem> {
        let body = self.read(options.limits.body_max_bytes, options).await?;
        let limits = TextLimits::of(&options.limits);
        if !body.is_empty() {
            check_type(&self.head.headers)?;
        }
        if body.len() > PARSE_HERE_BYTES {
            // Long enough to hold up the others that this thread serves.
            return blocking(move || Fields::read(&body, limits)).await?;
        }
        Fields::read(&body, limits)
    }

    /// The body of a type that is no JSON, of at most `limit` bytes.
    ///
    /// # Errors
    /// 400, 408, 413, 415
    pub async fn bytes(
        &mut self,
        media_type: &'static str,
        limit: u64,
        options: &ServeOptions,
    ) -> Result<Bytes, Problem> {
        let given = self.header("content-type").unwrap_or_default();
        if given.split(';').next().is_none_or(|essence| !essence.trim().eq_ignore_ascii_case(media_type)) {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                format!("the body must be {media_type}"),
            ));
        }
        self.read(limit, options).await
    }

    async fn read(&mut self, limit: u64, options: &ServeOptions) -> Result<Bytes, Problem> {
        let declared = self.head.headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
        if declared.is_some_and(|bytes| bytes > limit) {
            // A client that asked first has sent nothing.
            if self.head.headers.get(header::EXPECT).is_none() {
                self.discard(limit).await;
            }
            return Err(too_large(limit));
        }
        let body = tokio::time::timeout(options.body_read_timeout(), collect(&mut self.body, limit)).await;
        match body {
            Ok(Ok(Some(body))) => Ok(body),
            Ok(Ok(None)) => {
                self.discard(limit).await;
                Err(too_large(limit))
            }
            Ok(Err(error)) => Err(Problem::bad_request("incomplete_body", format!("the body did not arrive: {error}"))),
            Err(_) => Err(Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "body_timeout",
                format!("the body did not arrive within {} ms", options.body_read_timeout().as_millis()),
            )),
        }
    }

    async fn discard(&mut self, limit: u64) {
        let mut left = limit.saturating_mul(DISCARD_TIMES);
        let rest = async {
            while let Some(Ok(piece)) = self.body.next().await {
                left = left.saturating_sub(piece.len() as u64);
                if left == 0 {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(DISCARD_TIME, rest).await;
    }
}

/// The whole body; `None` where it is too large.
async fn collect(body: &mut BodyStream, limit: u64) -> Result<Option<Bytes>, warp::Error> {
    let Some(first) = body.next().await.transpose()? else { return Ok(Some(Bytes::new())) };
    let Some(second) = body.next().await.transpose()? else {
        return Ok((first.len() as u64 <= limit).then_some(first));
    };
    let mut all = BytesMut::with_capacity(2 * (first.len() + second.len()));
    all.extend_from_slice(&first);
    all.extend_from_slice(&second);
    while all.len() as u64 <= limit {
        match body.next().await.transpose()? {
            Some(piece) => all.extend_from_slice(&piece),
            None => return Ok(Some(all.freeze())),
        }
    }
    Ok(None)
}

fn too_large(limit: u64) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "body_too_large",
        format!("the body is larger than {limit} bytes (limits.body_max_bytes, for bundles limits.import_max_bytes)"),
    )
    .with("limit_bytes", limit)
}

/// JSON, or no type at all; browsers cannot send JSON to another origin without asking first. `curl -d` calls whatever
/// it sends a form: that is let through too, but not from a browser, whose forms always tell their origin.
fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(given) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let text = given.to_str().unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let from_page = headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site");
    if essence == "application/x-www-form-urlencoded" && !from_page {
        return Ok(());
    }
    if essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json")) {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        format!("the body must be application/json, and is `{}`", text.chars().take(80).collect::<String>()),
    )
    .header(header::ACCEPT, warp::http::HeaderValue::from_static("application/json")))
}
