//! The life of jobs: a real runner on a log in memory, scripts as text, and what the log says of them in the end.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod attempts;
mod cancelling;
mod chance;
mod children;
mod eviction;
mod history;
mod limits;
mod place;
mod poisoned;
mod processes;
mod queues;
mod schedules;

#[test]
#[ignore = "the process host; the other tests start it"]
fn process_host() {
    let stdin = std::fs::metadata("/proc/self/fd/0").unwrap();
    if std::os::unix::fs::FileTypeExt::is_socket(&stdin.file_type()) {
        moonlog_runner::process::host_main()
    }
}
