//! Where bytes are kept: named key spaces behind a seam (`interface`), with one implementation on sled (`sled`, the only
//! file that names it) and one in memory whose faults tests choose (`memory`); `part` shows the beginning of either. What the bytes mean is not known here.

mod ballast;
mod folder;
mod idle_threads;
mod interface;
mod memory;
mod page_table;
mod part;
mod room;
mod sled;

#[cfg(test)]
mod conformance;

pub use self::sled::{SledOptions, SledStorage, open_sled};
pub use folder::FORMAT_VERSION;
pub use interface::{Direction, Entry, Space, Storage, StorageError, Write};
pub use memory::{Fault, MemoryStorage};
pub use part::Part;
