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

// Linked for its names alone.
use tikv_jemalloc_sys as _;

/// How it is set up; it reads this before `main`.
///
/// Two arenas, since few threads run at once. What is freed goes back to the system half a second later, by a thread of the heap's
/// own, so that a server at rest holds what it needs. Threads keep small pieces alone for themselves.
#[expect(unsafe_code, reason = "jemalloc looks for its settings under this name")]
// SAFETY: nothing else has this name, and what it points to is a C string that is there for good.
#[unsafe(export_name = "malloc_conf")]
static SETTINGS: Option<&'static u8> = Some(
    &b"narenas:2,background_thread:true,max_background_threads:1,dirty_decay_ms:500,muzzy_decay_ms:0,tcache_max:2048\0"
        [0],
);

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn the_heap_is_set_up_as_it_says() {
        drop(vec![0_u8; 1 << 20]);
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
        let names: Vec<String> = names.collect();
        assert!(names.iter().any(|name| name.contains("jemalloc")), "a heap as it comes has no thread: {names:?}");
    }
}
