//! Wakes the feeds of the whole log. Every commit would wake every follower; with hundreds of them and hundreds of
//! commits a second that alone fills a machine. So a wake is followed by a rest that grows with the number of those
//! who were woken. The first commit after a quiet time is told at once.

use moonlog_core::log::Log;
use std::time::Duration;
use tokio::sync::watch;
use tokio_stream::{StreamExt, wrappers::WatchStream};

/// The rest per woken follower: 500 of them are woken at most every 10 ms.
const REST_PER_FOLLOWER: Duration = Duration::from_micros(20);
const REST_MAX: Duration = Duration::from_millis(25);
/// Fewer followers than this are woken at every commit.
const FEW: usize = 50;

/// The head as feeds hear of it.
pub struct Pulse {
    heads: watch::Sender<u64>,
    task: tokio::task::JoinHandle<()>,
}

impl Pulse {
    pub fn start(log: &Log) -> Self {
        let mut source = log.watch_head();
        let heads = watch::Sender::new(*source.borrow_and_update());
        let sender = heads.clone();
        // Only the newest head counts: those in between are passed over while this rests.
        let mut commits = WatchStream::from_changes(source);
        let task = tokio::spawn(async move {
            while let Some(head) = commits.next().await {
                sender.send_replace(head);
                let followers = sender.receiver_count();
                if followers > FEW {
                    let rest = REST_PER_FOLLOWER.saturating_mul(u32::try_from(followers).unwrap_or(u32::MAX));
                    tokio::time::sleep(rest.min(REST_MAX)).await;
                }
            }
        });
        Self { heads, task }
    }

    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.heads.subscribe()
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.task.abort();
    }
}
