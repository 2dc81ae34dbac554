//! What reads bytes that were stored or received, each as a function of arbitrary bytes that panics where a promise is
//! broken. The tests beside this file call them with a bounded number of cases; `tests/fuzz` has a cargo-fuzz target for
//! each.

use moonlog_core::{
    codec::CodecError,
    event::{EventBody, JobEmitted, NewEvent, StreamId},
    id::{Hash, JobId},
    json::Json,
    log::{Append, Expected, Log, LogOptions, verify},
    projection::{Views, ViewsOptions},
    schedule::Cron,
    storage::{MemoryStorage, Space, Storage, Write},
    time::Timestamp,
};
use moonlog_scripts::{Engine, EngineOptions, Limits, Run, RunError, RunSpec, RunState};
use std::{
    fmt::Write as _,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

/// How long anything here may take: far more than it does, and far less than for ever.
const LONG: Duration = Duration::from_secs(20);

/// A function that takes arbitrary bytes.
pub type Decoder = fn(&[u8]);

/// All of them, with the names of their targets and of their folders of seeds.
pub const DECODERS: [(&str, Decoder); 9] = [
    ("event_bytes", event_bytes),
    ("event_json", event_json),
    ("stored_log", stored_log),
    ("bundle", bundle),
    ("border_json", border_json),
    ("border_luau", border_luau),
    ("script", script),
    ("cron", cron),
    ("config", config),
];

/// The stored form of an event's fields: `code u16 · schema u8 · fields`. What is read is written as something that is
/// read as the same.
pub fn event_bytes(data: &[u8]) {
    let [low, high, schema, fields @ ..] = data else { return };
    let Ok(body) = EventBody::decode(u16::from_le_bytes([*low, *high]), *schema, fields) else { return };
    let written = body.encode().expect("what was read can be written");
    let again = EventBody::decode(body.code(), body.schema(), &written).expect("what was written can be read");
    assert_eq!(written, again.encode().expect("it can be written"), "{body:?}");
    assert_eq!(body.data_json(), again.data_json(), "{body:?}");
}

/// An event's `data` as JSON: `number of the type u8 · text`.
pub fn event_json(data: &[u8]) {
    let [which, text @ ..] = data else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let name = EventBody::NAMES[usize::from(*which) % EventBody::NAMES.len()];
    match EventBody::from_data_json(name, text) {
        Ok(body) => {
            let shown = body.data_json();
            let again = EventBody::from_data_json(name, &shown).expect("what is shown can be read");
            assert_eq!(shown, again.data_json(), "{name}");
            let written = body.encode().expect("what was read can be stored");
            match EventBody::decode(body.code(), body.schema(), &written) {
                Ok(stored) => assert_eq!(shown, stored.data_json(), "{name}: it is stored as it is"),
                Err(error) => panic!("{name}: {shown} is stored as what cannot be read: {error}"),
            }
        }
        Err(CodecError::Json { name: of, .. }) => assert_eq!(of, name),
        Err(other) => panic!("{name}: {other}"),
    }
}

/// A small log some of whose stored values have others in their place: `(space u8 · key u8 · at u16 · length u8 · bytes)*`.
/// It is opened, verified, read and folded, or refused.
pub fn stored_log(data: &[u8]) {
    let storage = Arc::new(sound().after_power_cut(0));
    let mut rest = data;
    while let [space, key, low, high, length, more @ ..] = rest {
        let space = Space::ALL[usize::from(*space) % Space::ALL.len()];
        let (bytes, behind) = more.split_at(usize::from(*length).min(more.len()));
        rest = behind;
        let keys = storage.keys(space);
        let at = usize::from(u16::from_le_bytes([*low, *high]));
        match keys.get(usize::from(*key) % (keys.len() + 1)) {
            Some(key) if *length == 0 => storage.tamper(space, key, |value| value.truncate(at)),
            Some(key) => storage.tamper(space, key, |value| {
                let at = at.min(value.len());
                value.resize(value.len().max(at + bytes.len()), 0);
                value[at..at + bytes.len()].copy_from_slice(bytes);
            }),
            None => drop(storage.write(vec![Write::put(space, bytes, at.to_le_bytes())])),
        }
    }
    let begun = Instant::now();
    let _ = verify(&*storage);
    if let Ok((log, _)) = Log::open(storage.clone() as Arc<dyn Storage>, LogOptions::new(Timestamp::default)) {
        let read = log.read(0, 1_000);
        let _ = log.read_back(u64::MAX, 1_000);
        for stream in streams() {
            let _ = log.read_stream(&stream, 0, 1_000);
            let _ = log.read_stream_back(&stream, u64::MAX, 1_000);
            let _ = log.stream_head(&stream);
        }
        let _ = log.verify();
        if let (Ok(events), Ok(views)) = (read, Views::open(&log, ViewsOptions::default())) {
            let behind: Vec<_> = events.into_iter().filter(|event| event.position > views.applied()).collect();
            views.advance(&behind);
            let _ = views.job(&job());
        }
        log.close();
    }
    assert!(begun.elapsed() < LONG, "a damaged log took {:?}", begun.elapsed());
}

fn job() -> JobId {
    JobId::from_bytes([7; 16])
}

fn streams() -> [StreamId; 3] {
    [StreamId::System, StreamId::Job(job()), StreamId::Schedule("nightly".into())]
}

/// A log with a snapshot, an index and a blob, closed.
fn sound() -> &'static MemoryStorage {
    static SOUND: OnceLock<MemoryStorage> = OnceLock::new();
    SOUND.get_or_init(|| {
        let storage = Arc::new(MemoryStorage::new());
        let (log, _) = Log::open(storage.clone() as Arc<dyn Storage>, LogOptions::new(Timestamp::default))
            .expect("an empty log opens");
        let large = format!("\"{}\"", "x".repeat(40 << 10));
        for (n, stream) in streams().into_iter().cycle().take(12).enumerate() {
            let value = if n == 7 { large.clone() } else { format!("[{n}]") };
            let emitted = JobEmitted { name: format!("n{n}"), value: Json::from_written(value) };
            let events = vec![NewEvent::from(EventBody::JobEmitted(emitted))];
            let appended = log.append(Append::new(stream, Expected::Any, events)).expect("it is taken");
            log.durable_blocking(appended.last_position).expect("it is durable");
        }
        let options = ViewsOptions { checkpoint_events: 5, ..ViewsOptions::default() };
        let views = Views::open(&log, options).expect("views open");
        views.advance(&log.read(0, 1_000).expect("it can be read"));
        log.close();
        drop(views);
        Arc::try_unwrap(storage).unwrap_or_else(|shared| shared.after_power_cut(usize::MAX))
    })
}

