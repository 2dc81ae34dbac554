//! Disks that are full, logs that were damaged, and a folder that two servers want: what was acknowledged is served as it
//! was or the server says that it is not, and no wrong event is ever served.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use futures_util::future::join_all;
use moonlog_tests::{Random, Server, Settings, command, copy_folder, printed};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

const SEED: u64 = 0x6469_736b;

/// Fills the disk until the server takes no more. What was acknowledged: jobs with what they gave, and all events.
async fn fill(server: &Server) -> (BTreeMap<String, Value>, Vec<Value>) {
    let mut acknowledged = BTreeMap::new();
    for n in 0..2_000 {
        let script = "for i = 1, 20 do emit('fill', { n = args.n, i = i, text = args.text }) end return args.n";
        let body = json!({ "script": script, "args": { "n": n, "text": format!("{n:05}").repeat(2_000) } });
        let request = server.request(Method::POST, "/v1/jobs?wait=10s").json(&body).send().await.expect("an answer");
        let status = request.status();
        let kind = request.headers()["content-type"].to_str().unwrap().to_owned();
        let answer: Value = request.json().await.expect("JSON");
        match status {
            StatusCode::OK | StatusCode::ACCEPTED => {
                acknowledged.insert(answer["id"].as_str().unwrap().to_owned(), json!(n));
            }
            _ => {
                assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
                assert_eq!(kind, "application/problem+json");
                assert_eq!(answer["code"], "log_unavailable", "{answer}");
                assert!(!answer["detail"].as_str().unwrap().is_empty());
                let events = server.ndjson("/v1/events").await;
                return (acknowledged, events);
            }
        }
    }
    panic!("the disk is never full");
}

/// What holds of a server whose disk is full: it says so, and it serves what it has.
async fn check_full(server: &Server, acknowledged: &BTreeMap<String, Value>, events: &[Value]) {
    let ready = server.request(Method::GET, "/readyz").send().await.unwrap();
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE, "it is not ready");
    let live = server.request(Method::GET, "/healthz").send().await.unwrap();
    assert_eq!(live.status(), StatusCode::OK, "it lives");
    for (path, body) in [("/v1/jobs", json!({ "script": "return 1" })), ("/v1/queues/default/pause", json!({}))] {
        let (status, problem) = server.post(path, &body).await;
        assert_eq!((status.as_u16(), &problem["code"]), (503, &json!("log_unavailable")), "{path}: {problem}");
    }
    assert_eq!(server.ndjson("/v1/events").await, events, "what was read can be read again");
    let job = acknowledged.keys().next().expect("some job fitted");
    assert_eq!(server.get(&format!("/v1/jobs/{job}")).await["state"], "completed");
    assert_eq!(server.events(job).await.last().unwrap()["type"], "job.completed");
}

/// With room again, everything that was acknowledged is there, and goes on.
async fn check_after(server: &Server, acknowledged: &BTreeMap<String, Value>, events: &[Value]) {
    let now = server.ndjson("/v1/events").await;
    assert!(now.len() >= events.len(), "{} events were served, {} are left", events.len(), now.len());
    for (was, is) in events.iter().zip(&now) {
        assert_eq!(was, is, "an event that was served has changed");
    }
    for (job, n) in acknowledged {
        let job = server.ended(job).await;
        assert_eq!((&job["state"], &job["result"]), (&json!("completed"), n), "{job}");
    }
    assert_eq!(server.run("return 1").await["result"], 1);
}

#[tokio::test]
async fn a_file_that_may_not_grow_stops_appends_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    // In units of 512 bytes: 32 MiB for any file. The signal is ignored, so that writes fail as on a full disk.
    let limited = Settings { before: Some("trap '' XFSZ; ulimit -f 65536".into()), ..Settings::default() };
    let server = Server::start_with(folder.path(), &limited).await;
    let (acknowledged, events) = fill(&server).await;
    println!("full after {} jobs, {} events", acknowledged.len(), events.len());
    check_full(&server, &acknowledged, &events).await;
    server.kill();
    let server = Server::start(folder.path()).await;
    check_after(&server, &acknowledged, &events).await;
    assert!(server.terminate().await.success());
    let output = command(folder.path(), &["verify"]);
    assert!(output.status.success(), "{}", printed(&output));
}

