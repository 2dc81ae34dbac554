//! Answers: status, content type, bytes.

use bytes::Bytes;
use serde::Serialize;
use std::{
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll},
};
use tokio_stream::Stream;
use warp::{
    Reply,
    http::{HeaderValue, StatusCode, header},
};

/// An answer.
pub type Response = warp::reply::Response;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// An answer with these bytes.
pub fn bytes(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

/// An answer with the JSON form of `value`.
pub fn json<T: Serialize + ?Sized>(status: StatusCode, value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => bytes(status, JSON, body.into()),
        Err(error) => super::Problem::internal(&error).into_response(),
    }
}

/// An answer with JSON that is text already.
pub fn json_text(status: StatusCode, text: String) -> Response {
    bytes(status, JSON, text.into())
}

/// The same answer, with where the thing is that it shows.
pub fn located(mut response: Response, path: &str) -> Response {
    if let Ok(location) = HeaderValue::from_str(path) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// A page of a list: `{items, next}`.
pub fn page<T: Serialize>(items: &[T], next: Option<String>) -> Response {
    #[derive(Serialize)]
    struct Page<'a, T> {
        items: &'a [T],
        next: Option<String>,
    }
    json(StatusCode::OK, &Page { items, next })
}

/// An answer with no body.
pub fn empty(status: StatusCode) -> Response {
    status.into_response()
}

/// Marks an answer that may last: its client may be slow as long as it likes, within limits of its own.
#[derive(Clone, Copy)]
pub struct Lasting;

/// An answer whose body comes piece by piece.
pub fn stream<S>(content_type: HeaderValue, body: S) -> Response
where
    S: Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static,
{
    let mut response = warp::reply::stream(Exclusive(Mutex::new(Box::pin(body)))).into_response();
    response.extensions_mut().insert(Lasting);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies that would hold pieces back until they have many.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// A stream that may be shared between threads because it is only ever polled through `&mut`. warp asks for that.
struct Exclusive<S>(Mutex<S>);

impl<S: Stream + Unpin> Stream for Exclusive<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        Pin::new(self.0.get_mut().unwrap_or_else(PoisonError::into_inner)).poll_next(context)
    }
}
