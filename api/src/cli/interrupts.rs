//! Ctrl-C and SIGTERM, for commands that do not end with the first of them.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Hears them from when it is made.
pub struct Interrupts {
    terminate: Option<Signal>,
    interrupt: Option<Signal>,
}

impl Interrupts {
    /// Begins to hear them.
    pub fn new() -> Self {
        Self { terminate: signal(SignalKind::terminate()).ok(), interrupt: signal(SignalKind::interrupt()).ok() }
    }

    /// Comes with the next.
    pub async fn next(&mut self) {
        async fn one(signal: &mut Option<Signal>) {
            match signal {
                Some(signal) => {
                    signal.recv().await;
                }
                None => std::future::pending().await,
            }
        }
        tokio::select! {
            () = one(&mut self.interrupt) => {}
            () = one(&mut self.terminate) => {}
        }
    }
}