/// A small disk of its own, in memory. Unmounted when this is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, mebibytes: u32) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "none"]).arg(at).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_stops_appends_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&folder.path().join("data"), 40) else {
        eprintln!("\n!!! SKIPPED: no disk can be mounted here; the test with a file's limit remains !!!\n");
        return;
    };
    let server = Server::start(folder.path()).await;
    let (acknowledged, events) = fill(&server).await;
    println!("full after {} jobs, {} events", acknowledged.len(), events.len());
    check_full(&server, &acknowledged, &events).await;
    server.kill();
    // It starts on the full disk too, to be read from; also where others have filled it to the last byte.
    let others = folder.path().join("data/others");
    for filled in [false, true] {
        if filled {
            let mut file = fs::File::create(&others).unwrap();
            while file.write_all(&[1; 4096]).is_ok() {}
        }
        let server = Server::start(folder.path()).await;
        check_full(&server, &acknowledged, &events).await;
        let ready = server.request(Method::GET, "/readyz").send().await.unwrap();
        let problem: Value = ready.json().await.unwrap();
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("no space left on the disk") && detail.contains("free disk space"), "{problem}");
        assert!(server.said().contains("the server is read-only"), "{}", server.said());
        let job = acknowledged.keys().next().unwrap();
        let output = command(folder.path(), &["replay", job]);
        assert!(output.status.success(), "{}", printed(&output));
        let output = command(folder.path(), &["export", job, "-o", "/dev/null"]);
        assert!(output.status.success(), "{}", printed(&output));
        server.kill();
    }
    fs::remove_file(&others).unwrap();
    let bigger = Command::new("mount").args(["-o", "remount,size=400m"]).arg(&disk.0).status().unwrap();
    assert!(bigger.success());
    let server = Server::start(folder.path()).await;
    check_after(&server, &acknowledged, &events).await;
    assert!(server.terminate().await.success());
    let output = command(folder.path(), &["verify"]);
    assert!(output.status.success(), "{}", printed(&output));
    drop(disk);
}

#[tokio::test]
async fn two_servers_do_not_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let address = server.url().to_owned();
    let run = |arguments: &[&str]| {
        let output = command(folder.path(), arguments);
        (output.status.code(), printed(&output))
    };
    let (status, text) = run(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(status, Some(3), "{text}");
    assert!(text.contains("data") && text.contains(&address), "it says where the other one is: {text}");
    assert_eq!(run(&["verify"]).0, Some(0), "what reads goes through the running server");
    let id = server.run("return 7").await["id"].as_str().unwrap().to_owned();
    server.kill();
    let server = Server::start(folder.path()).await;
    assert_eq!(server.get(&format!("/v1/jobs/{id}")).await["result"], 7, "a kill leaves no lock behind");
}

/// A data folder with some history, cleanly closed or not, and its events.
async fn history(folder: &Path, clean: bool) -> Vec<Value> {
    let server = Server::start(folder).await;
    for n in 0..30 {
        let script = "for i = 1, 5 do step('s', function() return { i, args.text } end) end
            emit('big', args.text:rep(40)) return exec('echo', { 'x' }).stdout";
        let body = json!({ "script": script, "args": { "text": format!("{n:04}").repeat(500) } });
        let (status, job) = server.post("/v1/jobs?wait=60s", &body).await;
        assert_eq!((status, &job["state"]), (StatusCode::OK, &json!("completed")), "{job}");
    }
    let events = server.ndjson("/v1/events").await;
    if clean {
        assert!(server.terminate().await.success());
    } else {
        server.kill();
    }
    events
}

/// All files of a folder that hold anything that is read.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if entry.metadata().unwrap().len() > 0 && !path.ends_with("server.json") && !path.ends_with("ballast") {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[derive(Debug)]
enum Damage {
    Truncate(u64),
    Flip(u64, u8),
    Zero(u64, u64),
}

impl Damage {
    fn apply(&self, file: &Path) {
        let mut bytes = fs::read(file).unwrap();
        match *self {
            Self::Truncate(at) => bytes.truncate(at as usize),
            Self::Flip(at, bit) => bytes[at as usize] ^= 1 << bit,
            Self::Zero(at, count) => {
                let end = (at + count).min(bytes.len() as u64);
                bytes[at as usize..end as usize].fill(0);
            }
        }
        fs::write(file, bytes).unwrap();
    }
}

/// What became of a damaged folder.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Clone, Copy)]
enum Outcome {
    Whole,
    Mended,
    SaidWhenRead,
    Refused,
}

