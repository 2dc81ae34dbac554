//! Who is to be woken when a stream gets events.

use super::{Stopped, shared::lock};
use crate::event::{Event, StreamId};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};
use tokio::sync::watch;

/// The watched streams.
#[derive(Debug, Default)]
pub struct Watches {
    /// `None` once the log is closed.
    streams: Mutex<Watched>,
}

#[derive(Debug, Default)]
struct Watched {
    senders: HashMap<StreamId, watch::Sender<u64>>,
    stopped: bool,
}

/// Wakes when its stream has new durable events. Costs nothing while nothing happens in that stream.
#[derive(Debug)]
pub struct StreamWatch {
    stream: StreamId,
    receiver: watch::Receiver<u64>,
    watches: Arc<Watches>,
}

impl StreamWatch {
    /// Returns when the stream got durable events since this was made, or since this last returned.
    ///
    /// # Errors
    /// When the log is closed.
    pub async fn changed(&mut self) -> Result<(), Stopped> {
        self.receiver.changed().await.map_err(|_| Stopped)
    }

    /// The stream.
    pub fn stream(&self) -> &StreamId {
        &self.stream
    }
}

impl Drop for StreamWatch {
    fn drop(&mut self) {
        let mut watched = lock(&self.watches.streams);
        // This receiver is one of those counted.
        if watched.senders.get(&self.stream).is_some_and(|sender| sender.receiver_count() <= 1) {
            watched.senders.remove(&self.stream);
        }
    }
}

impl Watches {
    /// A watch on `stream`.
    pub fn watch(self: &Arc<Self>, stream: &StreamId) -> StreamWatch {
        let mut watched = lock(&self.streams);
        let receiver = if watched.stopped {
            watch::channel(0).1
        } else {
            watched.senders.entry(stream.clone()).or_insert_with(|| watch::channel(0).0).subscribe()
        };
        StreamWatch { stream: stream.clone(), receiver, watches: self.clone() }
    }

    /// Wakes those who watch the events' streams.
    pub fn notify(&self, events: &[Arc<Event>]) {
        let watched = lock(&self.streams);
        if watched.senders.is_empty() {
            return;
        }
        let mut last = None;
        for event in events {
            if last != Some(&event.stream)
                && let Some(sender) = watched.senders.get(&event.stream)
            {
                sender.send_replace(event.position);
            }
            last = Some(&event.stream);
        }
    }

    /// Tells everyone that nothing will come any more.
    pub fn stop(&self) {
        let mut watched = lock(&self.streams);
        watched.stopped = true;
        watched.senders.clear();
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        lock(&self.streams).senders.len()
    }
}
