//! Who is to be woken when a stream gets events.

use super::Stopped;

/// Wakes when its stream has new durable events. Costs nothing while nothing happens in that stream.
#[derive(Debug)]
pub struct StreamWatch {}

impl StreamWatch {
    /// Returns when the stream got durable events since this was made, or since this last returned.
    ///
    /// # Errors
    /// When the log is closed.
    pub async fn changed(&mut self) -> Result<(), Stopped> {
        todo!()
    }
}
