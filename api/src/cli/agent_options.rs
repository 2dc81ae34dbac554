//! What is configured of models and agents, as the runner takes it.

use crate::config::{Config, ModelConfig};
use moonlog_runner::agent::{
    AgentOptions, ApprovalOptions, CheckOptions,
    model::{ApiKey, ModelOptions, ModelsOptions, Prices, Provider},
};

/// The options. Keys are looked up in the server's environment, once.
pub fn of(config: &Config) -> AgentOptions {
    let models = config.models.iter().map(|(name, model)| (name.clone(), of_model(model)));
    AgentOptions {
        models: ModelsOptions {
            models: models.collect(),
            aliases: config.aliases.clone(),
            default: config.defaults.model.clone(),
        },
        approvals: ApprovalOptions { timeout: config.tools.approval_timeout, default: config.tools.approval_default },
        max_turns: config.agents.max_turns,
        max_tool_calls: config.agents.max_tool_calls,
        compact_percent: config.agents.compact_percent,
        concurrency: config.agents.concurrency,
        subagents_max: config.agents.subagents_max,
        subagent_depth: config.agents.subagent_depth,
        check: CheckOptions {
            command: config.agents.check_command.clone(),
            timeout: config.agents.check_timeout,
            output_max_bytes: config.agents.check_output_max_bytes,
        },
        wake: config.agents.wake,
        wakes_max: config.agents.wakes_max,
    }
}

fn of_model(model: &ModelConfig) -> ModelOptions {
    // The configuration has checked the name.
    let provider = Provider::of(&model.provider).unwrap_or(Provider::OpenAi);
    let key = model.api_key_env.as_deref().and_then(|variable| std::env::var(variable).ok());
    ModelOptions {
        base_url: model.base_url.clone(),
        api_key_env: model.api_key_env.clone(),
        api_key: key.map(|key| key.trim().to_owned()).filter(|key| !key.is_empty()).map(ApiKey::new),
        context_tokens: model.context_tokens,
        prices: model.prices.map(|(prompt, cached, completion)| Prices { prompt, cached, completion }),
        first_token_timeout: model.first_token_timeout,
        idle_timeout: model.idle_timeout,
        request_timeout: model.request_timeout,
        max_retries: model.max_retries,
        file: model.file.clone(),
        ..ModelOptions::new(provider, model.model.as_str())
    }
}
