//! What drives the log's writer, and the end of that when the log is closed.

use super::{
    Poisoned, Stepper,
    sequencer::Intake,
    shared::{Shared, lock},
};
use std::{
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

/// What drives the log's writer.
pub enum Driver {
    /// A thread of its own.
    Thread(JoinHandle<()>),
    /// Somebody else.
    Stepper(Stepper),
}

/// Closes the log when the last handle is gone.
pub struct Writing {
    shared: Arc<Shared>,
    driver: Mutex<Option<Driver>>,
}

/// Why a position that was never given out will not be durable.
pub fn closed() -> Poisoned {
    Poisoned { reason: "the log was closed".into(), disk_full: false }
}

impl Writing {
    /// Closes what `driver` drives; none where the log is only to be read.
    pub fn new(shared: Arc<Shared>, driver: Option<Driver>) -> Self {
        Self { shared, driver: Mutex::new(driver) }
    }

    /// Takes no more, and returns when all that waits is written.
    pub fn close(&self) {
        let mut sequencer = lock(&self.shared.sequencer);
        if matches!(sequencer.intake, Intake::Open) {
            sequencer.intake = Intake::Stopped;
        }
        lock(&self.shared.queue).closed = true;
        drop(sequencer);
        self.shared.wake();
        let panicked = match lock(&self.driver).take() {
            Some(Driver::Thread(thread)) => thread.join().is_err(),
            Some(Driver::Stepper(stepper)) => {
                stepper.finish();
                false
            }
            None => false,
        };
        if panicked {
            tracing::error!("the log's writer panicked");
        }
        self.shared.watches.stop();
        self.shared.waiters.end(closed());
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.close();
    }
}
