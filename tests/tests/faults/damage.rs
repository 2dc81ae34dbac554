//! Logs that were damaged, wherever that may be: what was acknowledged is served as it was or the server says that it is not, and no
//! wrong event is ever served.

use super::times;
use futures_util::future::join_all;
use moonlog_core::storage::{Direction, SledOptions, Space, Storage, open_sled};
use moonlog_tests::{Random, Server, Settings, command, copy_folder, printed};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    ops::Bound,
    path::{Path, PathBuf},
};

const SEED: u64 = 0x6469_736b;

/// A data folder with some history, cleanly closed or not, and its events.
async fn history(folder: &Path, clean: bool) -> Vec<Value> {
    let settings = Settings { config: "[log]\nsnapshot_every_events = 100\n".into(), ..Settings::default() };
    let server = Server::start_with(folder, &settings).await;
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

/// Bytes that stand for their kind: in which file, at which places (a value may have been written more than once).
struct Place {
    class: String,
    file: PathBuf,
    at: Vec<usize>,
    /// Whether an event is in it, or a blob of one: then damage is no small matter.
    matters: bool,
}

/// Where in `bytes` `value` stands.
fn places(bytes: &[u8], value: &[u8]) -> Vec<usize> {
    let start = &value[..value.len().min(48)];
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = bytes[from..].windows(start.len()).position(|part| part == start) {
        let at = from + at;
        if bytes[at..].starts_with(value) {
            found.push(at);
        }
        from = at + 1;
    }
    found
}

/// The places of all that a log is made of, found through the store itself.
fn classes(data: &Path) -> Vec<Place> {
    let copy = tempfile::tempdir().unwrap();
    copy_folder(data, &copy.path().join("data"));
    let storage = open_sled(&copy.path().join("data"), SledOptions::default()).unwrap();
    let db = PathBuf::from("log/db");
    let bytes = fs::read(data.join(&db)).unwrap();
    let mut found = Vec::new();
    let of_store = |class: &str, at: Vec<usize>, matters| Place { class: class.into(), file: db.clone(), at, matters };
    for space in Space::ALL {
        let all = storage.scan(space, Bound::Unbounded, Bound::Unbounded, Direction::Forward, usize::MAX).unwrap();
        let chosen: Vec<_> = match all.len() {
            0..=3 => all.iter().collect(),
            many => [many / 4, many / 2, many - 1].iter().map(|at| &all[*at]).collect(),
        };
        for (n, (_, value)) in chosen.iter().enumerate().filter(|(_, (_, value))| value.len() >= 12) {
            let places = places(&bytes, value);
            let middle = [("middle", value.len() / 2)];
            let parts: &[(&str, usize)] = match space {
                // See the grammar in core/src/log/frame.rs.
                Space::Frames if n == 1 => &[
                    ("format", 0),
                    ("length", 2),
                    ("count", 6),
                    ("previous hash", 20),
                    ("hash", 60),
                    ("record's length", 74),
                    ("record", 100),
                ],
                Space::Frames => &[("record", 100)],
                _ => &middle,
            };
            for (part, at) in parts.iter().filter(|(_, at)| *at < value.len()) {
                let matters = matches!(space, Space::Frames | Space::Blobs);
                let at: Vec<_> = places.iter().map(|place| place + at).collect();
                found.push(of_store(&format!("{}: {part}", space.name()), at, matters && !places.is_empty()));
            }
        }
    }
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    // See sled's documentation of its segments: a checksum, its number, how far it was stable.
    for (class, at) in [("segment's checksum", 1), ("segment's number", 6), ("segment's stable number", 14)] {
        found.push(of_store(class, vec![at], false));
    }
    found.push(of_store("tail", vec![used], false));
    found.push(of_store("room behind the tail", vec![(used + 4096).min(bytes.len() - 1)], false));
    for file in files(data).into_iter().filter(|file| !file.ends_with("log/db")).chain([data.join("ballast")]) {
        let length = fs::metadata(&file).unwrap().len() as usize;
        let name = file.strip_prefix(data).unwrap().to_owned();
        for (part, at) in [("beginning", 0), ("middle", length / 2), ("end", length - 1)] {
            found.push(Place {
                class: format!("{}: {part}", name.display()),
                file: name.clone(),
                at: vec![at],
                matters: false,
            });
        }
    }
    found
}

/// What a bundle holds, and whether its end is there.
fn exported(text: &str) -> (Vec<Value>, bool) {
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
    let mut whole = false;
    let mut events = Vec::new();
    for mut line in lines {
        whole |= line.get("end").is_some();
        if line.get("event").is_some() {
            events.push(line["event"].take());
        }
    }
    (events, whole)
}

/// Whether a damaged folder says so, where, and gives what is sound of each job.
fn check_readable(folder: &Path, place: &Place, events: &[Value]) -> &'static str {
    let verified = command(folder, &["verify", "--json"]);
    let text = printed(&verified);
    assert!(matches!(verified.status.code(), Some(0 | 1)) && !text.contains("panicked"), "{text}");
    let sound = verified.status.success();
    let report: Option<Value> = serde_json::from_slice(&verified.stdout).ok();
    let mut jobs: Vec<&Value> =
        events.iter().filter(|event| event["type"] == "job.completed").map(|event| &event["job"]).collect();
    jobs.dedup();
    let mut whole = 0;
    for job in [jobs[0], jobs[jobs.len() / 2]] {
        let of_job: Vec<&Value> = events.iter().filter(|event| event["job"] == *job).collect();
        let output = command(folder, &["export", job.as_str().unwrap(), "-o", "job.bundle"]);
        let said = printed(&output);
        assert!(!said.contains("panicked at"), "{}: {said}", place.class);
        let bundle = fs::read_to_string(folder.join("job.bundle")).unwrap_or_default();
        let _ = fs::remove_file(folder.join("job.bundle"));
        let (given, ended) = exported(&bundle);
        assert!(
            given.iter().zip(&of_job).all(|(given, was)| given == *was),
            "{}: what is given is what was",
            place.class
        );
        let all = ended && given.len() == of_job.len();
        whole += u32::from(all);
        if output.status.success() {
            assert!(all || given.is_empty(), "{}: {said}", place.class);
        } else {
            assert!(said.contains("error:"), "{}: {said}", place.class);
            assert!(!bundle.is_empty() || !said.contains("only the events before"), "{}: {said}", place.class);
        }
    }
    if sound {
        assert_eq!(whole, 2, "{}: what is sound is exported", place.class);
        return "of no consequence";
    }
    let Some(report) = report else { return "the store is refused" };
    let first = &report["damage"][0];
    let position = first["position"].as_u64().unwrap_or_else(|| panic!("{}: {report}", place.class));
    assert!(position >= 1 && first["what"].is_string(), "{}: {report}", place.class);
    // Jobs that ended before it are exported in whole.
    let first_job_end =
        events.iter().find(|event| event["type"] == "job.completed").unwrap()["position"].as_u64().unwrap();
    assert!(whole >= u32::from(first_job_end < position), "{}: {whole} jobs, {report}", place.class);
    "located"
}

