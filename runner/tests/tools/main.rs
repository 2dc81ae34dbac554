//! Tools on real files, real processes and real git.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod editing;
mod errors;
mod executing;
mod finding;
mod place;
mod reading;
mod reference;
mod special;
mod working;
mod writing;

#[test]
#[ignore = "the process host; the other tests start it"]
fn process_host() {
    let stdin = std::fs::metadata("/proc/self/fd/0").unwrap();
    if std::os::unix::fs::FileTypeExt::is_socket(&stdin.file_type()) {
        moonlog_runner::process::host_main()
    }
}
