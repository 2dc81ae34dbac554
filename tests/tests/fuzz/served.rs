//! What a server is sent: whole connections, and what models ask tools for. The server is in this process, on a log in
//! memory, and runs no job: no command is started, whatever is sent.

use super::LONG;
use moonlog_api::{
    config::Config,
    server::{ServeOptions, Served, serve},
};
use moonlog_core::{
    json::Json,
    log::{Log, LogOptions},
    storage::MemoryStorage,
};
use moonlog_runner::{
    Runner, RunnerOptions,
    http::{HttpOptions, HttpPolicy},
    process::{HostCommand, Owner, ProcessOptions},
    system_clock,
    tool::ToolContext,
    workspace::WorkspaceOptions,
};
use moonlog_scripts::{Library, Limits};
use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// After so many inputs a new server is begun, as what was sent to the old one is kept.
const INPUTS: u32 = 20_000;

struct Place {
    served: Option<Served>,
    runner: Runner,
    /// Where tools work.
    folder: TempDir,
    inputs: u32,
    /// Last, so that the others end within it.
    runtime: Runtime,
}

impl Place {
    fn start() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let folder = tempfile::tempdir().expect("a folder");
        let worktrees = folder.path().join("worktrees");
        let (served, runner) = runtime.block_on(async {
            let (log, _) = Log::open(Arc::new(MemoryStorage::new()), LogOptions::new(|| system_clock()()))
                .expect("an empty log opens");
            let runner = Runner::start(options(worktrees), log, Library::new(Vec::new())).await.expect("it starts");
            let config = Config::load(Some("/dev/null".as_ref()), [], &[]).expect("the defaults are sound").config;
            let mut serving =
                ServeOptions { listen: ([127, 0, 0, 1], 0).into(), address_file: None, ..ServeOptions::of(&config) };
            serving.limits.header_read_timeout = Duration::from_millis(50);
            serving.limits.body_read_timeout = Duration::from_millis(50);
            serving.limits.wait_max = Duration::ZERO;
            serving.limits.body_max_bytes = 64 << 10;
            (serve(serving, runner.clone()).await.expect("it listens"), runner)
        });
        Self { served: Some(served), runner, folder, inputs: 0, runtime }
    }

    /// Runs `what` with the place of this process.
    fn with(what: impl FnOnce(&mut Self)) {
        static PLACE: Mutex<Option<Place>> = Mutex::new(None);
        let mut place = PLACE.lock().unwrap_or_else(PoisonError::into_inner);
        if place.as_ref().is_some_and(|place| place.inputs >= INPUTS)
            && let Some(mut old) = place.take()
        {
            old.runtime.block_on(async {
                if let Some(served) = old.served.take() {
                    served.stop().await;
                }
                old.runner.shutdown().await;
            });
        }
        let place = place.get_or_insert_with(Self::start);
        place.inputs += 1;
        what(place);
    }
}

fn options(worktrees: std::path::PathBuf) -> RunnerOptions {
    let mut processes =
        ProcessOptions::new(HostCommand { program: "/no/such/host".into(), args: vec!["process-host".into()] });
    processes.base_env = Vec::new();
    RunnerOptions {
        // Only answers: it starts no job and no process.
        concurrency: 0,
        resume_jobs: false,
        idle_evict_ms: 0,
        queues: Default::default(),
        nesting: 1,
        checkpoint_events: 10_000,
        warm_vms: 0,
        bounds: Default::default(),
        limits: Limits { cpu_ms: 100, ..Limits::default() },
        submit_max_bytes: 64 << 10,
        processes,
        agents: Default::default(),
        tools: Default::default(),
        workspaces: WorkspaceOptions::new(worktrees),
        cache: Default::default(),
        http: HttpPolicy::new(HttpOptions::default()).expect("nothing private is allowed"),
        webhooks: Default::default(),
        config: Json::from_written("{}".into()),
        repaired: None,
        clock: system_clock(),
        calendar: None,
        ids: moonlog_runner::random_ids(),
        threads: Default::default(),
    }
}

/// All that a client sends over one connection; `HOST` stands for the server's own name. Each answer has a status that HTTP
/// knows, and none is the server's fault.
pub fn http(data: &[u8]) {
    Place::with(|place| {
        let address = place.served.as_ref().map(Served::addr).expect("it serves");
        let begun = Instant::now();
        let mut stream = TcpStream::connect(address).expect("it listens");
        let _ = stream.set_read_timeout(Some(LONG));
        let named = replaced(data, b"HOST", address.to_string().as_bytes());
        let _ = stream.write_all(&named);
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        // A feed that follows is not waited for.
        let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
        let _ = Read::by_ref(&mut stream).take(1 << 20).read_to_end(&mut answer);
        assert!(begun.elapsed() < LONG, "a connection took {:?}", begun.elapsed());
        if !answer.is_empty() {
            let line = String::from_utf8_lossy(&answer[..answer.len().min(12)]).into_owned();
            let status = line.strip_prefix("HTTP/1.1 ").or_else(|| line.strip_prefix("HTTP/1.0 "));
            let status: u16 = status.and_then(|status| status.get(..3)?.parse().ok()).unwrap_or_default();
            assert!(
                (200..500).contains(&status) || [503, 505].contains(&status),
                "{}",
                String::from_utf8_lossy(&answer)
            );
        }
    });
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    out.extend_from_slice(rest);
    out
}

/// The tools that start nothing.
const TOOLS: [&str; 9] = [
    "read_file",
    "write_file",
    "edit_files",
    "delete_file",
    "list_files",
    "search_files",
    "process_output",
    "process_list",
    "process_signal",
];

/// A call of a tool: `tool u8 · input as JSON`. It ends with an output or an error that has a code, and nothing outside of its
/// folder is touched. The inputs of all other tools are checked and no more.
pub fn tools(data: &[u8]) {
    let [which, text @ ..] = data else { return };
    let Some(input) = std::str::from_utf8(text).ok().and_then(|text| Json::parse(text).ok()) else { return };
    Place::with(|place| {
        let tools = place.runner.tools();
        for definition in tools.definitions() {
            let _ = tools.check(&definition.name, &input);
        }
        let root = place.folder.path().join("root");
        if std::fs::create_dir(&root).is_ok() || place.inputs.is_multiple_of(1_000) {
            std::fs::write(root.join("a.txt"), "one\ntwo\nthree\n").expect("it is written");
            let _ = std::fs::create_dir(root.join("folder"));
            let _ = std::os::unix::fs::symlink("/etc", root.join("out"));
        }
        let context = ToolContext {
            owner: Owner::job(uuid::Uuid::now_v7().into(), Some("step".into())),
            root: Some(root),
            idempotency_key: "key".into(),
            call_id: "call".into(),
        };
        let name = TOOLS[usize::from(*which) % TOOLS.len()];
        let begun = Instant::now();
        let output = place.runtime.block_on(async {
            tokio::time::timeout(LONG, tools.perform(&context, name, &input)).await.expect("a call ends")
        });
        assert!(begun.elapsed() < LONG, "{name} took {:?}", begun.elapsed());
        if let Some(error) = &output.error {
            assert!(moonlog_core::error_code::find(&error.code).is_some(), "{name} {input}: {error:?}");
            assert_ne!(error.code, "internal", "{name} {input}: {error:?}");
        }
        assert!(!place.folder.path().join("escaped").exists(), "{name} {input}");
    });
}
