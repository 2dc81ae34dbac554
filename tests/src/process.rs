//! What the system says of processes.

use crate::binary::moonlog;
use std::{
    path::Path,
    process::{Command, Output},
};

/// The resident memory of a process, in KiB.
///
/// # Panics
/// Where there is no such process.
pub fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line for its memory");
    line.trim().trim_end_matches("kB").trim().parse().expect("a number")
}

/// Its memory, and that of all processes below it.
///
/// # Panics
/// Where there is no such process.
pub fn tree_resident_kib(pid: u32) -> u64 {
    let children = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten().flat_map(|task| {
        let text = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>()
    });
    let below: u64 = children.filter(|pid| Path::new(&format!("/proc/{pid}")).exists()).map(tree_resident_kib).sum();
    resident_kib(pid) + below
}

/// Runs a command of `moonlog` in `folder`, on the data folder of servers that are started there.
///
/// # Panics
/// Where it cannot be run at all.
pub fn command(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(moonlog());
    command.args(arguments).args(["--data", "data"]).current_dir(folder).env("NO_COLOR", "1");
    command.output().expect("moonlog runs")
}

/// What a command printed: standard output, then standard error.
pub fn printed(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
