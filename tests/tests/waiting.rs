//! Thousands of jobs that wait for signals: they cost next to no memory, and a kill changes nothing of their waiting.
//!
//! 2,000 jobs by default; 10,000 with `MOONLOG_LONG=1`. `MOONLOG_SEED` chooses which of them are signalled.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use futures_util::future::join_all;
use moonlog_tests::{Random, Server, Settings, eventually, eventually_within, from_env, tree_resident_kib};
use serde_json::{Value, json};
use std::time::Duration;

const SEED: u64 = 0x7761_6974;
const CONNECTIONS: usize = 32;
/// What the server and all its processes may take, with 10,000 jobs waiting.
const MEMORY_MAX_KIB: u64 = 200 << 10;
const PATIENCE: Duration = Duration::from_secs(180);

const SCRIPT: &str = "local before = step('before', function() return math.random(1, 1000000) end)
    local got = wait_for('go')
    return { before = before, again = step('after', function() return before end), n = got.n, me = args.n }";

async fn submit_all(server: &Server, count: usize) -> Vec<String> {
    let submit = |connection: usize| async move {
        let mut jobs = Vec::new();
        for n in (connection..count).step_by(CONNECTIONS) {
            jobs.push((n, server.submit(&json!({ "script": SCRIPT, "args": { "n": n } })).await));
        }
        jobs
    };
    let mut jobs: Vec<_> = join_all((0..CONNECTIONS).map(submit)).await.into_iter().flatten().collect();
    jobs.sort();
    jobs.into_iter().map(|(_, job)| job).collect()
}

/// How many jobs have recorded that they wait.
async fn waiting(server: &Server) -> usize {
    let mut count = 0;
    let mut cursor = String::new();
    loop {
        let page = server.get(&format!("/v1/jobs?state=waiting&limit=200{cursor}")).await;
        count += page["items"].as_array().unwrap().len();
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return count,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_jobs_wait_cheaply_and_go_on_after_a_kill() {
    let count = if from_env("MOONLOG_LONG", 0) == 1 { 10_000 } else { 2_000 };
    let mut random = Random::from_env(SEED);
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let jobs = submit_all(&server, count).await;
    let all_wait = || async { (waiting(&server).await == count).then_some(()) };
    eventually_within(PATIENCE, "all jobs to wait", all_wait).await;
    // They give their scripts' memory back when they have waited for `idle_evict_ms`.
    let mut lowest = u64::MAX;
    let bound = || {
        lowest = lowest.min(tree_resident_kib(server.pid()));
        std::future::ready((lowest < MEMORY_MAX_KIB).then_some(()))
    };
    eventually("the server's memory to be within its bound", bound).await;
    println!("{count} jobs wait: {lowest} KiB");

    server.kill();
    let server = Server::start(folder.path()).await;
    assert_eq!(waiting(&server).await, count, "they wait as before");
    let after = tree_resident_kib(server.pid());
    println!("after a restart: {after} KiB");
    assert!(after < MEMORY_MAX_KIB, "{after} KiB after a restart");

    let sample: Vec<usize> = (0..50).map(|_| random.below(count as u64) as usize).collect();
    let signal = |n: usize| {
        let (server, job) = (&server, &jobs[n]);
        async move {
            // Its key makes the signal one, though the sample may hold a job twice.
            let body = json!({ "payload": { "n": n }, "idempotency_key": "once" });
            let (status, answer) = server.post(&format!("/v1/jobs/{job}/signals/go"), &body).await;
            assert!(status == 202 || (status == 409 && answer["code"] == "job_ended"), "{status} {answer}");
            server.ended(job).await
        }
    };
    for (n, job) in sample.iter().zip(join_all(sample.iter().map(|n| signal(*n))).await) {
        assert_eq!(job["state"], "completed", "{job}");
        let result = &job["result"];
        assert_eq!((&result["n"], &result["me"]), (&json!(n), &json!(n)), "{job}");
        assert_eq!(result["before"], result["again"], "what was recorded before the kill is what the script sees");
    }
    let mut ended = sample;
    ended.sort_unstable();
    ended.dedup();
    assert_eq!(waiting(&server).await, count - ended.len(), "and nobody else went on");
    let job: Value = server.get(&format!("/v1/jobs/{}", jobs[(ended[0] + 1) % count])).await;
    assert!(job["state"] == "waiting" || ended.contains(&((ended[0] + 1) % count)), "{job}");
    let all = || async { (tree_resident_kib(server.pid()) < MEMORY_MAX_KIB).then_some(()) };
    eventually("the server's memory to be within its bound again", all).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parents_that_give_their_memory_back_at_once_get_their_children() {
    const PARENTS: usize = 200;
    let folder = tempfile::tempdir().unwrap();
    let workflows = folder.path().join(".moonlog/workflows");
    std::fs::create_dir_all(&workflows).unwrap();
    std::fs::write(workflows.join("child.luau"), "return { run = function(args) return wait_for('go') + args.n end }")
        .unwrap();
    let config = "[runner]\nidle_evict_ms = 0".into();
    let server = Server::start_with(folder.path(), &Settings { config, ..Settings::default() }).await;
    let submit = |n: usize| {
        let body = json!({ "script": "return workflow('child', { n = args.n })", "args": { "n": n } });
        let server = &server;
        async move { server.submit(&body).await }
    };
    let parents = join_all((0..PARENTS).map(submit)).await;
    let all_wait = || async { (waiting(&server).await == 2 * PARENTS).then_some(()) };
    eventually_within(PATIENCE, "all parents and their children to wait", all_wait).await;
    for (n, parent) in parents.iter().enumerate() {
        let children = server.get(&format!("/v1/jobs?parent={parent}")).await;
        let child = children["items"][0]["id"].as_str().unwrap();
        server.post(&format!("/v1/jobs/{child}/signals/go"), &json!({ "payload": 1_000 })).await;
        assert_eq!(server.ended(parent).await["result"], 1_000 + n);
    }
}
