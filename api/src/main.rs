//! The `moonlog` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    // The process host is this binary too. It forks, so it must come before any thread.
    if std::env::args_os().nth(1).is_some_and(|command| command == "process-host") {
        moonlog_runner::process::host_main();
    }
    bound_arenas();
    moonlog_api::cli::main()
}

/// One heap for each processor. glibc makes eight, and what a burst of jobs has left behind in each of them stays: 10,000
/// jobs that came to wait at once held 260 MB instead of 185 MB.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "a call into the C library that takes two numbers; no other thread runs yet")]
fn bound_arenas() {
    let processors = std::thread::available_parallelism().map_or(1, |count| i32::try_from(count.get()).unwrap_or(1));
    // Where it fails, the heaps are as they were.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, processors) };
}

#[cfg(not(target_env = "gnu"))]
const fn bound_arenas() {}
