//! Agents: a model in a loop with tools. Everything that is said, streamed, called and used is an event before the next
//! thing happens, so a turn can be taken up again by a server that knows nothing but the log.

pub mod message;
pub mod model;
mod tokens;
