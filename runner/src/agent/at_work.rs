//! How many of a turn's calls are at work, and do not just wait for a person.

use tokio::sync::watch;

/// See the module.
#[derive(Debug)]
pub(super) struct AtWork(watch::Sender<usize>);

/// One that is at work, until this is dropped.
pub(super) struct Working<'a>(&'a AtWork);

impl AtWork {
    /// Nobody yet.
    pub(super) fn new() -> Self {
        Self(watch::channel(0).0)
    }

    /// One more.
    pub(super) fn begin(&self) -> Working<'_> {
        self.0.send_modify(|count| *count += 1);
        Working(self)
    }

    /// Comes when nobody is.
    pub(super) async fn nobody(&self) {
        // The sender lives as long as this does.
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}