#[tokio::test]
async fn damage_of_every_kind_is_found_located_and_what_is_sound_is_exported() {
    for clean in [true, false] {
        let origin = tempfile::tempdir().unwrap();
        let events = history(origin.path(), clean).await;
        let data = origin.path().join("data");
        let mut counts: BTreeMap<(&str, &str), u32> = BTreeMap::new();
        let all = classes(&data);
        let kinds: Vec<&str> = all.iter().map(|place| place.class.as_str()).collect();
        for kind in ["frames: hash", "blobs: middle", "snapshots: middle", "index: middle", "ballast: middle"] {
            assert!(kinds.contains(&kind) || (kind.starts_with("index") && !clean), "{kind} is not among {kinds:?}");
        }
        let mut tried = BTreeSet::new();
        for (place, how) in all.iter().flat_map(|place| ["flipped", "cut"].map(|how| (place, how))) {
            // One of each kind, unless there is time: those that are only there in a log that was closed of one, the rest of the other.
            let kind = place.class.split(':').next().unwrap();
            let is_wanted = how == "flipped"
                && place.file.ends_with("db")
                && clean == (kind == "index")
                && (place.class.contains("hash") || tried.insert(kind));
            if times(0, 1) == 0 && !is_wanted {
                continue;
            }
            let folder = tempfile::tempdir().unwrap();
            copy_folder(&data, &folder.path().join("data"));
            let file = folder.path().join("data").join(&place.file);
            let mut bytes = fs::read(&file).unwrap();
            match (how, place.at.last()) {
                ("cut", Some(last)) => bytes.truncate(*last),
                _ => place.at.iter().for_each(|at| bytes[*at] ^= 0x10),
            }
            fs::write(&file, bytes).unwrap();
            let found = check_readable(folder.path(), place, &events);
            println!("{} {how}: {found}", place.class);
            if place.matters && how == "flipped" {
                assert_ne!(found, "of no consequence", "{}", place.class);
            }
            *counts.entry((how, found)).or_default() += 1;
        }
        println!("{} {counts:?}", if clean { "closed" } else { "killed" });
    }
}
