//! What is kept of ended jobs: `policy` chooses those that are kept no longer, `export` writes them down first, `compactor`
//! has them deleted and gives the disk its room back, when it is asked to and on a schedule.

mod compactor;
mod export;
mod policy;

pub use compactor::{Compact, CompactError, Compactor};
