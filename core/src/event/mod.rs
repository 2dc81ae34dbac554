//! Events: the envelope (`envelope`), the streams they stand in (`stream`), and what each type carries (`body` lists
//! the types; `job`, `step`, `chat`, `process`, `workspace` and `system` hold their fields). Nothing here reads or writes anything.

mod body;
mod chat;
mod envelope;
mod job;
mod process;
mod step;
mod stream;
mod system;
mod workspace;

pub use body::{EventBody, UnknownType};
pub use chat::*;
pub use envelope::{Cause, Event, NewEvent, Origin};
pub use job::*;
pub use process::*;
pub use step::*;
pub use stream::{InvalidStream, StreamId};
pub use system::*;
pub use workspace::*;
