//! The configuration: what can be set (`keys`), with which values (`value`), how file, environment and flags are laid
//! over each other (`load`), `models` and `webhooks` what is configured of those, what that comes to (`effective`), the typed result that the rest of moonlog gets (`settings`), and how `moonlog config`
//! prints it (`show`), and which variables are moonlog's (`variables`). Nothing here starts or opens anything but the configuration's own files.

mod effective;
mod error;
mod keys;
mod load;
mod models;
mod settings;
mod show;
mod value;
mod variables;
mod webhooks;

#[cfg(test)]
mod tests;

pub use error::{ConfigError, UnknownKey};
pub use load::{Flag, Loaded};
pub use models::{AgentsConfig, ModelConfig};
pub use settings::{
    ApiConfig, CacheConfig, Config, DefaultsConfig, HttpConfig, LimitsConfig, LogConfig, QueueConfig, RetentionConfig,
    RunnerConfig, SecretConfig, Token, ToolsConfig, WorkspacesConfig,
};
pub use show::{Entry, Source};
pub use webhooks::WebhookConfig;
