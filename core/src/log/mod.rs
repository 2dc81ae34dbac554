//! The log: one sequence of events, durable before anyone is told of it. `handle` is the way in. An append goes by
//! `intake` from `sequencer` (positions, versions, times) through `queue` to `writer` (write, sync, publish); reads go through `reader` over
//! `tail` and `index`, those of feeds through `select`, single ones through `frame_cache`. `frame` and `record` hold the stored grammar, `removal` takes streams out, `removed` says what is left of them, and `backup` gives the log as one stream of bytes; `sound` opens what can be read of a damaged one. Nothing here knows what keeps the bytes, nor what
//! events mean, but for which of them close a stream, and which name blobs.

mod append;
mod backup;
mod blob_holds;
mod blobs;
#[doc(hidden)]
pub mod decoders;
mod driver;
mod error;
mod frame;
mod frame_cache;
mod handle;
mod index;
mod intake;
mod kinds;
mod open;
mod options;
mod prepare;
mod queue;
mod reader;
mod record;
mod removal;
mod removed;
mod select;
mod sequencer;
mod shared;
mod sound;
mod stepper;
mod tail;
mod upkeep;
mod verify;
mod waiters;
mod watches;
mod writer;

#[cfg(test)]
mod tests;

pub use append::{Append, AppendError, Appended, Expected};
pub use backup::{Backup, BackupContent, RestoreError, check_backup, restore};
pub use error::{Damage, OpenError, Poisoned, ReadError, Stopped};
pub use frame::FRAME_MAX_BYTES;
pub use handle::{Hurry, Log};
pub use index::StreamHead;
pub use kinds::Kinds;
pub use options::{Clock, LogOptions, OpenReport};
pub use reader::Place;
pub use removal::{BackupUnderWay, Removal, RemovedCounts, Still};
pub use removed::RemovedEvent;
pub use select::{Selected, Traits};
pub use stepper::Stepper;
pub use verify::{VerifyReport, verify};
pub use watches::StreamWatch;
