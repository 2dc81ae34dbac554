//! `scripts/REFERENCE.md`: what scripts may call. It is written from the comments of `scripts/moonlog.d.luau` (which another
//! test keeps equal to what the sandbox offers), the limits, and the catalogue of error codes; the examples are run.
//! `WRITE_REFERENCE=1 cargo test -p moonlog-runner --test life reference` writes it anew.

use crate::{agents::stage, place::Place};
use moonlog_core::error_code::{self, Place as Where};
use moonlog_scripts::Limits;
use serde_json::{Value, json};
use std::{collections::BTreeSet, fmt::Write, path::Path};

const FILE: &str = include_str!("../../../scripts/moonlog.d.luau");

/// What is offered under a name.
#[derive(Debug, Default)]
struct Entry {
    name: String,
    signature: String,
    text: Vec<String>,
    /// Name and what it is.
    options: Vec<(String, String)>,
    errors: Vec<(String, String)>,
    example: Vec<String>,
}

/// The entries, and the types with their comments.
fn parse() -> (Vec<Entry>, Vec<String>) {
    let (mut entries, mut types, mut doc) = (Vec::new(), Vec::new(), Vec::new());
    let mut comment: Vec<&str> = Vec::new();
    let mut table: Option<String> = None;
    let mut lines = FILE.lines();
    while let Some(line) = lines.next() {
        let trimmed = line.trim_start();
        if let Some(text) = trimmed.strip_prefix("---") {
            doc.push(text.strip_prefix(' ').unwrap_or(text).to_owned());
        } else if trimmed.starts_with("--") {
            comment.push(line);
        } else if let Some(name) = &table {
            match trimmed.split_once(':') {
                Some((field, kind)) => {
                    let signature = format!("{name}.{field}: {}", kind.trim().trim_end_matches(','));
                    entries.push(entry(format!("{name}.{field}"), signature, std::mem::take(&mut doc)));
                }
                None => table = None,
            }
        } else if let Some(rest) = line.strip_prefix("declare ") {
            let mut signature = rest.to_owned();
            if rest.ends_with('{') && !rest.starts_with("function") {
                table = Some(rest.split(':').next().unwrap().to_owned());
                continue;
            }
            while signature.matches('(').count() != signature.matches(')').count() {
                signature.push('\n');
                signature.push_str(lines.next().unwrap());
            }
            let name = rest.trim_start_matches("function ");
            let end = name.find(['(', '<', ':']).unwrap();
            entries.push(entry(name[..end].to_owned(), signature, std::mem::take(&mut doc)));
        } else if line.starts_with("export type ") {
            let mut text = comment.join("\n");
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(line);
            while text.matches(['{', '(']).count() != text.matches(['}', ')']).count() {
                text.push('\n');
                text.push_str(lines.next().unwrap());
            }
            types.push(text);
        }
        if !trimmed.starts_with("--") {
            comment.clear();
        }
    }
    (entries, types)
}

fn entry(name: String, signature: String, doc: Vec<String>) -> Entry {
    let mut entry = Entry { name, signature, ..Entry::default() };
    let split = |text: &str| {
        let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
        (name.to_owned(), rest.to_owned())
    };
    let mut lines = doc.into_iter();
    let mut last = 't';
    while let Some(line) = lines.next() {
        if let Some(option) = line.strip_prefix("@option ") {
            entry.options.push(split(option));
            last = 'o';
        } else if let Some(error) = line.strip_prefix("@error ") {
            entry.errors.push(split(error));
            last = 'e';
        } else if line == "@example" {
            entry.example = lines.by_ref().collect();
        } else {
            // A line goes on with what is before it.
            match last {
                'o' => append(&mut entry.options.last_mut().unwrap().1, &line),
                'e' => append(&mut entry.errors.last_mut().unwrap().1, &line),
                _ => entry.text.push(line),
            }
        }
    }
    entry
}

fn append(text: &mut String, more: &str) {
    text.push(' ');
    text.push_str(more);
}

#[test]
fn the_reference_says_what_the_definitions_say() {
    let written = reference();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("scripts/REFERENCE.md");
    if std::env::var_os("WRITE_REFERENCE").is_some() {
        std::fs::write(&path, &written).unwrap();
    }
    assert!(
        std::fs::read_to_string(&path).unwrap_or_default() == written,
        "scripts/REFERENCE.md is not up to date: run this test with WRITE_REFERENCE=1"
    );
}

