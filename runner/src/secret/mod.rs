//! Secrets: which exist and where each may go (`secrets`), the forms in which a value may show up in an output
//! (`forms`), and the scrubber that removes them from a stream (`scrubber`). A value leaves this folder only towards
//! the command or host that it is configured for.

mod forms;
mod scrubber;
mod secrets;

pub use scrubber::Scrubber;
pub use secrets::{Place, SecretSource, Secrets};
