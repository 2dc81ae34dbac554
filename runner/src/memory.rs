//! What is freed goes back to the system. A virtual machine is thousands of small pieces, made on one thread and dropped on
//! another; glibc keeps such pieces for the next one, so that a burst of jobs would leave the server several times as
//! large as what it holds.

use std::sync::atomic::{AtomicUsize, Ordering};

/// After how many virtual machines of jobs that wait memory is given back.
const MACHINES: usize = 256;

/// Counts machines that were dropped.
#[derive(Default)]
pub(crate) struct Dropped(AtomicUsize);

impl Dropped {
    /// Counts one; now and then gives memory back, on a thread where that may take a while.
    pub(crate) fn one(&self) {
        if self.0.fetch_add(1, Ordering::Relaxed) % MACHINES == MACHINES - 1 {
            tokio::task::spawn_blocking(give_back);
        }
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn give_back() {
    #[expect(unsafe_code, reason = "the call takes a number alone, and may come from any thread")]
    // SAFETY: `malloc_trim` has no preconditions.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn give_back() {}
