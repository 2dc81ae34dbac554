//! The process host: a small process of its own that forks the supervisors of all others. It exists because forking
//! a large server is slow, and because a process tree is only certain to die when something outside the server, which
//! may be killed at any moment, sees to it.
//!
//! ```text
//! server ──(requests, descriptors)── host ── supervisor ── command ── whatever it starts
//!    └───────────(orders, reports)────────────────┘
//! ```
//!
//! Each command has a supervisor, forked from the host (`host`), that adopts every descendant whose parent ends
//! (`supervisor`). It kills all of them on order, and when its connection to the server closes, for which the server's
//! death is enough. `client` is the server's side, `protocol` what they say to each other, `sys` the system calls.

mod client;
mod protocol;
mod server;
mod supervisor;
mod sys;

pub(super) use client::{Control, HostClient, ServerEnds};
pub(super) use protocol::SpawnRequest;
pub use protocol::{Order, Report};
pub use server::host_main;