/// A bundle that is imported.
pub fn bundle(data: &[u8]) {
    let _ = moonlog_api::bundle::Bundle::read(data);
}

/// JSON through a script and back, and through its own decoder and encoder: what goes in comes out.
pub fn border_json(data: &[u8]) {
    let Some(json) = std::str::from_utf8(data).ok().and_then(|text| Json::parse(text).ok()) else { return };
    // Null is nil, and nil is no value of a table; whole numbers beyond 2^53 are not whole any more.
    let returned = run("return args", json.clone());
    if let RunState::Returned(out) = returned {
        let again = run("return args", out.clone());
        assert_eq!(again, RunState::Returned(out.clone()), "what came out goes in");
        let coded = run("return json.decode(json.encode(args))", out.clone());
        assert_eq!(coded, RunState::Returned(out), "decode(encode(x)) is x");
    }
}

/// A value that a script makes up: it comes out as JSON that goes in again, or is refused by name.
pub fn border_luau(data: &[u8]) {
    let mut literal = String::new();
    let mut rest = data;
    write_value(&mut literal, &mut rest, 0);
    match run(&format!("local value = {literal}\nreturn value"), Json::null()) {
        RunState::Returned(out) => {
            let parsed = Json::parse(out.as_str());
            let parsed = parsed.unwrap_or_else(|error| panic!("{literal}: {error}: {}", out.as_str()));
            border_json(parsed.as_str().as_bytes());
        }
        RunState::Failed(error) => {
            let known = ["invalid_value", "limit_value", "script_error", "limit_memory", "limit_cpu"];
            assert!(known.contains(&error.code.as_str()), "{literal}: {error:?}");
        }
        other => panic!("{literal}: {other:?}"),
    }
}

