//! The type definitions for editors are what the sandbox offers: neither more nor less.

use super::Vm;

/// What Luau itself offers, which editors know.
const LUAU: &[&str] = &[
    "_G",
    "_VERSION",
    "assert",
    "bit32",
    "buffer",
    "coroutine",
    "error",
    "getmetatable",
    "ipairs",
    "math",
    "next",
    "os",
    "pairs",
    "pcall",
    "print",
    "rawequal",
    "rawget",
    "rawlen",
    "rawset",
    "select",
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
    "class",
    "integer",
];

/// What stands in a job's own globals.
const OF_THE_JOB: &[&str] = &["args", "budget.remaining", "budget.spent", "budget.total", "require"];

/// The names that the file declares, and the fields of those that are tables.
fn declared() -> Vec<String> {
    let mut names = Vec::new();
    let mut table: Option<&str> = None;
    for line in include_str!("../../moonlog.d.luau").lines() {
        if let Some(name) = table {
            match line.strip_prefix("    ").and_then(|field| field.split_once(':')) {
                Some((field, _)) => names.push(format!("{name}.{field}")),
                None => table = None,
            }
        } else if let Some(rest) = line.strip_prefix("declare function ") {
            let end = rest.find(['(', '<']).unwrap();
            names.push(rest[..end].to_owned());
        } else if let Some(rest) = line.strip_prefix("declare ") {
            let (name, kind) = rest.split_once(':').unwrap();
            if kind.trim() == "{" {
                table = Some(name);
            } else {
                names.push(name.to_owned());
            }
        }
    }
    names.sort();
    names
}

#[test]
fn the_definitions_declare_what_is_offered() {
    let offered = Vm::new().unwrap().offered().unwrap();
    let is_luau = |name: &String| LUAU.contains(&name.split('.').next().unwrap());
    let mut offered: Vec<String> = offered.into_iter().filter(|name| !is_luau(name)).collect();
    offered.extend(OF_THE_JOB.iter().map(|name| (*name).to_owned()));
    offered.sort();
    assert_eq!(declared(), offered);
}

#[test]
fn a_run_can_move_between_threads() {
    fn is_send<T: Send>() {}
    fn is_shared<T: Send + Sync + Clone>() {}
    is_send::<crate::Run>();
    is_shared::<crate::Engine>();
    is_shared::<crate::Library>();
    is_shared::<crate::StopHandle>();
}
