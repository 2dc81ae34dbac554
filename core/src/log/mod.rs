//! The log: one sequence of events, durable before anyone is told of it. `handle` is the way in. An append goes from
//! `sequencer` (positions, versions, times) to `writer` (frames, write, sync, publish); reads go through `reader` over
//! `tail` and `index`. `frame` and `record` hold the stored grammar. Nothing here knows what keeps the bytes, nor what
//! events mean, but for which of them close a stream.

mod append;
mod error;
mod handle;
mod options;
mod verify;
mod watches;

pub use append::{Append, AppendError, Appended, Expected};
pub use error::{Damage, OpenError, Poisoned, ReadError, Stopped};
pub use handle::{Log, StreamHead};
pub use options::{Clock, LogOptions, OpenReport};
pub use verify::{VerifyReport, verify};
pub use watches::StreamWatch;
