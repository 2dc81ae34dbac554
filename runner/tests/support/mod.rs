//! What tests of processes share: a real log in memory, and the real process host, which is this test binary again.

#![allow(dead_code, reason = "each test binary uses its own part")]

use moonlog_core::{
    event::{Event, EventBody, ProcessExited, StreamId},
    id::{JobId, ProcessId},
    log::{Log, LogOptions},
    storage::{MemoryStorage, Storage},
    time::Timestamp,
};
use moonlog_runner::process::{HostCommand, Owner, ProcessOptions, ProcessSpec, Processes};
use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use uuid::Uuid;

pub struct World {
    pub storage: Arc<MemoryStorage>,
    pub log: Log,
    pub processes: Processes,
    pub job: JobId,
    pub folder: tempfile::TempDir,
}

pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_micros(since.as_micros() as i64)
}

/// The host is the ignored test `process_host` of the binary that runs.
pub fn host() -> HostCommand {
    HostCommand {
        program: std::env::current_exe().unwrap(),
        args: ["process_host", "--exact", "--ignored", "--nocapture", "--test-threads=1"].map(String::from).into(),
    }
}

/// Whether this is run as the process host. Whoever holds the socket keeps the host's connection open, so nothing of
/// it is kept.
pub fn stdin_is_a_socket() -> bool {
    let stdin = std::fs::metadata("/proc/self/fd/0").unwrap();
    std::os::unix::fs::FileTypeExt::is_socket(&stdin.file_type())
}

pub fn world() -> World {
    world_with(|_| {})
}

pub fn world_with(change: impl FnOnce(&mut ProcessOptions)) -> World {
    let storage = Arc::new(MemoryStorage::new());
    let log_options = LogOptions { pending_max_bytes: 256 << 10, ..LogOptions::new(now) };
    let (log, _) = Log::open(Arc::clone(&storage) as Arc<dyn Storage>, log_options).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut options = ProcessOptions::new(host());
    options.workdir = folder.path().to_path_buf();
    change(&mut options);
    let processes = Processes::new(log.clone(), options);
    World { storage, log, processes, job: Uuid::now_v7().into(), folder }
}

impl World {
    pub fn sh(&self, script: &str) -> ProcessSpec {
        self.command("sh", &["-c", script])
    }

    pub fn command(&self, command: &str, args: &[&str]) -> ProcessSpec {
        ProcessSpec {
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            background: false,
            capture: true,
            ..ProcessSpec::new(Uuid::now_v7().into(), command, Owner::job(self.job, Some("step".into())))
        }
    }

    /// The job's events, once all that was appended is durable.
    pub async fn events(&self) -> Vec<Arc<Event>> {
        let stream = StreamId::Job(self.job);
        let marker = EventBody::JobEmitted(moonlog_core::event::JobEmitted {
            name: "marker".into(),
            value: moonlog_core::json::Json::null(),
        });
        let append =
            moonlog_core::log::Append::new(StreamId::System, moonlog_core::log::Expected::Any, vec![marker.into()]);
        let appended = self.log.append(append).unwrap();
        self.log.durable(appended.last_position).await.unwrap();
        self.log.read_stream(&stream, 0, 1_000_000).unwrap()
    }

    /// What the log holds of one process: its outputs put together, and its end.
    pub async fn recorded(&self, process: ProcessId) -> (String, String, ProcessExited) {
        let mut outputs = [String::new(), String::new()];
        let mut end = None;
        for event in self.events().await.iter().filter(|event| event.process == Some(process)) {
            assert!(end.is_none(), "{} behind process.exited", event.body.name());
            match &event.body {
                EventBody::ProcessOutput(output) => {
                    outputs[output.fd as usize - 1] += output.text.as_deref().unwrap_or("");
                }
                EventBody::ProcessExited(exited) => end = Some(exited.clone()),
                _ => {}
            }
        }
        let [stdout, stderr] = outputs;
        (stdout, stderr, end.expect("process.exited"))
    }
}

/// Waits for something that comes about outside of this process.
pub async fn eventually<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = check().await {
            return found;
        }
        assert!(Instant::now() < until, "never came about: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether a process runs: is there and no zombie.
pub fn alive(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with(['Z', 'X'])))
}

/// The processes whose environment holds this text, which only those have that a test marked.
pub fn marked(mark: &str) -> Vec<i32> {
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environ.windows(mark.len()).any(|window| window == mark.as_bytes())
        })
        .filter(|pid| alive(*pid))
        .collect()
}

/// A limit on how long a test waits for something of moonlog's own.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(20), future).await {
        Ok(value) => value,
        Err(_) => panic!("took too long: {what}"),
    }
}
