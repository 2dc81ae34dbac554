//! The life of jobs and sessions: a real runner on a log in memory, scripts as text, real git repositories, and what
//! the log says of them in the end.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod again;
mod agents;
mod ahead;
mod approvals;
mod attempts;
mod budgets;
mod bulk;
mod cancelling;
mod causes;
mod chance;
mod checks;
mod children;
mod closing;
mod collisions;
mod conversations;
mod deletion;
mod eviction;
mod history;
mod images;
mod interrupts;
mod left;
mod limits;
mod merging;
mod place;
mod poisoned;
mod processes;
mod queues;
mod rates;
mod reference;
mod repository;
mod schedules;
#[path = "../support/scripts.rs"]
mod scripts;
mod secrets;
mod subagents;
mod together;
mod tools;
mod waking;
mod webhooks;
mod workspaces;

#[test]
#[ignore = "the process host; the other tests start it"]
fn process_host() {
    let stdin = std::fs::metadata("/proc/self/fd/0").unwrap();
    if std::os::unix::fs::FileTypeExt::is_socket(&stdin.file_type()) {
        moonlog_runner::process::host_main()
    }
}
