//! The catalogue of error codes is what the sources make, and `ERRORS.md` is what it says.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use moonlog_tests::sources::{code, files, sources, workspace};
use std::fs;

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
        for code in found {
            made.entry(code).or_insert_with(|| path.clone());
        }
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

/// `ERRORS.md` is what the catalogue says. `WRITE_REFERENCE=1 cargo test -p moonlog-tests --test errors` writes it anew.
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
