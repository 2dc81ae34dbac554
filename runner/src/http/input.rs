//! The operation's input, as the prelude writes it.

use crate::secret::Secrets;
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
        Secrets::refuse_in(&self.url, "the URL")?;
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
    pub fn body(&self) -> Result<Option<(Vec<u8>, bool)>, ErrorInfo> {
        let (text, is_made) = match &self.body {
            None => return Ok(None),
            Some(Value::String(text)) => (text.clone(), false),
            Some(value) => (value.to_string(), true),
        };
        Secrets::refuse_in(&text, "the body")?;
        Ok(Some((text.into_bytes(), is_made)))
    }

    /// Whether the script wants failures to be tried again.
    pub const fn retries(&self) -> bool {
        self.retry.is_some()
    }
}
