//! `[models.NAME]` and `[agents]`.

use super::{effective::resolve, load::Values, value::Value};
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

/// `[models.NAME]`
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// `openai`, `anthropic`, `gemini` or `scripted`.
    pub provider: String,
    /// Where it is.
    pub base_url: Option<String>,
    /// The provider's name for it.
    pub model: String,
    /// The variable that holds the key.
    pub api_key_env: Option<String>,
    /// What its context holds; 0 where nobody says.
    pub context_tokens: u64,
    /// The turns of a scripted model.
    pub file: Option<PathBuf>,
    /// Per million tokens: prompt, cached, completion.
    pub prices: Option<(f64, f64, f64)>,
    /// How long an answer may take to begin.
    pub first_token_timeout: Duration,
    /// How long it may fall silent.
    pub idle_timeout: Duration,
    /// How long it may take.
    pub request_timeout: Duration,
    /// How often a request that failed is made again.
    pub max_retries: u32,
}

/// `[agents]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentsConfig {
    /// Turns of an agent that names no limit.
    pub max_turns: u32,
    /// Tool calls of an agent that names no limit.
    pub max_tool_calls: u32,
    /// How full a model's context gets before it is compacted; 0: never.
    pub compact_percent: u64,
    /// How many of a job and its children run at once.
    pub concurrency: usize,
    /// How many agents a job's agents may have running at once.
    pub subagents_max: usize,
    /// How deep agents may spawn agents.
    pub subagent_depth: u32,
    /// What is run after a turn in which files were changed; nothing where it is empty.
    pub check_command: String,
    /// How long it may take.
    pub check_timeout: Duration,
    /// How much of its output an agent is told.
    pub check_output_max_bytes: usize,
    /// Whether idle sessions are woken that do not say.
    pub wake: bool,
    /// How often a session is woken before somebody says something in it.
    pub wakes_max: u32,
}

impl Values {
    pub(super) fn models(&self, env: &BTreeMap<String, String>) -> BTreeMap<String, ModelConfig> {
        let model = |name: String| {
            let key = |field: &str| format!("models.{name}.{field}");
            let some = |field: &str| Some(self.text(&key(field))).filter(|text| !text.is_empty());
            let ms = |field: &str| Duration::from_millis(self.whole(&key(field)));
            let price = |field: &str| match self.get(&key(field)) {
                Some((Value::Number(price), _)) => Some(*price),
                _ => None,
            };
            let prices = [price("prices.prompt"), price("prices.cached"), price("prices.completion")];
            let config = ModelConfig {
                provider: some("provider").unwrap_or_else(|| "openai".into()),
                base_url: some("base_url"),
                model: some("model").unwrap_or_else(|| name.clone()),
                api_key_env: some("api_key_env"),
                context_tokens: self.whole(&key("context_tokens")),
                file: some("file").map(|file| resolve(&file, env)),
                prices: prices.iter().any(Option::is_some).then(|| {
                    let [prompt, cached, completion] = prices;
                    // What is cached costs no more than the rest where nobody says what it costs.
                    (prompt.unwrap_or(0.0), cached.or(prompt).unwrap_or(0.0), completion.unwrap_or(0.0))
                }),
                first_token_timeout: ms("first_token_timeout_ms"),
                idle_timeout: ms("idle_timeout_ms"),
                request_timeout: ms("request_timeout_ms"),
                max_retries: u32::try_from(self.whole(&key("max_retries"))).unwrap_or(u32::MAX),
            };
            (name, config)
        };
        self.names("models").into_iter().map(model).collect()
    }

    pub(super) fn agents(&self) -> AgentsConfig {
        let count = |key: &str| u32::try_from(self.whole(key)).unwrap_or(u32::MAX);
        AgentsConfig {
            max_turns: count("agents.max_turns"),
            max_tool_calls: count("agents.max_tool_calls"),
            compact_percent: self.whole("agents.compact_percent"),
            concurrency: self.size("agents.concurrency"),
            subagents_max: self.size("agents.subagents_max"),
            subagent_depth: count("agents.subagent_depth"),
            check_command: self.text("agents.check_command"),
            check_timeout: Duration::from_millis(self.whole("agents.check_timeout_ms")),
            check_output_max_bytes: self.size("agents.check_output_max_bytes"),
            wake: self.text("agents.wake") == "yes",
            wakes_max: count("agents.wakes_max"),
        }
    }
}
