//! What a server that is killed leaves behind: nothing.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};
use support::*;

#[test]
#[ignore = "the process host; the other tests start it"]
fn process_host() {
    if stdin_is_a_socket() {
        moonlog_runner::process::host_main()
    }
}

/// Trees that do what they can to live on. Each says `ready` when it stands.
const TREES: [&str; 4] = [
    "trap '' TERM HUP INT; echo ready; while :; do sleep 0.1; done",
    "sleep 1000 & (trap '' TERM; sleep 1000; sleep 1000) & echo ready; wait",
    "(setsid sh -c 'trap \"\" TERM HUP; (sleep 1000 & echo ready; wait) & wait' &) & sleep 1000",
    "(setsid sleep 1000 >/dev/null 2>&1 </dev/null &); echo ready",
];

#[test]
#[ignore = "a server for the other tests to kill"]
fn server() {
    if std::env::var_os("MARK").is_none() {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let world = world();
        let mut processes = Vec::new();
        for script in TREES {
            processes.push(world.processes.start(world.sh(script)).await.unwrap());
        }
        for process in &processes {
            eventually("ready", async || process.captured().stdout.contains("ready").then_some(())).await;
        }
        println!("\nall ready");
        std::future::pending::<()>().await
    });
}

#[tokio::test]
async fn nothing_survives_a_server_that_is_killed() {
    let value = uuid::Uuid::now_v7().to_string();
    let mark = format!("MARK={value}");
    let mut server = Command::new(std::env::current_exe().unwrap())
        .args(["server", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env("MARK", &value)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "all ready"), "the server did not come up");
    assert!(marked(&mark).len() > TREES.len());
    server.kill().unwrap();
    server.wait().unwrap();
    eventually("nothing is left", async || marked(&mark).is_empty().then_some(())).await;
}
