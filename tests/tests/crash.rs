//! A server that is killed again and again loses nothing that it has acknowledged, does nothing twice that it has
//! recorded, and brings every job to its right end.
//!
//! `MOONLOG_SEED` chooses the moments, `MOONLOG_KILLS` how many there are (50 by default).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use moonlog_tests::{Random, Server, from_env, moonlog};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

const SEED: u64 = 0x6d6f_6f6e_6c6f_6721;
const KILLS: u64 = 50;

/// A script, and the result that it must have however often the server died.
fn script(kind: u64, n: u64, marker: &str) -> (String, Value) {
    match kind {
        // Steps that are pure, with one that acts between them.
        0 => (
            format!(
                "local sum = 0
                 for i = 1, 20 do
                   sum += step('add', function() return i end)
                   if i == 10 then sum += tonumber(assert(exec('echo', {{ '{n}' }}, {{ retry = {{ max = 100, backoff = '5ms' }} }})).stdout) end
                 end
                 return sum"
            ),
            json!(210 + n),
        ),
        // Branches that end in another order than they begin.
        1 => (
            format!(
                "local results, errors = parallel {{
                   slow = function() sleep('40ms') return {n} end,
                   quick = function() return step('quick', function() return {n} + 1 end) end,
                   act = function()
                     return assert(sh('sleep 0.02; echo {n}', {{ retry = {{ max = 100, backoff = '5ms' }} }})).stdout
                   end,
                 }}
                 assert(next(errors) == nil)
                 return results"
            ),
            json!({ "slow": n, "quick": n + 1, "act": format!("{n}\n") }),
        ),
        // A background process that never ends by itself, and sleeps.
        2 => (
            format!(
                "local p = process('sleep', {{ '{marker}' }}, {{ retry = {{ max = 100, backoff = '5ms' }} }})
                 for i = 1, 3 do sleep('15ms') end
                 return {{ started = p ~= nil, n = {n} }}"
            ),
            json!({ "started": true, "n": n }),
        ),
        // Operations inside a step.
        _ => (
            format!(
                "return step('outer', function()
                   local a = assert(exec('echo', {{ 'a' }}, {{ retry = {{ max = 100, backoff = '5ms' }} }})).stdout
                   sleep('10ms')
                   return a .. {n}
                 end)"
            ),
            json!(format!("a\n{n}")),
        ),
    }
}

/// Where the server is now; `None` while there is none.
#[derive(Clone, Default)]
struct Address(Arc<Mutex<Option<String>>>);

impl Address {
    fn set(&self, url: Option<String>) {
        *self.0.lock().unwrap() = url;
    }

    fn get(&self) -> Option<String> {
        self.0.lock().unwrap().clone()
    }
}

/// Submits jobs until told to stop. A request that broke is sent again under its key.
async fn submit_all(
    address: Address,
    stop: Arc<AtomicBool>,
    marker: String,
    mut random: Random,
    first: u64,
) -> HashMap<String, Value> {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().unwrap();
    let mut expected = HashMap::new();
    let mut n = first;
    while !stop.load(Ordering::Relaxed) {
        n += 2;
        let (script, result) = script(random.below(4), n, &marker);
        let body = json!({ "script": script, "idempotency_key": format!("job-{n}") });
        loop {
            if let Some(url) = address.get()
                && let Ok(response) = client.post(format!("{url}/v1/jobs")).json(&body).send().await
            {
                let status = response.status();
                if let Ok(job) = response.json::<Value>().await {
                    assert!(status == 201 || status == 200 || status == 503, "{status}: {job}");
                    if let Some(id) = job["id"].as_str() {
                        expected.insert(id.to_owned(), result);
                        break;
                    }
                }
            }
            if stop.load(Ordering::Relaxed) {
                return expected;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(random.below(15))).await;
    }
    expected
}

/// Follows the feed of all events over every restart, and keeps what it was told.
async fn follow(address: Address, stop: Arc<AtomicBool>, seen: Arc<AtomicU64>) -> BTreeMap<u64, Value> {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut told = BTreeMap::new();
    let mut last = 0;
    while !stop.load(Ordering::Relaxed) {
        let Some(url) = address.get() else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        let request = client
            .get(format!("{url}/v1/events?after={last}&follow=true"))
            .header("accept", "application/x-ndjson")
            .timeout(Duration::from_secs(2));
        let Ok(mut response) = request.send().await else { continue };
        if response.status() != 200 {
            continue;
        }
        let mut partial = Vec::new();
        while let Ok(Some(bytes)) = response.chunk().await {
            partial.extend_from_slice(&bytes);
            while let Some(end) = partial.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = partial.drain(..=end).collect();
                let event: Value = serde_json::from_slice(&line).expect("a line of JSON");
                let position = event["position"].as_u64().expect("a position");
                assert_eq!(position, last + 1, "the feed skipped or repeated an event");
                last = position;
                seen.store(last, Ordering::Relaxed);
                told.insert(position, event);
            }
        }
    }
    told
}

