//! Events: the envelope (`envelope`), the streams they stand in (`stream`), and what each type carries (`body` lists
//! the types; `job` with `retry`, `step`, `chat`, `process`, `workspace`, `system` and `webhook` hold their fields). Nothing here reads or writes anything.

mod body;
mod chat;
mod envelope;
mod job;
mod process;
mod retry;
mod step;
mod stream;
mod system;
mod webhook;
mod workspace;

pub use body::{EventBody, UnknownType};
pub use chat::*;
pub use envelope::{Cause, Event, NewEvent, Origin};
pub use job::*;
pub use process::*;
pub use retry::*;
pub use step::*;
pub use stream::{InvalidStream, StreamId};
pub use system::*;
pub use webhook::*;
pub use workspace::*;
