//! Feeds over HTTP: which form, from where, of what.

use super::{
    app::{App, no_such_job},
    problem::{FieldError, Problem},
    query::invalid,
    reply::{self, Response},
    request::Request,
};
use crate::feed::{self, FeedError, Filter, Format, Scope};
use moonlog_core::id::JobId;
use std::sync::Arc;
use warp::http::{HeaderValue, Method, StatusCode, header};

/// Events of a page.
const PAGE_DEFAULT: u64 = 50;
const PAGE_MAX: u64 = 10_000;

/// In which form events are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Media {
    Stream(Format),
    Page,
}

/// `GET /v1/events`
pub async fn all(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    give(&app, request, Scope::All).await
}

/// `GET /v1/jobs/{id}/events`
pub async fn of_job(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let id: JobId = request.segment(0, "no_such_job")?;
    give(&app, request, Scope::Job(id)).await
}

async fn give(app: &App, request: Request, scope: Scope) -> Result<Response, Problem> {
    let media = media(request.head.headers.get_all(header::ACCEPT).iter())?;
    let query = &request.query;
    let filter = Filter {
        types: query.parsed("types")?,
        job: query.parsed("job")?,
        session: query.parsed("session")?,
        process: query.parsed("process")?,
    };
    let follow = query.boolean("follow")?;
    let limit = query.whole("limit", 1, u64::MAX)?;
    let after = after(&request)?;
    let refused = |error| refuse(error, &scope);
    let reader = app.feeds.reader(scope.clone(), filter, after).map_err(refused)?;
    match media {
        Media::Page => {
            if follow == Some(true) {
                return Err(invalid(
                    "follow",
                    "a page ends: ask for text/event-stream or application/x-ndjson to follow",
                ));
            }
            let limit = limit.unwrap_or(PAGE_DEFAULT).min(PAGE_MAX);
            let page = feed::read_page(&app.feeds, reader, limit).await.map_err(refused)?;
            Ok(reply::json_text(StatusCode::OK, page.json))
        }
        Media::Stream(format) => {
            let follow = follow.unwrap_or(format == Format::ServerSent);
            let Some(mut feed) = app.feeds.follow(reader, format, follow, limit) else {
                return Err(Problem::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "too_many_feeds",
                    format!("{} feeds are open, which is the limit (limits.feeds)", app.options.limits.feeds),
                )
                .retry_after_ms(1_000));
            };
            let more = feed.look_ahead().await.map_err(refused)?;
            if format == Format::ServerSent && !more {
                // What an EventSource takes as: do not come again.
                return Ok(reply::empty(StatusCode::NO_CONTENT));
            }
            let content_type = HeaderValue::from_static(match format {
                Format::ServerSent => "text/event-stream",
                Format::Lines => "application/x-ndjson",
            });
            if request.head.method == Method::HEAD {
                let mut response = reply::empty(StatusCode::OK);
                response.headers_mut().insert(header::CONTENT_TYPE, content_type);
                return Ok(response);
            }
            Ok(reply::stream(content_type, feed.into_stream()))
        }
    }
}

/// Where to begin: behind `Last-Event-ID`, which a client that comes back sends, else behind `after`, else at the first
/// event. `None` is the head.
fn after(request: &Request) -> Result<Option<u64>, Problem> {
    let last_id = request.head.headers.get("last-event-id").map(|id| id.to_str().unwrap_or("?").trim());
    let (name, text) = match last_id.filter(|id| !id.is_empty()) {
        Some(id) => ("Last-Event-ID", id),
        None => match request.query.text("after") {
            Some("head") => return Ok(None),
            Some(text) => ("after", text),
            None => return Ok(Some(0)),
        },
    };
    text.parse().map(Some).map_err(|_| {
        let message = format!("must be a position or `head`, and is `{}`", text.chars().take(80).collect::<String>());
        Problem::bad_request("invalid_cursor", format!("`{name}` {message}"))
            .errors(vec![FieldError::new(name, message)])
    })
}

/// The form that the client likes best; of equals the one that it names first.
fn media<'a>(accept: impl Iterator<Item = &'a HeaderValue>) -> Result<Media, Problem> {
    let mut best: Option<(f32, Media)> = None;
    let mut given = false;
    for value in accept {
        for range in value.to_str().unwrap_or_default().split(',').map(str::trim).filter(|range| !range.is_empty()) {
            given = true;
            let mut parts = range.split(';').map(str::trim);
            let media = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
                "text/event-stream" | "text/*" => Media::Stream(Format::ServerSent),
                "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Media::Stream(Format::Lines),
                "application/json" | "application/*" | "*/*" => Media::Page,
                _ => continue,
            };
            let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse::<f32>().ok());
            let quality = quality.unwrap_or(0.0);
            if quality > 0.0 && best.is_none_or(|(other, _)| quality > other) {
                best = Some((quality, media));
            }
        }
    }
    match best {
        Some((_, media)) => Ok(media),
        None if !given => Ok(Media::Page),
        None => Err(Problem::new(
            StatusCode::NOT_ACCEPTABLE,
            "not_acceptable",
            "a feed comes as text/event-stream, application/x-ndjson or application/json",
        )),
    }
}

fn refuse(error: FeedError, scope: &Scope) -> Problem {
    let text = error.to_string();
    match (error, scope) {
        (FeedError::NoSuchJob, Scope::Job(job)) => no_such_job(job),
        (FeedError::BeyondHead { head, .. }, _) => Problem::bad_request("cursor_beyond_head", text).with("head", head),
        (FeedError::Removed { first, .. }, _) => {
            Problem::new(StatusCode::GONE, "events_removed", text).with("first_position", first)
        }
        (FeedError::Stopped, _) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", text),
        (FeedError::Read(error), _) => error.into(),
        (_, _) => Problem::internal(&text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_what_the_client_likes_best() {
        let (sse, lines) = (Media::Stream(Format::ServerSent), Media::Stream(Format::Lines));
        let table = [
            (&[][..], Some(Media::Page)),
            (&["*/*"], Some(Media::Page)),
            (&["text/event-stream"], Some(sse)),
            (&["application/x-ndjson"], Some(lines)),
            (&["application/json"], Some(Media::Page)),
            (&["application/json;q=0.5, text/event-stream"], Some(sse)),
            (&["text/html,application/xhtml+xml,*/*;q=0.8"], Some(Media::Page)),
            (&["application/json;q=0", "application/x-ndjson;q=0.1"], Some(lines)),
            (&["TEXT/EVENT-STREAM; charset=utf-8"], Some(sse)),
            (&["text/html"], None),
            (&["text/event-stream;q=0"], None),
        ];
        for (accept, expected) in table {
            let values: Vec<HeaderValue> = accept.iter().map(|text| HeaderValue::from_static(text)).collect();
            assert_eq!(media(values.iter()).ok(), expected, "{accept:?}");
        }
    }
}
