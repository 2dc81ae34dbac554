//! A job's or the log's feed, followed over broken connections: no event is missed and none comes twice.

use super::{
    client::{Client, segment, with_query},
    failure::{Failure, Status},
    output,
    sse::Parser,
};
use crate::envelope::Envelope;
use moonlog_core::event::Event;
use reqwest::{Method, Response, StatusCode, header};
use std::{collections::VecDeque, time::Duration};
use tokio::sync::mpsc;

/// The server speaks every 15 s; one that has been silent for three times as long is gone.
const SILENCE: Duration = Duration::from_secs(45);
/// Waits between attempts to reach a server that went away, before it is given up.
const RECONNECTS_MS: [u64; 7] = [100, 250, 500, 1_000, 2_000, 4_000, 8_000];

/// Events read before they are used.
const EVENTS_AHEAD: usize = 256;

/// What to read.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Only this job's events.
    pub job: Option<String>,
    /// Only events that name this session.
    pub session: Option<String>,
    /// Only these types.
    pub types: Option<String>,
    /// Only events behind this position.
    pub after: Option<String>,
    /// Go on with new events.
    pub follow: bool,
    /// At most this many.
    pub limit: Option<u64>,
}

/// An open feed.
#[derive(Debug)]
pub struct Feed {
    client: Client,
    query: Query,
    response: Option<Response>,
    parser: Parser,
    ready: VecDeque<String>,
    cursor: Option<String>,
    given: u64,
}

impl Feed {
    /// Opens the feed.
    pub async fn open(client: &Client, query: Query) -> Result<Self, Failure> {
        let cursor = query.after.clone();
        let mut feed = Self {
            client: client.clone(),
            query,
            response: None,
            parser: Parser::default(),
            ready: VecDeque::new(),
            cursor,
            given: 0,
        };
        feed.response = feed.connect().await?;
        Ok(feed)
    }

    /// The next event as the line that the server sent; `None` at the end.
    pub async fn next_line(&mut self) -> Result<Option<String>, Failure> {
        loop {
            if self.query.limit.is_some_and(|limit| self.given >= limit) {
                return Ok(None);
            }
            if let Some(line) = self.ready.pop_front() {
                self.given += 1;
                return Ok(Some(line));
            }
            let Some(response) = &mut self.response else { return Ok(None) };
            match tokio::time::timeout(SILENCE, response.chunk()).await {
                Ok(Ok(Some(piece))) => {
                    self.ready.extend(self.parser.feed(&piece).into_iter().map(|message| message.data));
                    if let Some(id) = self.parser.last_id() {
                        self.cursor = Some(id.to_owned());
                    }
                }
                // The end. Where the feed follows, only a 204 says that nothing more will come: it may have been the
                // server that ended.
                Ok(Ok(None)) if !self.query.follow => self.response = None,
                Ok(Ok(None) | Err(_)) | Err(_) => self.response = self.reconnect().await?,
            }
        }
    }

    /// The next event, and the line it came in.
    pub async fn next(&mut self) -> Result<Option<Event>, Failure> {
        match self.next_line().await? {
            None => Ok(None),
            Some(line) => read_event(&self.client, &line).await.map(Some),
        }
    }

    async fn reconnect(&mut self) -> Result<Option<Response>, Failure> {
        self.parser = Parser::default();
        let mut last = Failure::unreachable("the server cannot be reached");
        for wait_ms in RECONNECTS_MS {
            match self.connect().await {
                Err(failure) if failure.status == Status::Unreachable => last = failure,
                other => return other,
            }
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        }
        Err(last)
    }

    /// `None` where the server says that nothing more will come.
    async fn connect(&mut self) -> Result<Option<Response>, Failure> {
        loop {
            match self.try_connect().await {
                Err(failure) if self.query.job.is_none() && failure.first_position.is_some() => {
                    let first = failure.first_position.unwrap_or_default();
                    output::note(&format!("events were removed here; it goes on at position {first}"));
                    self.cursor = Some(first.saturating_sub(1).to_string());
                }
                connected => return connected,
            }
        }
    }

    async fn try_connect(&self) -> Result<Option<Response>, Failure> {
        let path = match &self.query.job {
            Some(job) => format!("/v1/jobs/{}/events", segment(job)),
            None => "/v1/events".to_owned(),
        };
        let limit = self.query.limit.map(|limit| (limit - self.given).to_string());
        let query = [
            ("session", self.query.session.as_deref().unwrap_or_default()),
            ("types", self.query.types.as_deref().unwrap_or_default()),
            ("after", self.cursor.as_deref().unwrap_or_default()),
            ("limit", limit.as_deref().unwrap_or_default()),
            ("follow", if self.query.follow { "true" } else { "false" }),
        ];
        let request = self.client.request(Method::GET, &with_query(&path, &query));
        let request = request.header(header::ACCEPT, "text/event-stream");
        let response = self.client.send(request).await?;
        Ok((response.status() != StatusCode::NO_CONTENT).then_some(response))
    }
}

/// A feed's events, read by a task of its own: reading must not be broken off in the middle, which `select!` does.
pub fn events(mut feed: Feed) -> mpsc::Receiver<Result<Event, Failure>> {
    let (sender, receiver) = mpsc::channel(EVENTS_AHEAD);
    tokio::spawn(async move {
        while let Some(event) = feed.next().await.transpose() {
            let failed = event.is_err();
            if sender.send(event).await.is_err() || failed {
                return;
            }
        }
    });
    receiver
}

/// Reads one line of a feed, and fetches what was left out of it.
pub async fn read_event(client: &Client, line: &str) -> Result<Event, Failure> {
    let unreadable = |error: String| {
        Failure::failed(format!("cannot read the server's feed: {error}"))
            .hint("the server may be of a newer version than this command")
    };
    let envelope = Envelope::parse(line).map_err(unreadable)?;
    let data = match envelope.blob() {
        Some(blob) => Some(String::from_utf8_lossy(&client.blob(&blob.blob.to_string()).await?).into_owned()),
        None => None,
    };
    envelope.into_event(data.as_deref()).map_err(unreadable)
}
