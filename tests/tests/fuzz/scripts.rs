//! Scripts, and what crosses their border.

use super::{LONG, stored::job};
use moonlog_core::{id::Hash, json::Json, time::Timestamp};
use moonlog_scripts::{Engine, EngineOptions, Limits, Run, RunError, RunSpec, RunState};
use std::{fmt::Write as _, sync::OnceLock, time::Instant};

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