#[test]
fn everything_that_is_offered_is_described() {
    let of_scripts = [Where::Job, Where::Step, Where::Agent, Where::Tool];
    for entry in parse().0 {
        assert!(!entry.text.is_empty(), "scripts/moonlog.d.luau: no line with --- says what `{}` does", entry.name);
        assert!(!entry.example.is_empty(), "scripts/moonlog.d.luau: `{}` has no @example", entry.name);
        for (code, _) in &entry.errors {
            let known = error_code::find(code).unwrap_or_else(|| panic!("{}: no code is named {code}", entry.name));
            assert!(known.places.iter().any(|place| of_scripts.contains(place)), "{}: {code}", entry.name);
        }
    }
}

/// The options that are described are those that the prelude takes.
#[test]
fn options_are_those_that_are_taken() {
    let prelude = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("scripts/src/vm/prelude");
    let taken = |file: &str, constant: &str| -> BTreeSet<String> {
        let text = std::fs::read_to_string(prelude.join(file)).unwrap();
        let rest = text.split(&format!("local {constant} = set(")).nth(1).unwrap();
        let names = rest.trim_start_matches(['"', '[']).split(['"', ']']).next().unwrap();
        names.split_whitespace().map(String::from).collect()
    };
    let entries = parse().0;
    for (name, file, constant, not_here) in [
        ("exec", "processes.luau", "EXEC", &[][..]),
        ("sh", "processes.luau", "EXEC", &[]),
        ("process", "processes.luau", "PROCESS", &[]),
        ("tool", "tool.luau", "TOOL", &[]),
        ("http.request", "http.luau", "HTTP", &[]),
        ("http.get", "http.luau", "HTTP", &["method", "url", "body"]),
        ("agent", "agent.luau", "AGENT", &[]),
        ("workflow", "workflow.luau", "WORKFLOW", &[]),
        ("step", "step.luau", "STEP", &[]),
        ("wait_for", "waits.luau", "WAIT_FOR", &[]),
        ("approve", "waits.luau", "APPROVE", &[]),
    ] {
        let entry = entries.iter().find(|entry| entry.name == name).unwrap();
        let told: BTreeSet<String> = entry.options.iter().map(|(name, _)| name.clone()).collect();
        let mut taken = taken(file, constant);
        taken.retain(|name| !not_here.contains(&name.as_str()));
        assert_eq!(told, taken, "{name}");
    }
}

