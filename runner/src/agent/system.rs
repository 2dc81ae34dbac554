//! The system prompt: what the agent was told to be, and how things stand around it, derived anew for each turn. Pure.

use super::schema::AnswerSchema;
use std::path::Path;

/// What an agent is told where nobody tells it anything.
const DEFAULT: &str = "You are an agent. Do what is asked of you with the tools you have, and look at their results \
before you go on. Calls that do not depend on each other may be made at once. When you are done, answer with what \
was asked for, and say plainly what you could not do.";

/// Something that runs beside the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Running {
    /// `process` or `agent`.
    pub(super) kind: &'static str,
    /// Its id.
    pub(super) id: String,
    /// What it is.
    pub(super) what: String,
}

/// What is known around an agent.
pub(super) struct Surroundings<'a> {
    pub(super) root: Option<&'a Path>,
    pub(super) has_tools: bool,
    pub(super) running: &'a [Running],
}

/// The prompt. What changes between turns stands last, so that a provider's cache of the beginning is of use.
pub(super) fn prompt(base: Option<&str>, schema: Option<&AnswerSchema>, around: &Surroundings<'_>) -> String {
    let mut prompt = base.unwrap_or(DEFAULT).to_owned();
    if let Some(root) = around.root.filter(|_| around.has_tools) {
        prompt.push_str(&format!("\n\nYou work in the folder {}: paths are relative to it.", root.display()));
    }
    if let Some(schema) = schema {
        prompt.push_str("\n\n");
        prompt.push_str(&schema.instructions());
    }
    if !around.running.is_empty() {
        prompt.push_str("\n\nThese run in the background now; you will be told when one ends:");
        for running in around.running {
            prompt.push_str(&format!("\n- {} {}: {}", running.kind, running.id, running.what));
        }
    }
    prompt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_stands_last() {
        let running = [Running { kind: "process", id: "p1".into(), what: "make".into() }];
        let around = Surroundings { root: Some(Path::new("/w")), has_tools: true, running: &running };
        let shown = prompt(Some("Be brief."), None, &around);
        assert!(
            shown.starts_with("Be brief.") && shown.contains("/w") && shown.ends_with("- process p1: make"),
            "{shown}"
        );
    }
}
