//! What an operation does, in a few words.

use crate::cli::{duration, paint::harmless};
use serde_json::Value;

/// The longest description, in characters.
const LONGEST: usize = 120;

/// What the operation of this kind with this `input` does: a command line, a URL, a title. One line, harmless to a
/// terminal.
pub fn operation(kind: &str, input: &Value) -> String {
    let text = |name: &str| input[name].as_str().unwrap_or_default();
    let words = match kind {
        "exec" | "process" => command_line(text("command"), &strings(&input["args"])),
        // A script may say in a comment what it is for.
        "sh" => {
            let mut lines = text("script").lines().map(str::trim).filter(|line| !line.is_empty());
            lines.next().unwrap_or_default().trim_start_matches("# ").to_owned()
        }
        "tool" => tool_call(text("name"), &input["input"]),
        "sleep" => input["ms"].as_u64().map(duration::show).unwrap_or_default(),
        "wait_for" => format!("signal {}", text("signal")),
        "approve" => text("title").to_owned(),
        "workflow" => text("name").to_owned(),
        "http" => format!("{} {}", text("method"), text("url")),
        "process_wait" | "process_output" => short_id(text("process")).to_owned(),
        "process_search" => format!("{} for {}", short_id(text("process")), text("pattern")),
        "process_signal" => format!("{} {}", text("signal"), short_id(text("process"))),
        _ => String::new(),
    };
    one_line(&words)
}

/// A tool, and what it is called for: a command, a path, a pattern, a process.
fn tool_call(name: &str, input: &Value) -> String {
    let edited = input["edits"].as_array().into_iter().flatten().find_map(|edit| edit["path"].as_str());
    let about = ["command", "pattern", "path", "process_id"].iter().find_map(|field| input[field].as_str()).or(edited);
    about.map_or_else(|| name.to_owned(), |about| format!("{name} {about}"))
}

/// The first line, not too long, with a mark where something was left out.
pub fn one_line(text: &str) -> String {
    let mut lines = text.trim().lines();
    let first = harmless(lines.next().unwrap_or_default()).into_owned();
    let cut = first.chars().nth(LONGEST).is_some() || lines.next().is_some();
    if cut { first.chars().take(LONGEST).chain("…".chars()).collect() } else { first }
}

/// The last group of an id: enough to tell two apart, and taken wherever a job is named.
pub fn short_id(id: &str) -> &str {
    id.rsplit('-').next().unwrap_or(id)
}

/// A command with its arguments, as one could type it.
pub fn command_line<S: AsRef<str>>(command: &str, args: &[S]) -> String {
    std::iter::once(command).chain(args.iter().map(AsRef::as_ref)).map(quoted).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=,@%+^~{}".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

fn strings(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn operations_in_words() {
        let cases = [
            (
                "exec",
                json!({"command": "git", "args": ["log", "--format=%an x", "it's", ""]}),
                r"git log '--format=%an x' 'it'\''s' ''",
            ),
            ("sh", json!({"script": "\n  echo hi\n  echo ho"}), "echo hi"),
            ("sh", json!({"script": "# count lines\nwc"}), "count lines"),
            ("exec", json!({"command": "python3", "args": ["-c", "import x\nx.y()"]}), "python3 -c 'import x…"),
            ("sleep", json!({"ms": 90_000}), "1m 30s"),
            ("wait_for", json!({"signal": "go"}), "signal go"),
            ("http", json!({"method": "GET", "url": "http://x/\u{1b}[2J"}), "GET http://x/"),
            ("process_wait", json!({"process": "019ab0c2-7d1e-7cc1-9d53-0a3d6b6f2f11"}), "0a3d6b6f2f11"),
            ("step", json!({"name": "x"}), ""),
            ("exec", json!(null), "''"),
        ];
        for (kind, input, words) in cases {
            assert_eq!(operation(kind, &input), words, "{kind} {input}");
        }
    }
}
