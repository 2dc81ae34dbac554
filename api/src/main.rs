//! The `moonlog` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    // The process host is this binary too. It forks, so it must come before any thread.
    if std::env::args_os().nth(1).is_some_and(|command| command == "process-host") {
        moonlog_runner::process::host_main();
    }
    moonlog_api::cli::main()
}
