//! The projector: follows the log's head, folds what is new into the views, and tells who waits for it.

use crate::{dispatcher::Message, runner::Inner};
use std::sync::Arc;

/// How many events one read takes.
const READ_EVENTS: usize = 4_096;

/// Follows the log until its last handle is gone or the runner stops.
pub(crate) async fn run(inner: Arc<Inner>, mut stop: tokio::sync::watch::Receiver<bool>) {
    let mut head = inner.log.watch_head();
    loop {
        loop {
            let events = match inner.log.read(inner.views.applied(), READ_EVENTS) {
                Ok(events) if events.is_empty() => break,
                Ok(events) => events,
                Err(error) => {
                    tracing::error!(%error, "the log cannot be read: the projections stand still");
                    return;
                }
            };
            inner.views.advance(&events);
            inner.waiters.wake(&events);
            inner.tell(Message::Applied(events));
        }
        if inner.views.checkpoint_due() {
            let views = inner.views.clone();
            tokio::task::spawn_blocking(move || {
                if let Err(error) = views.checkpoint() {
                    tracing::warn!(%error, "no snapshot was written; the next start folds more events");
                }
            });
        }
        tokio::select! {
            changed = head.changed() => if changed.is_err() { return },
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}
