//! A feed: a cursor that gives its events piece by piece, and waits for more.

use super::{FeedError, Reader, hub::FeedHub, render::Rendered};
use bytes::{Bytes, BytesMut};
use futures_util::future::Either;
use moonlog_core::{event::Event, log::StreamWatch};
use std::{collections::VecDeque, io, pin::Pin, sync::Arc, time::Duration};
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::{Instant, Sleep, sleep_until},
};
use tokio_stream::Stream;

/// About how much is handed over at once. A slow client holds one such piece, and the server's memory stays flat.
const PIECE_BYTES: usize = 64 << 10;

/// In which form events are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `text/event-stream`
    ServerSent,
    /// `application/x-ndjson`
    Lines,
}

/// A feed that is being read.
pub struct Follow {
    hub: Arc<FeedHub>,
    reader: Reader,
    format: Format,
    /// Ends behind this position; never where `None`.
    until: Option<u64>,
    /// How many more events may be given.
    left: u64,
    wake: Wake,
    stop: watch::Receiver<bool>,
    keep_alive: Duration,
    silent_since: Instant,
    /// Fires when the feed may have been silent for long enough. Kept from wake to wake, and set anew only when it fires:
    /// timers cost more than what most wakes do.
    alarm: Pin<Box<Sleep>>,
    begun: bool,
    done: bool,
    /// Read, wanted, and still to be given.
    waiting: VecDeque<Arc<Event>>,
    _place: OwnedSemaphorePermit,
}

/// What wakes a feed.
enum Wake {
    All(watch::Receiver<u64>),
    Stream(StreamWatch),
}

impl Follow {
    pub(super) fn new(
        hub: Arc<FeedHub>,
        reader: Reader,
        format: Format,
        until: Option<u64>,
        limit: Option<u64>,
        place: OwnedSemaphorePermit,
    ) -> Self {
        let wake = match reader.scope().stream() {
            None => Wake::All(hub.pulse.subscribe()),
            Some(stream) => Wake::Stream(hub.log.watch_stream(&stream)),
        };
        Self {
            stop: hub.stop.clone(),
            keep_alive: hub.options.keep_alive,
            silent_since: Instant::now(),
            alarm: Box::pin(sleep_until(Instant::now() + hub.options.keep_alive)),
            hub,
            reader,
            format,
            until,
            left: limit.unwrap_or(u64::MAX),
            wake,
            begun: false,
            done: false,
            waiting: VecDeque::new(),
            _place: place,
        }
    }

    /// Reads the first page, so that what is wrong is known before anything is given; of a job that has ended, and of a log
    /// with gaps, reads up to the first event that the feed would give. `false` where that job has none.
    ///
    /// # Errors
    /// Where the log cannot be read, or events were removed from it.
    pub async fn look_ahead(&mut self) -> Result<bool, FeedError> {
        loop {
            let page = self.reader.next(self.until).await?;
            self.waiting.extend(page.events);
            let looks_on = page.more && (self.hub.log.has_gaps() || self.reader.closed()?);
            if !self.waiting.is_empty() || !looks_on {
                return Ok(!(self.waiting.is_empty() && self.reader.ended()));
            }
        }
    }

    /// The feed's pieces.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, io::Error>> + Send {
        futures_util::stream::unfold(self, |mut feed| async move {
            match feed.next_piece().await {
                Ok(Some(piece)) => Some((Ok(piece), feed)),
                Ok(None) => None,
                // The connection is cut, so that the client knows that this was not the end.
                Err(error) => {
                    // What was given goes out first: the server writes when there is nothing more to take for a moment.
                    tokio::task::yield_now().await;
                    tracing::warn!(%error, "a feed was cut");
                    feed.done = true;
                    Some((Err(io::Error::other(error)), feed))
                }
            }
        })
    }

    async fn next_piece(&mut self) -> Result<Option<Bytes>, FeedError> {
        if self.done {
            return Ok(None);
        }
        if !self.begun {
            self.begun = true;
            if self.format == Format::ServerSent {
                return Ok(Some(Bytes::from_static(b"retry: 1000\n\n")));
            }
        }
        loop {
            if let Some(piece) = self.take_piece() {
                self.silent_since = Instant::now();
                return Ok(Some(piece));
            }
            if self.left == 0 || *self.stop.borrow() {
                return Ok(None);
            }
            let page = self.reader.next(self.until).await?;
            let found = !page.events.is_empty();
            self.waiting.extend(page.events);
            if found {
                continue;
            }
            if !page.more {
                let at_end = self.until.is_some_and(|until| self.reader.scanned() >= until);
                if self.reader.ended() || at_end || !self.changed().await {
                    return Ok(None);
                }
            }
            // Also in the middle of a long scan that finds nothing.
            if self.silent_since.elapsed() >= self.keep_alive {
                self.silent_since = Instant::now();
                if self.format == Format::ServerSent {
                    return Ok(Some(self.keep_alive()));
                }
            }
        }
    }

    /// Returns when there may be more, or a sign of life is due; `false` where the feed ends.
    async fn changed(&mut self) -> bool {
        loop {
            let changed = match &mut self.wake {
                Wake::All(heads) => Either::Left(async { heads.changed().await.is_ok() }),
                Wake::Stream(stream) => Either::Right(async { stream.changed().await.is_ok() }),
            };
            tokio::select! {
                alive = changed => return alive,
                () = stopped(&mut self.stop) => return false,
                () = &mut self.alarm => {
                    let due = self.silent_since + self.keep_alive;
                    if Instant::now() >= due {
                        self.alarm.as_mut().reset(Instant::now() + self.keep_alive);
                        return true;
                    }
                    self.alarm.as_mut().reset(due);
                }
            }
        }
    }

    /// As many of the waiting events as make a piece.
    fn take_piece(&mut self) -> Option<Bytes> {
        if self.waiting.is_empty() || self.left == 0 {
            return None;
        }
        let count = self.waiting.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        // Few at a time: texts may be large, and only those that are given should be held.
        let batch: Vec<Arc<Event>> = self.waiting.drain(..count.min(256)).collect();
        let texts = self.hub.renderer.render(&batch);
        let mut size = 0;
        let fit = texts.iter().take_while(|text| {
            let first = size == 0;
            size += text.sse().len();
            first || size <= PIECE_BYTES
        });
        let taken = fit.count();
        for event in batch[taken..].iter().rev() {
            self.waiting.push_front(event.clone());
        }
        self.left -= taken as u64;
        self.hub.stats.sent(taken as u64);
        Some(match self.format {
            Format::ServerSent => joined(texts[..taken].iter().map(|text| text.sse().clone())),
            Format::Lines => joined(texts[..taken].iter().map(Rendered::line)),
        })
    }

    /// Moves the client's cursor to what was looked at, and dispatches nothing.
    fn keep_alive(&self) -> Bytes {
        format!(": keep-alive\nid: {}\n\n", self.reader.scanned()).into()
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        self.hub.stats.closed();
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stopped| *stopped).await;
}

/// One text as it is, shared with all who give it; several put together, for fewer writes.
fn joined(mut texts: impl ExactSizeIterator<Item = Bytes>) -> Bytes {
    if texts.len() == 1 {
        return texts.next().unwrap_or_default();
    }
    let mut all = BytesMut::with_capacity(PIECE_BYTES);
    texts.for_each(|text| all.extend_from_slice(&text));
    all.freeze()
}
