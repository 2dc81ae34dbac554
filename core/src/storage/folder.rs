//! The data folder: its lock, and the version of what it holds.

/// The format of the data folder that this version writes, and the newest that it reads.
pub const FORMAT_VERSION: u32 = 1;
