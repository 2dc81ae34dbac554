//! What is configured of a webhook, with the defaults.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::Url;
use std::fmt;

/// What is posted where nothing else is asked for: the end of each job.
pub const DEFAULT_TYPES: [&str; 4] = ["job.completed", "job.failed", "job.cancelled", "job.timed_out"];

/// How a secret begins that is written in base64, by the standard.
const SECRET_PREFIX: &str = "whsec_";

/// What a webhook's posts are signed with. Never printed, never recorded.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(Vec<u8>);

impl WebhookSecret {
    /// The secret that a variable holds: `whsec_` with base64 behind it, or any text. `None` where it is empty.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let decoded = text.strip_prefix(SECRET_PREFIX).and_then(|rest| STANDARD.decode(rest).ok());
        let bytes = decoded.unwrap_or_else(|| text.as_bytes().to_vec());
        (!bytes.is_empty()).then_some(Self(bytes))
    }

    pub(super) fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("set")
    }
}

/// `[webhooks.NAME]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookOptions {
    /// Where to post.
    pub url: Url,
    /// Event types, in full.
    pub types: Vec<String>,
    /// What to sign with.
    pub secret: Option<WebhookSecret>,
    /// How long one try may take.
    pub timeout_ms: u64,
    /// How often an event is tried, the first try included.
    pub max_attempts: u32,
    /// The wait before the second try; each further one is twice as long.
    pub backoff_ms: u64,
    /// The longest such wait.
    pub backoff_max_ms: u64,
    /// How many posts are under way at once.
    pub concurrency: usize,
    /// How many deliveries are held here; while there are so many, further events wait in the log.
    pub window: usize,
    /// An event whose data is larger is posted with a reference to it.
    pub inline_max_bytes: u64,
}

impl WebhookOptions {
    /// The end of each job, posted to `url`.
    pub fn new(url: Url) -> Self {
        Self {
            url,
            types: DEFAULT_TYPES.map(String::from).into(),
            secret: None,
            timeout_ms: 15_000,
            max_attempts: 12,
            backoff_ms: 5_000,
            backoff_max_ms: 3_600_000,
            concurrency: 4,
            window: 256,
            inline_max_bytes: 262_144,
        }
    }

    /// Where it posts, as it may be seen: what follows the host may be a secret.
    pub(super) fn shown_url(&self) -> String {
        let rest = if self.url.path().len() > 1 || self.url.query().is_some() { "/…" } else { "/" };
        format!("{}{rest}", self.url.origin().ascii_serialization())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_base64_or_text_and_never_shown() {
        assert_eq!(WebhookSecret::new("whsec_c2VjcmV0").unwrap().reveal(), b"secret");
        assert_eq!(WebhookSecret::new(" plain \n").unwrap().reveal(), b"plain");
        assert_eq!(WebhookSecret::new("  "), None);
        let mut options = WebhookOptions::new(Url::parse("https://user:pw@hooks.example.com:8443/T0/B1?k=s").unwrap());
        options.secret = WebhookSecret::new("whsec_c2VjcmV0");
        assert!(!format!("{:?}", options.secret).contains("c2VjcmV0"));
        assert_eq!(options.shown_url(), "https://hooks.example.com:8443/…");
    }
}
