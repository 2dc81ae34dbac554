//! What whole-system tests stand on: a real server process on a folder of its own, and a client of its HTTP. Nothing
//! here knows more of moonlog than its users do.

mod binary;
mod server;
mod wait;

pub use binary::moonlog;
pub use server::{Server, Settings};
pub use wait::{eventually, eventually_within};
