//! What whole-system tests stand on: a real server process on a folder of its own, and a client of its HTTP. Nothing
//! here knows more of moonlog than its users do.

mod acknowledged;
mod binary;
pub mod faults;
mod folder;
mod models;
mod process;
mod random;
mod readers;
mod relay;
mod schemathesis;
mod server;
mod small_disk;
pub mod sources;
mod wait;

pub use acknowledged::Acknowledged;
pub use binary::moonlog;
pub use faults::Faults;
pub use folder::copy_folder;
pub use models::{ModelServer, RawServer, STALL};
pub use process::{command, printed, resident_kib, tree_resident_kib};
pub use random::{Random, from_env};
pub use readers::{Kind, Reader};
pub use relay::Relay;
pub use schemathesis::schemathesis;
pub use server::{Server, Settings};
pub use small_disk::{Filler, SmallDisk};
pub use wait::{eventually, eventually_within};
