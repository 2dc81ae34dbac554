//! The process host.

/// The body of the hidden subcommand `process-host`. To be called before any thread is started.
pub fn host_main() -> ! {
    todo!()
}
