//! What is configured of a model: `[models.NAME]`.

use moonlog_core::{cost::Cost, event::ChatUsage};
use std::{fmt, path::PathBuf, time::Duration};

/// Whose protocol a model speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// Chat completions, as OpenAI and many others serve them.
    OpenAi,
    /// Anthropic's messages.
    Anthropic,
    /// Gemini's.
    Gemini,
    /// None: turns are read from a file.
    Scripted,
}

impl Provider {
    /// The provider of this name.
    pub fn of(name: &str) -> Option<Self> {
        Some(match name {
            "openai" => Self::OpenAi,
            "anthropic" => Self::Anthropic,
            "gemini" => Self::Gemini,
            "scripted" => Self::Scripted,
            _ => return None,
        })
    }

    /// As it stands in the configuration and in events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Scripted => "scripted",
        }
    }
}

/// Money per million tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Prices {
    /// Of the prompt, where the provider had not cached it.
    pub prompt: f64,
    /// Of the prompt, where it had.
    pub cached: f64,
    /// Of the completion, reasoning included.
    pub completion: f64,
}

impl Prices {
    /// What a request has cost.
    pub fn cost_of(&self, usage: &ChatUsage) -> Cost {
        let cached = usage.cached_tokens.min(usage.prompt_tokens);
        Cost::of_tokens(usage.prompt_tokens - cached, self.prompt)
            .plus(Cost::of_tokens(cached, self.cached))
            .plus(Cost::of_tokens(usage.completion_tokens, self.completion))
    }
}

/// A key for a provider: it goes into one header, and nowhere else.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// A key that was looked up. Keys are printable; what is not cannot stand in a header.
    pub fn new(key: impl Into<String>) -> Self {
        Self(key.into())
    }

    /// The key itself.
    pub(in crate::agent) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("set")
    }
}

/// A model as it is configured.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelOptions {
    /// Whose protocol it speaks.
    pub provider: Provider,
    /// Where it is; the provider's own address where that is not said.
    pub base_url: Option<String>,
    /// The provider's name for it.
    pub model: String,
    /// The variable that holds the key.
    pub api_key_env: Option<String>,
    /// What that variable held when the server started.
    pub api_key: Option<ApiKey>,
    /// What its context holds; 0 where that is not known.
    pub context_tokens: u64,
    /// What it costs.
    pub prices: Option<Prices>,
    /// How long the first piece of an answer may take.
    pub first_token_timeout: Duration,
    /// How long any later piece may take.
    pub idle_timeout: Duration,
    /// How long an answer may take.
    pub request_timeout: Duration,
    /// How often a request is tried again.
    pub max_retries: u32,
    /// The turns of a scripted model.
    pub file: Option<PathBuf>,
}

impl ModelOptions {
    /// A model of this provider, with defaults for all that has one.
    pub fn new(provider: Provider, model: impl Into<String>) -> Self {
        Self {
            provider,
            base_url: None,
            model: model.into(),
            api_key_env: None,
            api_key: None,
            context_tokens: 0,
            prices: None,
            first_token_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(60),
            request_timeout: Duration::from_secs(600),
            max_retries: 4,
            file: None,
        }
    }
}