/// Starts a server on a damaged folder and checks that it serves no wrong event silently.
async fn check_damaged(folder: &Path, events: &[Value]) -> Outcome {
    let _ = fs::remove_file(folder.join("stderr.log"));
    let server = match Server::try_start(folder, &Settings::default()).await {
        Err(status) => {
            let said = fs::read_to_string(folder.join("stderr.log")).unwrap();
            assert!(!said.contains("panicked at"), "a panic is no report: {said}");
            assert!(said.contains("error:"), "{status}: {said}");
            let output = command(folder, &["verify"]);
            assert_eq!(output.status.code(), Some(1), "verify agrees: {}", printed(&output));
            return Outcome::Refused;
        }
        Ok(server) => server,
    };
    let response = server.request(Method::GET, "/v1/events").header("accept", "application/x-ndjson").send().await;
    let response = response.expect("an answer");
    let text = match response.status() {
        StatusCode::OK => response.text().await.ok(),
        // Damage that is found when it is read is said there.
        status => {
            assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
            None
        }
    };
    let Some(text) = text else {
        let said = server.said();
        assert!(said.contains("damaged") || said.contains("failed"), "{said}");
        return Outcome::SaidWhenRead;
    };
    let now: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let same = events.iter().zip(&now).take_while(|(was, is)| was == is).count();
    // Behind what is the same comes only what this server has appended itself.
    let last_time = events.last().unwrap()["time"].as_str().unwrap();
    for (index, event) in now.iter().enumerate().skip(same) {
        assert_eq!(event["position"], index + 1);
        assert!(event["time"].as_str().unwrap() > last_time || same < events.len(), "{event}");
    }
    if same == events.len() {
        return Outcome::Whole;
    }
    let said = server.said();
    let started = &now[same];
    assert!(
        said.contains("mended"),
        "{} of {} events are gone, and nobody says so: {said}",
        events.len() - same,
        events.len()
    );
    assert!(
        now[same..].iter().any(|event| event["type"] == "runner.started" && event["data"]["repaired"].is_object()),
        "the log itself says that it was mended: {started}"
    );
    Outcome::Mended
}

#[tokio::test]
async fn a_damaged_log_is_mended_aloud_or_refused() {
    let mut random = Random::from_env(SEED);
    let mut counts: BTreeMap<Outcome, u32> = BTreeMap::new();
    for clean in [true, false] {
        let origin = tempfile::tempdir().unwrap();
        let events = history(origin.path(), clean).await;
        let output = command(origin.path(), &["verify"]);
        assert_eq!(output.status.code(), Some(0), "{}", printed(&output));
        let data = origin.path().join("data");
        let biggest = files(&data).into_iter().max_by_key(|file| fs::metadata(file).unwrap().len()).unwrap();
        let bytes = fs::read(&biggest).unwrap();
        // Files are made larger than what is written to them: damage goes where something is.
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1;
        let mut cases: Vec<(PathBuf, Damage)> = Vec::new();
        for at in [
            0,
            1,
            used / 4,
            used / 2,
            used * 3 / 4,
            used - 5_000,
            used - 100,
            used - 1,
            used,
            used + 10,
            (used + bytes.len() as u64) / 2,
        ] {
            cases.push((biggest.clone(), Damage::Truncate(at)));
        }
        for _ in 0..16 {
            let mut at = random.below(used);
            while bytes[at as usize] == 0 {
                at = random.below(used);
            }
            cases.push((biggest.clone(), Damage::Flip(at, random.below(8) as u8)));
        }
        for _ in 0..4 {
            cases.push((biggest.clone(), Damage::Zero(random.below(used), 4096)));
        }
        for file in files(&data).into_iter().filter(|file| *file != biggest) {
            let size = fs::metadata(&file).unwrap().len();
            cases.push((file.clone(), Damage::Truncate(size / 2)));
            cases.push((file, Damage::Flip(random.below(size), random.below(8) as u8)));
        }
        for some in cases.chunks(4) {
            let checks = some.iter().map(|(file, damage)| {
                let (data, events) = (&data, &events);
                async move {
                    let folder = tempfile::tempdir().unwrap();
                    let name = file.strip_prefix(data).unwrap();
                    copy_folder(data, &folder.path().join("data"));
                    damage.apply(&folder.path().join("data").join(name));
                    let what = format!(
                        "{} {damage:?}, closed {}",
                        name.display(),
                        if clean { "cleanly" } else { "by a kill" }
                    );
                    println!("{what}");
                    (what, check_damaged(folder.path(), events).await)
                }
            });
            for (what, outcome) in join_all(checks).await {
                println!("{what}: {outcome:?}");
                assert!(!what.contains("snap.") || outcome == Outcome::Whole, "what is derived is made anew: {what}");
                *counts.entry(outcome).or_default() += 1;
            }
        }
    }
    println!("{counts:?}");
    assert!(counts.get(&Outcome::Refused).is_some_and(|count| *count > 5), "damage is found at the start: {counts:?}");
}
