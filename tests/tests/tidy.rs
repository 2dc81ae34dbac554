//! The shape of the project: who may name what, and what must be kept in step.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// All files below `folder` with this ending, with their texts; paths are relative to the workspace.
fn files(folder: &str, ending: &str) -> Vec<(String, String)> {
    fn collect(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())).flatten() {
            let path = entry.path();
            if path.is_dir() {
                if entry.file_name() != "target" {
                    collect(&path, ending, found);
                }
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    let root = workspace();
    let mut found = Vec::new();
    collect(&root.join(folder), ending, &mut found);
    found.sort();
    found
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            (path.strip_prefix(&root).unwrap().to_string_lossy().into_owned(), text)
        })
        .collect()
}

const ROOMS: [&str; 4] = ["core", "scripts", "runner", "api"];

fn sources() -> Vec<(String, String)> {
    ROOMS.iter().flat_map(|room| files(&format!("{room}/src"), ".rs")).collect()
}

/// Code without comments: a word in a comment names nothing.
fn code(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn naming(word: &str) -> BTreeSet<String> {
    let names = |text: &str| code(text).replace(&format!("self::{word}"), "").contains(word);
    sources().into_iter().filter(|(_, text)| names(text)).map(|(path, _)| path).collect()
}

#[test]
fn one_file_names_each_confined_package() {
    for (word, only) in [("sled::", "core/src/storage/sled.rs"), ("bincode::", "core/src/codec.rs")] {
        assert_eq!(naming(word), BTreeSet::from([only.to_owned()]), "who names {word}");
    }
    for path in naming("mlua::") {
        assert!(path.starts_with("scripts/src/"), "{path} names mlua: only the script host may");
    }
    for path in naming("warp::") {
        assert!(path.starts_with("api/src/"), "{path} names warp: only the api may");
    }
}

#[test]
fn dependencies_point_one_way() {
    for (index, room) in ROOMS.iter().enumerate() {
        let manifest = fs::read_to_string(workspace().join(room).join("Cargo.toml")).unwrap();
        for later in &ROOMS[index + 1..] {
            assert!(!manifest.contains(&format!("moonlog-{later}")), "{room} depends on {later}");
        }
    }
}

#[test]
fn core_has_no_clock_no_tasks_and_no_network() {
    // Three places measure time, and nothing that is stored or told depends on it: the writer's thread, how long a commit
    // takes, to gather the next one, and where appends come in, since when one that is in no hurry waits for it; the store's
    // edge, how long a server that ends may take to let go of its file.
    let measuring = ["core/src/log/intake.rs", "core/src/log/writer.rs", "core/src/storage/sled.rs"];
    for (path, text) in files("core/src", ".rs")
        .into_iter()
        .filter(|(path, _)| !measuring.contains(&path.as_str()) && !path.contains("/tests/"))
    {
        // Tests at a file's end may use what they need.
        let text = code(text.split("#[cfg(test)]").next().unwrap());
        for word in ["SystemTime::now", "Instant::now", "tokio::spawn", "TcpStream", "TcpListener"] {
            assert!(!text.contains(word), "{path} names {word}");
        }
    }
}

#[test]
fn unsafe_code_says_why() {
    for (path, text) in sources() {
        if code(&text).contains("unsafe ") && !code(&text).contains("unsafe_code") {
            panic!("{path} has unsafe code without #[expect(unsafe_code, reason = ...)]");
        }
    }
}

#[test]
fn every_module_opens_with_its_purpose() {
    for (path, text) in sources() {
        assert!(text.starts_with("//!"), "{path} does not say what lives in it");
    }
}

#[test]
fn every_dependency_says_what_it_is_for() {
    let manifest = fs::read_to_string(workspace().join("Cargo.toml")).unwrap();
    let dependencies = manifest.split("[workspace.dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    // Packages that the design names need no word more than their heading.
    let given = dependencies.split("# --- core ---").next().unwrap();
    for line in dependencies.lines().filter(|line| line.contains(" = ") && !given.contains(*line)) {
        assert!(line.contains(" # "), "no reason stands beside: {line}");
    }
}

#[test]
fn every_room_and_file_of_the_map_is_there() {
    let text = fs::read_to_string(workspace().join("ARCHITECTURE.md")).unwrap();
    for room in ROOMS.iter().chain(["tests", "bench"].iter()) {
        assert!(text.contains(&format!("`{room}/")) || text.contains(&format!("`{room}`")), "{room} is not on the map");
    }
    for quoted in text.split('`').skip(1).step_by(2) {
        let looks_like_a_path =
            quoted.contains('/') && ROOMS.iter().any(|room| quoted.starts_with(&format!("{room}/")));
        if looks_like_a_path && !quoted.contains(['*', '<', ' ']) {
            assert!(workspace().join(quoted).exists(), "ARCHITECTURE.md names {quoted}, which is not there");
        }
    }
}

#[test]
fn the_readme_names_both_commands_and_the_check_runs_the_second() {
    let readme = fs::read_to_string(workspace().join("README.md")).unwrap();
    for command in ["cargo run --release -- run repo-report --arg path=.", "cargo test --workspace"] {
        assert!(readme.contains(command), "README.md does not name `{command}`");
    }
    let check = fs::read_to_string(workspace().join(".ci/run")).unwrap();
    assert!(check.contains("cargo test --workspace"), ".ci/run does not call the README's test command");
}

/// Where a code is made, the literal stands behind one of these.
const CODE_MAKERS: [&str; 9] = [
    r#"(?:ErrorInfo|ModelError)::new\(\s*"([a-z0-9_]+)""#,
    r#"Problem::(?:bad_request|not_found)\(\s*"([a-z0-9_]+)""#,
    r#"Problem::new\(\s*(?:StatusCode::[A-Z_]+|status),\s*"([a-z0-9_]+)""#,
    r#"(?:Halt|Self)::(?:error|limit|new)\(\s*"([a-z0-9_]+)""#,
    r#"\bcode: (?:if [^{]+\{ )?"([a-z0-9_]+)""#,
    r#"\bcode: if [^{]+\{ "[a-z0-9_]+" \} else \{ "([a-z0-9_]+)""#,
    r#""code": "([a-z0-9_]+)""#,
    r#"=> \("([a-z0-9_]+)", "[^"]+", (?:true|false)\)"#,
    r#"segment\(\d, "([a-z0-9_]+)"\)"#,
];

/// Blocks in which one of several codes is chosen: what `code` is bound to, and functions of that name.
const CODE_CHOICES: [&str; 2] = [
    r"(?s)let \(?code\b[^=;]*= (?:match|if)(.*?)\n?\};",
    r"(?s)\bfn code(?:_of)?\((?:&self|message: &str)\)[^{]*\{(.*?)\n    ?\}\n",
];

/// Functions and closures that are given a code, by their parameter's name.
const CODE_TAKERS: [&str; 2] = [r"let (\w+) =\s*(?:move )?\|(?:[^|]*, )?code\b", r"\bfn (\w+)\((?:&self, )?code: "];

/// How far into a call its code is looked for.
const CALL_CHARS: usize = 160;

/// Why a flow skips a step is a code too.
const SKIPPED: [&str; 3] = ["not_chosen", "upstream_failed", "when_false"];

fn pattern(text: &str) -> regex::Regex {
    regex::Regex::new(text).unwrap()
}

/// The codes that stand in the sources where codes are made, with the file of each.
fn codes_made() -> std::collections::BTreeMap<String, String> {
    let patterns: Vec<regex::Regex> = CODE_MAKERS.map(pattern).into();
    let (choices, takers) = (CODE_CHOICES.map(pattern), CODE_TAKERS.map(pattern));
    let literal = pattern(r#"(?:\(|=> |\{ |\n\s+)"([a-z]+(?:_[a-z]+)+)""#);
    let argument = pattern(r#"[(, \n]"([a-z]+(?:_[a-z]+)+)"[,)]"#);
    let named = pattern(r"(?:ErrorInfo|ModelError|Problem)::new\(\s*(?:StatusCode::[A-Z_]+,\s*)?([A-Z][A-Z_]+),");
    let all: String = sources().iter().map(|(_, text)| code(text)).collect();
    let mut made = std::collections::BTreeMap::new();
    for (path, text) in sources() {
        let text = code(text.split("#[cfg(test)]").next().unwrap());
        if path.contains("/tests") || path.starts_with("core/src/error_code/") {
            continue;
        }
        let mut found: Vec<String> = Vec::new();
        let first = |found: regex::Captures<'_>| found[1].to_owned();
        found.extend(patterns.iter().flat_map(|pattern| pattern.captures_iter(&text)).map(first));
        for chosen in choices.iter().flat_map(|choice| choice.captures_iter(&text)) {
            found.extend(literal.captures_iter(&chosen[1]).map(first));
        }
        // Where a constant stands for it.
        for name in named.captures_iter(&text) {
            let constant = pattern(&format!(r#"const {}: &str = "([a-z0-9_]+)""#, &name[1]));
            found.push(constant.captures(&all).map_or_else(|| name[1].to_owned(), first));
        }
        for name in takers.iter().flat_map(|taker| taker.captures_iter(&text)).filter(|name| &name[1] != "new") {
            let call = format!("{}(", &name[1]);
            for (at, _) in text.match_indices(&call) {
                let rest: String = text[at + call.len() - 1..].chars().take(CALL_CHARS).collect();
                found.extend(argument.captures(rest.split(';').next().unwrap()).map(first));
            }
        }
        found.into_iter().for_each(|code| drop(made.entry(code).or_insert_with(|| path.clone())));
    }
    let failing = [pattern(r#"fail\((?:.*), "([a-z_]+)"\)"#), pattern(r#"\bcode = "([a-z_]+)""#)];
    for (path, text) in files("scripts/src", ".luau") {
        for found in failing.iter().flat_map(|failing| failing.captures_iter(&text)) {
            made.entry(found[1].to_owned()).or_insert_with(|| path.clone());
        }
    }
    made
}

#[test]
fn every_code_that_is_made_is_in_the_catalogue() {
    let unknown: Vec<String> = codes_made()
        .into_iter()
        .filter(|(code, _)| moonlog_core::error_code::find(code).is_none())
        .map(|(code, path)| format!("`{code}` of {path}"))
        .collect();
    assert!(unknown.is_empty(), "not in core/src/error_code: {}", unknown.join(", "));
}

/// What makes codes in a way that is not looked for would escape the test above.
#[test]
fn the_ways_to_make_codes_are_known() {
    let made = codes_made();
    let escaped: Vec<&str> = moonlog_core::error_code::all()
        .map(|known| known.code)
        .filter(|code| !made.contains_key(*code) && !SKIPPED.contains(code))
        .collect();
    assert!(escaped.is_empty(), "CODE_MAKERS and the like do not find where these are made: {}", escaped.join(", "));
}

#[test]
fn every_code_of_the_catalogue_stands_in_the_sources() {
    let mut texts = sources();
    texts.extend(files("scripts/src", ".luau"));
    texts.retain(|(path, _)| !path.starts_with("core/src/error_code/"));
    let gone: Vec<&str> = moonlog_core::error_code::all()
        .map(|known| known.code)
        .filter(|code| !texts.iter().any(|(_, text)| text.contains(&format!("\"{code}\""))))
        .collect();
    assert!(gone.is_empty(), "in the catalogue, but made nowhere: {}", gone.join(", "));
}

/// `ERRORS.md` is what the catalogue says. `WRITE_REFERENCE=1 cargo test -p moonlog-tests --test tidy` writes it anew.
#[test]
fn the_reference_of_errors_says_what_the_catalogue_says() {
    let written = errors_reference();
    let path = workspace().join("ERRORS.md");
    if std::env::var_os("WRITE_REFERENCE").is_some() {
        fs::write(&path, &written).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap_or_default() == written,
        "ERRORS.md is not up to date: run this test with WRITE_REFERENCE=1"
    );
}

fn errors_reference() -> String {
    use std::fmt::Write;
    let mut text = String::from(
        "# Error codes\n\nEvery error has a `code` that keeps its meaning: in problems that answer requests (`application/problem+json`, \
         whose `type` is `/v1/errors/{code}`), in the `error` of jobs, steps, agents and tool calls, and in `err.code` of scripts. \
         `GET /v1/errors` and `moonlog errors [CODE]` give the same. Scripts may throw codes of their own besides. A job's `retry` can \
         name codes in `on` and `not_on`.\n\nWhere: `http` answers a request, `job` and `step` stand in their errors, `agent` in those of \
         agents and their turns, `tool` in what a tool call gives, `process` in why one did not start, `webhook` in why an event was \
         not delivered.\n\nThe command line exits with 0 where it is done, 1 where a job failed or a check found a difference, 2 for what \
         was typed, configured or submitted, 3 where the server cannot be reached or the data folder is locked.\n\nWritten by a test \
         from `core/src/error_code`.\n",
    );
    for (title, codes) in moonlog_core::error_code::TABLES {
        write!(
            text,
            "\n## {title}\n\n| code | where | HTTP | retry | meaning | what to do |\n|---|---|---|---|---|---|\n"
        )
        .unwrap();
        for code in codes {
            let cell = |text: &str| text.replace('|', "\\|");
            writeln!(
                text,
                "| `{}` | {} | {} | {} | {} | {} |",
                code.code,
                code.places(),
                code.statuses(),
                code.retryable,
                cell(code.meaning),
                cell(code.action)
            )
            .unwrap();
        }
    }
    text
}
