//! Asking an agent to stop where it stands, with what it has so far recorded.

use std::sync::Arc;
use tokio::sync::watch;

/// Why an agent is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// Somebody asked for it.
    Asked,
    /// Its time is up.
    TimedOut,
}

/// Asks. Clones ask the same agent.
#[derive(Debug, Clone)]
pub(crate) struct Interrupter(Arc<watch::Sender<Option<Why>>>);

/// Is asked.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt(watch::Receiver<Option<Why>>);

/// Both ends.
pub(crate) fn interrupt() -> (Interrupter, Interrupt) {
    let (sender, receiver) = watch::channel(None);
    (Interrupter(Arc::new(sender)), Interrupt(receiver))
}

impl Interrupter {
    /// Asks; the first reason counts.
    pub(crate) fn ask(&self, why: Why) {
        self.0.send_if_modified(|asked| {
            let is_first = asked.is_none();
            asked.get_or_insert(why);
            is_first
        });
    }

    /// Whether anybody has asked.
    pub(super) fn has_asked(&self) -> bool {
        self.0.borrow().is_some()
    }
}

impl Interrupt {
    /// Whether it was asked.
    pub(crate) fn asked(&self) -> Option<Why> {
        *self.0.borrow()
    }

    /// Comes when it is asked; never where nobody can ask any more.
    pub(crate) async fn wait(&mut self) -> Why {
        loop {
            if let Some(why) = self.asked() {
                return why;
            }
            if self.0.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