fn verify(folder: &Path) {
    let output = Command::new(moonlog()).args(["verify", "--data", "data"]).current_dir(folder).output().unwrap();
    assert!(
        output.status.success(),
        "verify: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn processes_named(marker: &str) -> usize {
    let wanted = format!("sleep\0{marker}\0").into_bytes();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes.filter(|entry| std::fs::read(entry.path().join("cmdline")).is_ok_and(|line| line == wanted)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_random_moments_nothing_is_lost_and_nothing_is_done_twice() {
    let seed = from_env("MOONLOG_SEED", SEED);
    let kills = from_env("MOONLOG_KILLS", KILLS);
    println!("MOONLOG_SEED={seed} MOONLOG_KILLS={kills}");
    let mut random = Random::new(seed);
    let folder = tempfile::tempdir().unwrap();
    let marker = format!("77{}", std::process::id());
    let (address, stop, seen) = (Address::default(), Arc::new(AtomicBool::new(false)), Arc::default());
    let submitters: Vec<_> = (0..2)
        .map(|i| {
            let random = Random::new(random.draw());
            tokio::spawn(submit_all(address.clone(), stop.clone(), marker.clone(), random, i))
        })
        .collect();
    let reader = tokio::spawn(follow(address.clone(), stop.clone(), Arc::clone(&seen)));

    for _ in 0..kills {
        let server = Server::start(folder.path()).await;
        address.set(Some(server.url().to_owned()));
        tokio::time::sleep(Duration::from_millis(random.below(400))).await;
        server.kill();
        address.set(None);
    }

    let server = Server::start(folder.path()).await;
    address.set(Some(server.url().to_owned()));
    stop.store(true, Ordering::Relaxed);
    let mut expected = HashMap::new();
    for submitter in submitters {
        expected.extend(submitter.await.unwrap());
    }
    assert!(expected.len() as u64 > kills, "{} jobs in {kills} lives: too few to show anything", expected.len());
    for (id, result) in &expected {
        let job = server.ended(id).await;
        assert_eq!(job["state"], "completed", "{job}");
        assert_eq!(&job["result"], result, "{job}");
    }
    let told = reader.await.unwrap();
    let all = server.ndjson("/v1/events?follow=false").await;
    check_events(&all, &told);
    drop(server);
    let left = || async { (processes_named(&marker) == 0).then_some(()) };
    moonlog_tests::eventually("no process to be left", left).await;
    verify(folder.path());
    println!("{} jobs, {} events, {} of them told before a kill", expected.len(), all.len(), told.len());
}

/// What must hold of any log, and of this one compared with what a reader was told while it grew.
fn check_events(all: &[Value], told: &BTreeMap<u64, Value>) {
    let mut versions: HashMap<&str, u64> = HashMap::new();
    let mut finished: HashMap<(String, u64, String, u64), u32> = HashMap::new();
    let mut started = finished.clone();
    let mut ended: HashMap<&str, &str> = HashMap::new();
    for (index, event) in all.iter().enumerate() {
        assert_eq!(event["position"], index + 1, "positions have no gap");
        if let Some(told) = told.get(&(index as u64 + 1)) {
            assert_eq!(told, event, "what was told is not what is there");
        }
        let stream = event["stream"].as_str().unwrap();
        let version = versions.entry(stream).or_default();
        *version += 1;
        assert_eq!(event["version"], *version, "versions have no gap");
        assert!(!ended.contains_key(stream), "{event} stands behind the job's end");
        let kind = event["type"].as_str().unwrap();
        let data = &event["data"];
        match kind {
            "step.started" | "step.finished" => {
                let key = (
                    stream.to_owned(),
                    data["run"].as_u64().unwrap(),
                    data["path"].as_str().unwrap().to_owned(),
                    data["attempt"].as_u64().unwrap(),
                );
                let counts = if kind == "step.started" { &mut started } else { &mut finished };
                *counts.entry(key).or_default() += 1;
            }
            "job.completed" | "job.failed" | "job.cancelled" | "job.timed_out" => {
                ended.insert(stream, kind);
            }
            _ => {}
        }
    }
    for (key, count) in &started {
        assert_eq!(*count, 1, "{key:?} was started {count} times");
        assert_eq!(finished.get(key), Some(&1), "{key:?} was finished {:?} times", finished.get(key));
    }
    assert_eq!(started.len(), finished.len());
}
