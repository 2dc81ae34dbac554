//! The operation's input, as the prelude writes it.

use moonlog_core::error_info::ErrorInfo;
use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// `http`
#[derive(Debug, Deserialize)]
pub(super) struct HttpInput {
    #[serde(default)]
    method: Option<String>,
    url: String,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    #[serde(default)]
    body: Option<Value>,
    pub timeout_ms: Option<u64>,
    retry: Option<Value>,
}

impl HttpInput {
    pub fn method(&self) -> Result<Method, ErrorInfo> {
        let method = self.method.as_deref().unwrap_or("GET").to_ascii_uppercase();
        Method::from_bytes(method.as_bytes())
            .ok()
            .filter(|method| *method != Method::CONNECT)
            .ok_or_else(|| ErrorInfo::new("invalid_method", format!("`{method}` is no method for a request")))
    }

    pub fn url(&self) -> Result<Url, ErrorInfo> {
        let invalid = |why: &dyn std::fmt::Display| {
            let shown: String = self.url.chars().take(200).collect();
            ErrorInfo::new("invalid_url", format!("`{shown}` is no URL to request: {why}"))
        };
        let url = Url::parse(&self.url).map_err(|error| invalid(&error))?;
        match url.scheme() {
            "http" | "https" if url.has_host() => Ok(url),
            _ => Err(invalid(&"only http and https are known")),
        }
    }

    /// The body's bytes, and whether they are JSON that was made here.
    pub fn body(&self) -> Option<(Vec<u8>, bool)> {
        match self.body.as_ref()? {
            Value::String(text) => Some((text.clone().into_bytes(), false)),
            value => Some((value.to_string().into_bytes(), true)),
        }
    }

    /// Whether the script wants failures to be tried again.
    pub const fn retries(&self) -> bool {
        self.retry.is_some()
    }
}
