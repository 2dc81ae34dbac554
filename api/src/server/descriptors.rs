//! File descriptors: each connection holds one, and the store, the processes and their pipes need theirs. Where
//! connections could take them all, the log could not be written any more.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What is kept for everything but connections.
const RESERVED: u64 = 512;

/// Asks for as many descriptors as `connections` need, and says how many connections there may be.
pub fn make_room(connections: usize) -> usize {
    let wanted = (connections as u64).saturating_add(RESERVED);
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return connections };
    let given = if soft >= wanted || setrlimit(Resource::RLIMIT_NOFILE, wanted.min(hard), hard).is_err() {
        soft
    } else {
        wanted.min(hard)
    };
    // With very few there is no good split; half of them then.
    let room = given.saturating_sub(RESERVED).max(given / 2);
    let allowed = connections.min(usize::try_from(room).unwrap_or(usize::MAX));
    if allowed < connections {
        tracing::warn!(
            allowed,
            wanted = connections,
            "fewer connections than limits.connections: raise the limit of open files (ulimit -n)"
        );
    }
    allowed
}
