//! The heap of a process that runs jobs: jemalloc in the place of the C library's.
//!
//! A virtual machine is thousands of small pieces, made on one thread and dropped on another, as are events and answers. The C
//! library's heaps are few and locked, or many and never given back: with two of them, threads that wait for each other's lock
//! cost a third of all jobs a second; with eight, 10,000 jobs that came to wait left 80 MB behind. mimalloc was as fast, and a
//! fresh server held 70 MB with it.
//!
//! It takes the names of the C library, and is no `#[global_allocator]`: so what C and C++ allocate is here too, and the compiler
//! still makes one request for zeroed memory of an allocation that is filled with zeros. sled asks for 24 MB of such when it
//! is opened, and never touches them again.

use std::{ffi::CStr, ptr::null_mut};

/// How it is set up; it reads this before `main`.
///
/// Two arenas, since few threads run at once. A thread of the heap's own gives back, over ten seconds, what is not used again:
/// within half a second, a busy server fetched an eighth of its time's worth back. One at rest gives all back at once: see
/// [`give_back`]. Threads keep what jobs are made of for themselves, which is small.
#[expect(unsafe_code, reason = "jemalloc looks for its settings under this name")]
// SAFETY: nothing else has this name, and what it points to is a C string that is there for good.
#[unsafe(export_name = "malloc_conf")]
static SETTINGS: Option<&'static u8> = Some(
    &b"narenas:2,background_thread:true,max_background_threads:1,dirty_decay_ms:10000,muzzy_decay_ms:0,tcache_max:8192\0"
        [0],
);

/// Stands for all arenas.
const PURGE: &CStr = c"arena.4096.purge";

/// Gives what is free back to the system.
pub(crate) fn give_back() {
    #[expect(unsafe_code, reason = "the heap is asked through C")]
    // SAFETY: the name is a C string, and this request takes and gives nothing.
    let refused = unsafe { tikv_jemalloc_sys::mallctl(PURGE.as_ptr(), null_mut(), null_mut(), null_mut(), 0) };
    if refused != 0 {
        tracing::debug!(refused, "the heap gave nothing back");
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::give_back;

    /// How much of this process is in memory.
    fn resident_kib() -> Option<usize> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix(" kB")?.parse().ok()
    }

    #[test]
    fn what_is_free_is_given_back_when_it_is_asked_for() {
        const HELD_KIB: usize = 256 << 10;
        let pieces: Vec<Box<[u8]>> = (0..HELD_KIB / 4).map(|_| vec![1; 4 << 10].into_boxed_slice()).collect();
        let held = resident_kib().unwrap();
        drop(pieces);
        give_back();
        let left = resident_kib().unwrap();
        assert!(left + HELD_KIB / 2 < held, "{held} KiB before, {left} KiB after");
    }

    #[test]
    fn the_heap_is_set_up_as_it_says() {
        drop(vec![0_u8; 1 << 20]);
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
        let names: Vec<String> = names.collect();
        assert!(names.iter().any(|name| name.contains("jemalloc")), "a heap as it comes has no thread: {names:?}");
    }
}