/// One Luau expression, chosen by the next bytes.
fn write_value(out: &mut String, rest: &mut &[u8], depth: usize) {
    let mut next = || {
        let (&first, behind) = rest.split_first().unwrap_or((&0, &[]));
        *rest = behind;
        first
    };
    match (next(), depth) {
        (0..=9, _) => out.push_str("nil"),
        (10..=19, _) => out.push_str("json.null"),
        (20..=29, _) => out.push_str("true"),
        (30..=59, _) => {
            let number = f64::from_le_bytes(std::array::from_fn(|_| next()));
            let _ = if number.is_finite() { write!(out, "({number:e})") } else { write!(out, "(0/0)") };
        }
        (60..=79, _) => drop(write!(out, "{}", i16::from_le_bytes([next(), next()]))),
        (80..=119, _) => {
            out.push('"');
            for _ in 0..next() % 8 {
                let _ = write!(out, "\\x{:02x}", next());
            }
            out.push('"');
        }
        (120..=124, _) => out.push_str("function() end"),
        (125..=129, _) => out.push_str("buffer.create(1)"),
        (130..=134, _) => out.push_str("coroutine.create(print)"),
        (135..=139, _) => out.push_str("vector.create(1, 2, 3)"),
        (140..=149, _) => out.push_str("json.array({})"),
        (_, 6..) => out.push_str("{}"),
        (150..=199, _) => {
            let count = next() % 5;
            out.push('{');
            for _ in 0..count {
                write_value(out, rest, depth + 1);
                out.push(',');
            }
            out.push('}');
        }
        (200.., _) => {
            let count = next() % 5;
            out.push('{');
            for _ in 0..count {
                out.push('[');
                // Nil and NaN are no keys, and an error of the script's own.
                write_value(out, rest, 6);
                out.push_str("]=");
                write_value(out, rest, depth + 1);
                out.push(',');
            }
            out.push('}');
        }
    }
}

fn run(source: &str, args: Json) -> RunState {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    let limits = Limits { cpu_ms: 1_000, memory_bytes: 32 << 20, value_bytes: 1 << 20, ..Limits::default() };
    let engine = ENGINE.get_or_init(|| Engine::new(EngineOptions { limits, warm: 1 }));
    let spec = RunSpec {
        stop: Default::default(),
        earlier: None,
        job: job(),
        run: 1,
        workflow: "fuzz".into(),
        source: source.into(),
        script_hash: Hash::of(source.as_bytes()),
        args,
        seed: 1,
        started_at: Timestamp::default(),
        nesting: 0,
        budget_total: None,
    };
    match Run::start(engine, spec, &[]) {
        Ok((_, slice)) => slice.state,
        Err(RunError::Script(error)) => RunState::Failed(error),
        Err(other) => panic!("{source}: {other}"),
    }
}

/// A script that is checked, as `moonlog check` and every submission do it.
pub fn script(data: &[u8]) {
    let Ok(source) = std::str::from_utf8(data) else { return };
    let begun = Instant::now();
    let _ = moonlog_scripts::check("fuzz", source);
    assert!(begun.elapsed() < LONG, "the check took {:?}", begun.elapsed());
}

/// A cron pattern with its time zone: `pattern · line end · zone`. The times that it names come in order, and soon.
pub fn cron(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (pattern, zone) = text.split_once('\n').unwrap_or((text, "UTC"));
    let begun = Instant::now();
    for now in [0, 1_795_000_000_000_000, -62_000_000_000_000_000, 200_000_000_000_000_000] {
        let now = Timestamp::from_micros(now);
        let _ = Cron::parse(pattern, zone, now);
        if let Ok(cron) = Cron::read(pattern, zone) {
            let next = cron.next(now);
            assert!(next.is_none_or(|next| next > now), "{pattern} {zone}: {next:?} is not behind {now}");
            let last = cron.last(now);
            assert!(last.is_none_or(|last| last <= now), "{pattern} {zone}: {last:?} is behind {now}");
        }
    }
    assert!(begun.elapsed() < LONG, "{pattern} {zone} took {:?}", begun.elapsed());
}

/// `moonlog.toml`.
pub fn config(data: &[u8]) {
    thread_local!(static FILE: tempfile::NamedTempFile = tempfile::NamedTempFile::new().expect("a file"));
    FILE.with(|file| {
        std::fs::write(file.path(), data).expect("it is written");
        if let Err(error) = moonlog_api::config::Config::load(Some(file.path()), [], &[]) {
            assert!(!error.to_string().is_empty());
        }
    });
}
