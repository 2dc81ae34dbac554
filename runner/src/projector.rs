//! The projector: follows the log's head, folds what is new into the views, and tells who waits for it.

use crate::{dispatcher::Message, inner::Inner};
use std::sync::Arc;
use tokio::{sync::watch, task::JoinHandle};

/// How many events one read takes.
const READ_EVENTS: usize = 4_096;

/// Follows the log until its last handle is gone, it refuses, or the runner stops.
pub(crate) async fn run(inner: Arc<Inner>, stop: watch::Receiver<bool>) {
    follow(&inner, stop).await;
    inner.waiters.end();
}

async fn follow(inner: &Arc<Inner>, mut stop: watch::Receiver<bool>) {
    let mut head = inner.log.watch_head();
    let refused = inner.log.durable(u64::MAX);
    tokio::pin!(refused);
    let mut checkpoint: Option<JoinHandle<()>> = None;
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
            inner.shared.apply(&events);
            inner.views.advance(&events);
            // Whoever goes on because of them finds the dispatcher told.
            let events = Arc::new(events);
            inner.tell(Message::Applied(events.clone()));
            inner.waiters.wake(&events);
            inner.workspaces.hear(&events);
            inner.stir(&events);
        }
        if inner.views.checkpoint_due() && checkpoint.as_ref().is_none_or(JoinHandle::is_finished) {
            let views = inner.views.clone();
            checkpoint = Some(inner.options.threads.begin(move || {
                if let Err(error) = views.checkpoint() {
                    tracing::warn!(%error, "no snapshot was written; the next start folds more events");
                }
            }));
        }
        tokio::select! {
            biased;
            changed = head.changed() => if changed.is_err() { return },
            // What was durable before is folded already, or is in a moment: a refusal comes behind the last publication.
            _ = &mut refused, if !inner.waiters.is_over() => inner.waiters.end(),
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}
