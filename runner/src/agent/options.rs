//! What can be told of agents, with the defaults.

use super::{calls::ApprovalOptions, check::CheckOptions, model::ModelsOptions, turn::Steps};

/// What can be told of agents.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentOptions {
    /// The models that they may ask.
    pub models: ModelsOptions,
    /// What becomes of tool calls that a person has to approve.
    pub approvals: ApprovalOptions,
    /// Turns of an agent that names no limit.
    pub max_turns: u32,
    /// Tool calls of an agent that names no limit.
    pub max_tool_calls: u32,
    /// How full a model's context gets before the conversation is compacted, in percent; 0: never.
    pub compact_percent: u64,
    /// How many agents of a job and its children run at once; more wait.
    pub concurrency: usize,
    /// How many agents a job's agents may have running at once.
    pub subagents_max: usize,
    /// How deep agents may spawn agents.
    pub subagent_depth: u32,
    /// What is run after a turn in which files were changed.
    pub check: CheckOptions,
    /// Whether sessions are woken that do not say.
    pub wake: bool,
    /// How often a session is woken before somebody says something in it.
    pub wakes_max: u32,
}

impl Default for AgentOptions {
    fn default() -> Self {
        Self {
            models: ModelsOptions::default(),
            approvals: ApprovalOptions::default(),
            max_turns: 50,
            max_tool_calls: 200,
            compact_percent: 70,
            concurrency: 100,
            subagents_max: 8,
            subagent_depth: 2,
            check: CheckOptions::default(),
            wake: false,
            wakes_max: 16,
        }
    }
}

impl AgentOptions {
    /// How far an agent may go that names these limits.
    pub(super) fn steps(&self, max_turns: Option<u32>, max_tool_calls: Option<u32>) -> Steps {
        Steps {
            max_turns: max_turns.unwrap_or(self.max_turns),
            max_tool_calls: max_tool_calls.unwrap_or(self.max_tool_calls),
        }
    }
}
