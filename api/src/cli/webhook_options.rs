//! What is configured of webhooks, as the runner takes it.

use super::failure::Failure;
use crate::config::{Config, WebhookConfig};
use moonlog_runner::webhook::{WebhookOptions, WebhookSecret};
use std::{collections::BTreeMap, time::Duration};

/// The options. Secrets are looked up in the server's environment, once.
pub fn of(config: &Config) -> BTreeMap<String, WebhookOptions> {
    config.webhooks.iter().map(|(name, webhook)| (name.clone(), of_webhook(webhook))).collect()
}

fn of_webhook(webhook: &WebhookConfig) -> WebhookOptions {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    WebhookOptions {
        url: webhook.url.clone(),
        types: webhook.types.clone(),
        secret: secret(webhook),
        timeout_ms: ms(webhook.timeout),
        max_attempts: webhook.max_attempts,
        backoff_ms: ms(webhook.backoff),
        backoff_max_ms: ms(webhook.backoff_max),
        concurrency: webhook.concurrency,
        window: webhook.window,
        inline_max_bytes: webhook.inline_max_bytes,
    }
}

fn secret(webhook: &WebhookConfig) -> Option<WebhookSecret> {
    let variable = webhook.secret_env.as_deref()?;
    std::env::var(variable).ok().and_then(|text| WebhookSecret::new(&text))
}

/// Refuses to post without the signature that the configuration asks for.
///
/// # Errors
/// Where a variable that a webhook names is not set.
pub fn check(config: &Config) -> Result<(), Failure> {
    for (name, webhook) in &config.webhooks {
        if let Some(variable) = webhook.secret_env.as_ref().filter(|_| secret(webhook).is_none()) {
            let message = format!("webhooks.{name}.secret_env: the variable {variable} is not set");
            return Err(Failure::usage(message).hint("set it, or take the key away to post without a signature"));
        }
    }
    Ok(())
}
