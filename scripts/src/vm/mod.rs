//! The Luau VM: the sandbox (`sandbox`), the watch on computing and memory (`watch`), what the prelude may call in the
//! host (`host`), and the prelude, which is what scripts see (`prelude`).

mod clock;
#[cfg(test)]
mod definitions;
mod host;
mod host_flow;
mod prelude;
mod sandbox;
mod text;
mod watch;

pub(crate) use sandbox::{Vm, chunk_name, compile};
pub(crate) use watch::Watch;
