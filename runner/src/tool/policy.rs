//! Which calls need approval and which are refused: `[tools] ask`, `allow` and `deny` of the configuration. Pure.
//!
//! A rule is a tool's name, or a name, a colon and a pattern: `execute`, `process_*`, `execute:rm *`,
//! `write_file:src/**`. The pattern is matched against the command of `execute`, where `*` stands for any text, and
//! against each path of the tools on files, where `*` stops at a `/` and `**` does not. A command line is matched as a
//! whole and in each of its parts between `;`, `&`, `|` and the like, so that `cd x && rm -rf y` is seen by
//! `execute:rm *`. That reads no shell: it keeps the well-meaning from mistakes, and locks nobody in.
//!
//! `deny` wins over all. Between `ask` and `allow` the rule that says more (in characters that are no wildcards) wins,
//! and `ask` where they say as much. A call that no rule names is allowed.

use globset::{GlobBuilder, GlobMatcher};
use serde_json::Value;
use std::fmt;

/// What is to be done about a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Perform it.
    Allow,
    /// Perform it once a person has approved.
    Ask,
    /// Refuse it, for this reason.
    Deny(String),
}

/// One rule.
#[derive(Debug, Clone)]
pub struct Rule {
    text: String,
    tool: GlobMatcher,
    /// As a command, and as a path.
    subject: Option<(GlobMatcher, GlobMatcher)>,
}

impl Rule {
    /// Reads a rule.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (tool, subject) = text.split_once(':').map_or((text, None), |(tool, subject)| (tool, Some(subject)));
        if tool.is_empty() || subject.is_some_and(str::is_empty) {
            return Err(format!("`{text}` is no rule: it is a tool's name, or a name, a colon and a pattern"));
        }
        let glob = |pattern: &str, path: bool| {
            let glob = GlobBuilder::new(pattern).literal_separator(path).backslash_escape(true).build();
            glob.map(|glob| glob.compile_matcher()).map_err(|error| format!("`{text}` is no rule: {error}"))
        };
        let subject = subject.map(|subject| Ok::<_, String>((glob(subject, false)?, glob(subject, true)?)));
        Ok(Self { text: text.to_owned(), tool: glob(tool, false)?, subject: subject.transpose()? })
    }

    fn matches(&self, call: &Call<'_>, every_part: bool) -> bool {
        if !self.tool.is_match(call.tool) {
            return false;
        }
        let Some((command, path)) = &self.subject else { return true };
        match &call.subject {
            Subject::None => false,
            Subject::Command(whole, parts) => {
                if every_part {
                    return !parts.is_empty() && parts.iter().all(|part| command.is_match(part));
                }
                command.is_match(whole) || parts.iter().any(|part| command.is_match(part))
            }
            Subject::Paths(paths) if every_part => paths.iter().all(|given| path.is_match(given)),
            Subject::Paths(paths) => paths.iter().any(|given| path.is_match(given)),
        }
    }

    /// How much it says.
    fn weight(&self) -> usize {
        self.text.chars().filter(|c| !matches!(c, '*' | '?')).count()
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The rules of a configuration.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Calls that need approval.
    pub ask: Vec<Rule>,
    /// Calls that need none, though a rule that says less asks.
    pub allow: Vec<Rule>,
    /// Calls that are refused.
    pub deny: Vec<Rule>,
}

/// A call as rules see it.
struct Call<'a> {
    tool: &'a str,
    subject: Subject,
}

enum Subject {
    None,
    /// The whole line, and its parts.
    Command(String, Vec<String>),
    Paths(Vec<String>),
}

impl Policy {
    /// What is to be done about a call.
    pub fn decide(&self, tool: &str, input: &Value) -> Decision {
        if self.ask.is_empty() && self.deny.is_empty() {
            return Decision::Allow;
        }
        let call = Call { tool, subject: subject(input) };
        if let Some(rule) = self.deny.iter().find(|rule| rule.matches(&call, false)) {
            return Decision::Deny(format!(
                "`{tool}` may not do this here: the rule `{rule}` under `deny` of [tools] refuses it. Do it another way, \
                 or say what you need it for"
            ));
        }
        let heaviest = |rules: &[Rule], every_part| {
            rules.iter().filter(|rule| rule.matches(&call, every_part)).map(Rule::weight).max()
        };
        match (heaviest(&self.ask, false), heaviest(&self.allow, true)) {
            (Some(ask), Some(allow)) if allow > ask => Decision::Allow,
            (Some(_), _) => Decision::Ask,
            (None, _) => Decision::Allow,
        }
    }
}

/// What of an input rules look at.
fn subject(input: &Value) -> Subject {
    if let Some(command) = input["command"].as_str() {
        return Subject::Command(command.trim().to_owned(), parts(command));
    }
    let one = input["path"].as_str().into_iter();
    let edits = input["edits"].as_array().into_iter().flatten().filter_map(|edit| edit["path"].as_str());
    let paths: Vec<String> = one.chain(edits).map(normal).collect();
    if paths.is_empty() { Subject::None } else { Subject::Paths(paths) }
}

