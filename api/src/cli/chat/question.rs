//! What the agent asks the person: whether a call may be made, or something that it cannot find out.

use crate::cli::paint::harmless;
use serde_json::{Value, json};
use std::fmt::Write;

/// The tool that asks people things.
const ASK_USER: &str = "ask_user";
/// How much of a call's input is shown.
const SHOWN_CHARS: usize = 400;

/// A question that is open.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// The job that asks.
    pub job: String,
    /// The call.
    pub call_id: String,
    name: String,
    input: Value,
}

impl Question {
    /// A call that waits for a person.
    pub fn new(job: String, call_id: String, name: String, input: Value) -> Self {
        Self { job, call_id, name, input }
    }

    fn options(&self) -> Vec<&str> {
        self.input["options"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// As it is put to the person.
    pub fn text(&self) -> String {
        if self.name != ASK_USER {
            let input: String = harmless(&self.input.to_string()).chars().take(SHOWN_CHARS).collect();
            return format!("May it call {} {input}?\n[y]es, [n]o, or why not:", harmless(&self.name));
        }
        let mut text = harmless(self.input["title"].as_str().unwrap_or("?")).into_owned();
        for (at, option) in self.options().into_iter().enumerate() {
            let _ = write!(text, "\n  {}. {}", at + 1, harmless(option));
        }
        text.push_str(if self.options().is_empty() { "\nYour answer:" } else { "\nA number, or your answer:" });
        text
    }

    /// What a typed line decides.
    pub fn decision(&self, line: &str) -> Value {
        let line = line.trim();
        if self.name == ASK_USER {
            let options = self.options();
            let chosen = line.parse::<usize>().ok().and_then(|n| options.get(n.checked_sub(1)?).copied());
            return json!({ "approved": true, "note": chosen.unwrap_or(line) });
        }
        match line.to_ascii_lowercase().as_str() {
            "y" | "yes" => json!({ "approved": true }),
            "" | "n" | "no" => json!({ "approved": false }),
            _ => json!({ "approved": false, "note": line }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(name: &str, input: Value) -> Question {
        Question::new("j".into(), "c".into(), name.into(), input)
    }

    #[test]
    fn a_call_is_approved_by_a_yes_alone() {
        let question = asks("execute", json!({ "command": "rm x" }));
        assert!(question.text().contains("rm x"));
        for (line, expected) in [
            ("y", json!({ "approved": true })),
            (" YES ", json!({ "approved": true })),
            ("", json!({ "approved": false })),
            ("n", json!({ "approved": false })),
            ("too risky", json!({ "approved": false, "note": "too risky" })),
        ] {
            assert_eq!(question.decision(line), expected, "{line}");
        }
    }

    #[test]
    fn a_question_is_answered_by_a_number_or_in_words() {
        let question = asks("ask_user", json!({ "title": "Which?", "options": ["a", "b"] }));
        assert!(question.text().contains("2. b"));
        for (line, note) in [("2", "b"), ("3", "3"), ("neither", "neither")] {
            assert_eq!(question.decision(line), json!({ "approved": true, "note": note }), "{line}");
        }
    }
}
