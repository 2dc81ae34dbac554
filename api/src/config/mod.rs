//! The configuration: what can be set (`keys`), with which values (`value`), how file, environment and flags are laid
//! over each other (`load`), what that comes to (`effective`), the typed result that the rest of moonlog gets (`settings`), and how `moonlog config`
//! prints it (`show`). Nothing here starts or opens anything but the configuration's own files.

mod effective;
mod error;
mod keys;
mod load;
mod settings;
mod show;
mod value;

#[cfg(test)]
mod tests;

pub use error::ConfigError;
pub use load::{Flag, Loaded};
pub use settings::{
    ApiConfig, Config, DefaultsConfig, HttpConfig, LimitsConfig, LogConfig, QueueConfig, RunnerConfig, SecretConfig,
    Token, ToolsConfig, WorkspacesConfig,
};
pub use show::{Entry, Source};