/// A path without `.`, and without `..` where something stands before it.
fn normal(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/').filter(|segment| !matches!(*segment, "" | ".")) {
        match segments.last() {
            Some(last) if segment == ".." && *last != ".." => drop(segments.pop()),
            _ => segments.push(segment),
        }
    }
    let root = if path.starts_with('/') { "/" } else { "" };
    format!("{root}{}", segments.join("/"))
}

/// The commands of a command line: what stands between `;`, `&`, `|`, line ends, brackets and backticks outside of
/// single quotes. In double quotes only `$(` and backticks begin one.
fn parts(command: &str) -> Vec<String> {
    let (mut parts, mut part) = (Vec::new(), String::new());
    let (mut single, mut double) = (false, false);
    let mut chars = command.chars().peekable();
    while let Some(c) = chars.next() {
        let ends = match c {
            '\\' if !single => {
                part.push(c);
                part.extend(chars.next());
                continue;
            }
            '\'' if !double => {
                single = !single;
                false
            }
            '"' if !single => {
                double = !double;
                false
            }
            '`' => !single,
            '$' if !single && chars.peek() == Some(&'(') => {
                chars.next();
                true
            }
            ';' | '&' | '|' | '\n' | '(' | ')' => !single && !double,
            _ => false,
        };
        if ends {
            parts.push(std::mem::take(&mut part));
        } else {
            part.push(c);
        }
    }
    parts.push(part);
    parts.into_iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rules(texts: &[&str]) -> Vec<Rule> {
        texts.iter().map(|text| Rule::parse(text).unwrap()).collect()
    }

    fn policy(ask: &[&str], allow: &[&str], deny: &[&str]) -> Policy {
        Policy { ask: rules(ask), allow: rules(allow), deny: rules(deny) }
    }

    fn decided(policy: &Policy, tool: &str, input: Value) -> &'static str {
        match policy.decide(tool, &input) {
            Decision::Allow => "allow",
            Decision::Ask => "ask",
            Decision::Deny(_) => "deny",
        }
    }

    #[test]
    fn commands_are_seen_wherever_they_stand_in_a_line() {
        let policy = policy(&["execute:rm *"], &[], &["execute:sudo *"]);
        for (command, decision) in [
            ("rm -rf x", "ask"),
            ("  rm -rf x", "ask"),
            ("cd a && rm -rf x", "ask"),
            ("true; rm x", "ask"),
            ("ls | xargs -n1 rm ", "allow"),
            ("echo $(rm x)", "ask"),
            ("echo \"$(rm x)\"", "ask"),
            ("echo `rm x`", "ask"),
            ("echo 'a; rm x'", "allow"),
            ("echo \"a; rm x\"", "allow"),
            ("echo a\nrm x", "ask"),
            ("rmdir x", "allow"),
            ("git rm x", "allow"),
            ("rm x; sudo ls", "deny"),
        ] {
            assert_eq!(decided(&policy, "execute", json!({ "command": command })), decision, "{command}");
        }
    }

    #[test]
    fn the_rule_that_says_more_wins_between_ask_and_allow() {
        let policy =
            policy(&["execute", "write_file:src/**"], &["execute:git *", "write_file:src/gen/*"], &["process_*"]);
        for (tool, input, decision) in [
            ("execute", json!({ "command": "make" }), "ask"),
            ("execute", json!({ "command": "git status" }), "allow"),
            // Every part must be allowed.
            ("execute", json!({ "command": "git status && make" }), "ask"),
            ("write_file", json!({ "path": "src/a/b.rs" }), "ask"),
            ("write_file", json!({ "path": "./doc/../src/b.rs" }), "ask"),
            ("write_file", json!({ "path": "src/gen/b.rs" }), "allow"),
            ("write_file", json!({ "path": "src/gen/../b.rs" }), "ask"),
            ("write_file", json!({ "path": "doc/b.md" }), "allow"),
            ("process_signal", json!({ "process_id": "x" }), "deny"),
            ("read_file", json!({ "path": "src/a.rs" }), "allow"),
        ] {
            assert_eq!(decided(&policy, tool, input.clone()), decision, "{tool} {input}");
        }
    }

    #[test]
    fn one_path_of_many_is_enough_to_refuse() {
        let policy = policy(&[], &[], &["edit_files:**/.env"]);
        let edits = json!({ "edits": [{ "path": "a" }, { "path": "x/.env" }] });
        assert_eq!(decided(&policy, "edit_files", edits), "deny");
        assert_eq!(decided(&policy, "edit_files", json!({ "edits": [{ "path": ".env" }] })), "deny");
        assert_eq!(decided(&policy, "edit_files", json!({ "edits": [{ "path": "env" }] })), "allow");
    }

    #[test]
    fn what_is_no_rule_is_told() {
        for text in ["", ":", "execute:", ":rm *", "execute:[a"] {
            assert!(Rule::parse(text).unwrap_err().contains("is no rule"), "{text}");
        }
    }
}