#[test]
fn the_examples_do_what_they_say() {
    let stage = stage(json!([{ "text": "It is a small project." }]));
    let mut wrong = Vec::new();
    for entry in parse().0 {
        let source = entry.example.join("\n");
        let expected = source.rsplit_once("--> ").unwrap_or_else(|| panic!("{}: no --> says what comes", entry.name)).1;
        let expected: Value = serde_json::from_str(expected).unwrap_or_else(|error| panic!("{}: {error}", entry.name));
        let view = stage.place.ended(&stage.place.submit(&source));
        let result = view.result.map_or(Value::Null, |result| serde_json::from_str(result.as_str()).unwrap());
        if result != expected || view.error.is_some() {
            wrong.push(format!("{}: {result} and not {expected} {:?}", entry.name, view.error));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    stage.place.check();
}

fn reference() -> String {
    let (entries, types) = parse();
    let mut text = String::from(
        "# What scripts may call\n\nLuau (a superset of Lua 5.1) with what stands below. Failures of the outside world come back as `nil, \
         err`; `assert` throws them. `err` is a table `{code, message, retryable, ...}` that prints as its message; `ERRORS.md` says what \
         each code means. Durations are seconds, or texts such as `\"250ms\"`, `\"90s\"`, `\"5m\"`, `\"2h\"`.\n\nWritten by a test from \
         `scripts/moonlog.d.luau`, which editors read too; the test runs the examples.\n\n",
    );
    for entry in &entries {
        writeln!(text, "- [`{0}`](#{1})", entry.name, entry.name.replace('.', "")).unwrap();
    }
    for entry in &entries {
        write!(text, "\n## `{}`\n\n```luau\n{}\n```\n\n{}\n", entry.name, entry.signature, entry.text.join("\n"))
            .unwrap();
        table(&mut text, ("option", ""), &entry.options);
        let told: Vec<(String, String)> =
            entry.errors.iter().map(|(code, note)| (code.clone(), meaning(code, note))).collect();
        table(&mut text, ("error", ""), &told);
        write!(text, "\n```luau\n{}\n```\n", entry.example.join("\n")).unwrap();
    }
    text.push_str("\n## Types\n\n```luau\n");
    text.push_str(&types.join("\n\n"));
    text.push_str("\n```\n");
    limits(&mut text);
    sandbox(&mut text);
    text
}

fn table(text: &mut String, (first, second): (&str, &str), rows: &[(String, String)]) {
    if rows.is_empty() {
        return;
    }
    write!(text, "\n| {first} | {second} |\n|---|---|\n").unwrap();
    for (name, what) in rows {
        writeln!(text, "| `{name}` | {} |", what.replace('|', "\\|")).unwrap();
    }
}

fn meaning(code: &str, note: &str) -> String {
    if note.is_empty() { error_code::find(code).map_or("", |code| code.meaning).to_owned() } else { note.to_owned() }
}

fn limits(text: &mut String) {
    let Limits {
        memory_bytes,
        cpu_ms,
        steps_max,
        events_max,
        branches_max,
        value_bytes,
        agents_max,
        items_max,
        source_bytes,
        unflushed_bytes: _,
    } = Limits::default();
    text.push_str("\n## Limits\n\nEach is a key of the configuration, and has an error of its own.\n\n| limit | default | error |\n|---|---|---|\n");
    for (key, default, code) in [
        ("limits.script_memory_bytes", memory_bytes as u64, "limit_memory"),
        ("limits.script_compute_ms", cpu_ms, "limit_cpu"),
        ("limits.steps_per_job", u64::from(steps_max), "limit_steps"),
        ("limits.events_per_job", events_max, "limit_events"),
        ("limits.open_branches", u64::from(branches_max), "limit_branches"),
        ("limits.value_max_bytes", value_bytes as u64, "limit_value"),
        ("limits.agents_per_job", u64::from(agents_max), "limit_agents"),
        ("limits.items_max", u64::from(items_max), "items_max"),
        ("limits.script_source_bytes", source_bytes as u64, "limit_source"),
        ("limits.nesting", 1, "limit_nesting"),
    ] {
        assert!(error_code::find(code).is_some(), "{code}");
        writeln!(text, "| `{key}` | {default} | `{code}` |").unwrap();
    }
}

/// Names of Luau's own, and of what other Luas have.
const NAMES: [&str; 44] = [
    "_G",
    "_VERSION",
    "assert",
    "bit32",
    "buffer",
    "collectgarbage",
    "coroutine",
    "debug",
    "dofile",
    "error",
    "getfenv",
    "getmetatable",
    "io",
    "ipairs",
    "load",
    "loadfile",
    "loadstring",
    "math",
    "module",
    "newproxy",
    "next",
    "os",
    "package",
    "pairs",
    "pcall",
    "print",
    "rawequal",
    "rawget",
    "rawlen",
    "rawset",
    "require",
    "select",
    "setfenv",
    "setmetatable",
    "string",
    "table",
    "tonumber",
    "tostring",
    "type",
    "typeof",
    "unpack",
    "utf8",
    "vector",
    "xpcall",
];

/// Which of these names there are, as a script sees it.
fn sandbox(text: &mut String) {
    let place = Place::start();
    let asked: Vec<String> = NAMES.iter().map(|name| format!("{{ '{name}', {name} ~= nil }}")).collect();
    let script = format!(
        "local there, gone = {{}}, json.array()
        for _, name in {{ {} }} do table.insert(if name[2] then there else gone, name[1]) end
        local os_names = {{}}
        for name in sorted_pairs(os) do table.insert(os_names, name) end
        return {{ there = there, gone = gone, os = os_names }}",
        asked.join(", ")
    );
    let job = place.submit(&script);
    let names: Value = serde_json::from_str(&place.result(&job)).unwrap();
    let list = |key: &str| {
        let names = names[key].as_array().unwrap().iter().map(|name| format!("`{}`", name.as_str().unwrap()));
        names.collect::<Vec<_>>().join(", ")
    };
    write!(
        text,
        "\n## Sandbox\n\nOf Luau's own there are: {}. Of `os` there are: {}; they tell the journaled time.\n\nThere are none of: {}. Globals \
         are read-only.\n",
        list("there"),
        list("os"),
        list("gone")
    )
    .unwrap();
}
