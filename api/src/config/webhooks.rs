//! `[webhooks.NAME]`.

use super::{ConfigError, load::Values, value::Value};
use crate::feed::Types;
use moonlog_runner::webhook::DEFAULT_TYPES;
use std::{collections::BTreeMap, time::Duration};

/// `[webhooks.NAME]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookConfig {
    /// Where events are posted.
    pub url: reqwest::Url,
    /// Which events, each type by its full name.
    pub types: Vec<String>,
    /// The variable that holds what posts are signed with.
    pub secret_env: Option<String>,
    /// How long one post may take.
    pub timeout: Duration,
    /// How often an event is posted.
    pub max_attempts: u32,
    /// The wait before the second post.
    pub backoff: Duration,
    /// The longest wait.
    pub backoff_max: Duration,
    /// Posts at once.
    pub concurrency: usize,
    /// Deliveries that are held in memory.
    pub window: usize,
    /// An event's data as it is posted.
    pub inline_max_bytes: u64,
}

impl Values {
    pub(super) fn webhooks(&self) -> Result<BTreeMap<String, WebhookConfig>, ConfigError> {
        let webhook = |name: String| {
            let key = |field: &str| format!("webhooks.{name}.{field}");
            let ms = |field: &str| Duration::from_millis(self.whole(&key(field)));
            let config = WebhookConfig {
                url: self.webhook_url(&key("url"))?,
                types: self.webhook_types(&key("types"))?,
                secret_env: Some(self.text(&key("secret_env"))).filter(|text| !text.is_empty()),
                timeout: ms("timeout_ms"),
                max_attempts: u32::try_from(self.whole(&key("max_attempts"))).unwrap_or(u32::MAX),
                backoff: ms("backoff_ms"),
                backoff_max: ms("backoff_max_ms"),
                concurrency: self.size(&key("concurrency")),
                window: self.size(&key("window")),
                inline_max_bytes: self.whole(&key("inline_max_bytes")),
            };
            Ok((name.clone(), config))
        };
        self.names("webhooks").into_iter().map(webhook).collect()
    }

    fn webhook_url(&self, key: &str) -> Result<reqwest::Url, ConfigError> {
        let Some((Value::Text(text), origin)) = self.get(key) else {
            return Err(ConfigError::Missing { key: key.into(), why: "every webhook says where it posts" });
        };
        let url = reqwest::Url::parse(text).ok();
        let is_web = |url: &reqwest::Url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some();
        url.filter(is_web).ok_or_else(|| ConfigError::Invalid {
            origin: origin.clone(),
            key: key.into(),
            expected: "an address such as https://example.com/hook".into(),
            found: format!("`{}`", text.chars().take(80).collect::<String>()),
        })
    }

    /// Names in full. What is posted is no news of webhooks: a post would lead to the next one.
    fn webhook_types(&self, key: &str) -> Result<Vec<String>, ConfigError> {
        let texts = self.texts(key);
        if texts.is_empty() {
            return Ok(DEFAULT_TYPES.map(String::from).into());
        }
        let invalid = |expected: String, found: String| ConfigError::Invalid {
            origin: self.get(key).map_or(super::Source::Default, |(_, origin)| origin.clone()),
            key: key.into(),
            expected,
            found,
        };
        let types: Types = texts.join(",").parse().map_err(|error: crate::feed::InvalidTypes| {
            invalid("event types, such as job.failed or step.*".into(), format!("a list where {error}"))
        })?;
        let names: Vec<String> = types.names().filter(|name| !name.starts_with("webhook.")).map(String::from).collect();
        if names.is_empty() {
            return Err(invalid("event types other than webhook.*".into(), texts.join(",")));
        }
        Ok(names)
    }
}
