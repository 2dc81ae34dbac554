//! Whether a model can be asked, found out without asking it anything: a scripted one's file is read, any other's server
//! is asked for the list of its models, which costs nothing.

use super::{
    options::{ModelOptions, Provider},
    scripted,
};
use reqwest::{Client, StatusCode, Url, header::AUTHORIZATION};
use serde_json::Value;
use std::time::Duration;

/// How much of a list of models is read.
const LIST_MAX_BYTES: usize = 2 << 20;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probed {
    /// It can be asked.
    Ready(String),
    /// It may be; something is odd.
    Doubtful {
        /// What was seen.
        detail: String,
        /// What to do.
        hint: String,
    },
    /// It cannot be.
    Wrong {
        /// What was seen.
        detail: String,
        /// What to do.
        hint: String,
    },
}

fn wrong(detail: impl Into<String>, hint: impl Into<String>) -> Probed {
    Probed::Wrong { detail: detail.into(), hint: hint.into() }
}

fn doubtful(detail: impl Into<String>, hint: impl Into<String>) -> Probed {
    Probed::Doubtful { detail: detail.into(), hint: hint.into() }
}

/// Looks at the model that is configured under `name`. No answer tells of its key.
pub async fn probe(name: &str, options: &ModelOptions, timeout: Duration) -> Probed {
    if options.provider == Provider::Scripted {
        return scripted_file(name, options);
    }
    let key = match (&options.api_key_env, &options.api_key) {
        (Some(variable), None) if options.base_url.is_none() => {
            return wrong(format!("{variable} is not set"), "set it in the server's environment");
        }
        (None, None) if options.base_url.is_none() => {
            return wrong("no key is named", format!("set models.{name}.api_key_env to the variable that holds it"));
        }
        (Some(variable), None) => format!("{variable} is not set"),
        (Some(variable), Some(_)) => format!("{variable} is set"),
        (None, _) => "no key is named".to_owned(),
    };
    let Some(url) = address(options) else {
        return wrong(
            "base_url is no address",
            format!("set models.{name}.base_url, such as http://127.0.0.1:8080/v1"),
        );
    };
    let shown = url.host_str().map_or_else(String::new, |host| {
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}://{host}{port}", url.scheme())
    });
    let Ok(client) = Client::builder().timeout(timeout).connect_timeout(timeout).build() else {
        return wrong("HTTP cannot be set up", "look at the system's certificates");
    };
    let mut request = client.get(url);
    if let Some(secret) = options.api_key.as_ref().map(super::options::ApiKey::reveal) {
        request = match options.provider {
            Provider::Anthropic => request.header("x-api-key", secret).header("anthropic-version", "2023-06-01"),
            Provider::Gemini => request.header("x-goog-api-key", secret),
            Provider::OpenAi | Provider::Scripted => request.header(AUTHORIZATION, format!("Bearer {secret}")),
        };
    }
    let mut response = match request.send().await {
        Ok(response) => response,
        Err(error) if error.is_timeout() => {
            return wrong(format!("{shown} did not answer within {timeout:?}; {key}"), unreachable_hint(name));
        }
        Err(error) => {
            let mut cause: &dyn std::error::Error = &error;
            while let Some(next) = cause.source() {
                cause = next;
            }
            return wrong(format!("{shown} cannot be reached: {cause}; {key}"), unreachable_hint(name));
        }
    };
    match response.status() {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => wrong(
            format!("{shown} refuses the key ({}); {key}", response.status().as_u16()),
            "look at what the variable holds",
        ),
        status if status.is_success() => {
            let mut body = Vec::new();
            while let Ok(Some(piece)) = response.chunk().await {
                body.extend_from_slice(&piece);
                if body.len() > LIST_MAX_BYTES {
                    break;
                }
            }
            match listed(&body, &options.model) {
                Some(false) => doubtful(
                    format!("{shown} answers, and does not list `{}`; {key}", options.model),
                    format!("look at models.{name}.model"),
                ),
                Some(true) => Probed::Ready(format!("{shown} answers, and lists `{}`; {key}", options.model)),
                None => Probed::Ready(format!("{shown} answers; {key}")),
            }
        }
        // Not every server has a list of its models.
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {
            Probed::Ready(format!("{shown} answers, and lists no models; {key}"))
        }
        status => doubtful(format!("{shown} answers {}; {key}", status.as_u16()), "look at that server"),
    }
}

fn unreachable_hint(name: &str) -> String {
    format!("start that server, or set models.{name}.base_url")
}

/// Where the list of models is.
fn address(options: &ModelOptions) -> Option<Url> {
    let (default, version) = match options.provider {
        Provider::Anthropic => ("https://api.anthropic.com", "v1"),
        Provider::Gemini => ("https://generativelanguage.googleapis.com", "v1beta"),
        Provider::OpenAi | Provider::Scripted => ("https://api.openai.com/v1", ""),
    };
    let base = options.base_url.as_deref().unwrap_or(default).trim_end_matches('/');
    let url = Url::parse(base).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())?;
    let bare = matches!(url.path(), "" | "/") && !version.is_empty();
    let path = if bare { format!("{base}/{version}/models") } else { format!("{base}/models") };
    Url::parse(&path).ok()
}

/// Whether a list of models has this one; `None` where it is no such list.
fn listed(body: &[u8], model: &str) -> Option<bool> {
    let list: Value = serde_json::from_slice(body).ok()?;
    let items = list.get("data").or_else(|| list.get("models"))?.as_array().filter(|items| !items.is_empty())?;
    let mut names = items.iter().filter_map(|item| item.get("id").or_else(|| item.get("name"))?.as_str());
    Some(names.any(|name| name == model || name.strip_prefix("models/") == Some(model)))
}

fn scripted_file(name: &str, options: &ModelOptions) -> Probed {
    let Some(file) = &options.file else {
        return wrong("names no file of turns", format!("set models.{name}.file"));
    };
    let read = std::fs::read_to_string(file).map_err(|error| error.to_string());
    match read.and_then(|text| scripted::count(&text)) {
        Ok(turns) => Probed::Ready(format!("plays {turns} turns of {}; it is no real model", file.display())),
        Err(error) => {
            wrong(format!("{} cannot be used: {error}", file.display()), format!("look at models.{name}.file"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_models() {
        for (body, expected) in [
            (r#"{"data":[{"id":"a"},{"id":"m"}]}"#, Some(true)),
            (r#"{"models":[{"name":"models/m"}]}"#, Some(true)),
            (r#"{"data":[{"id":"a"}]}"#, Some(false)),
            (r#"{"data":[]}"#, None),
            ("<html>", None),
        ] {
            assert_eq!(listed(body.as_bytes(), "m"), expected, "{body}");
        }
    }

    #[test]
    fn where_the_list_is() {
        let at = |provider, base: Option<&str>| {
            let options = ModelOptions { base_url: base.map(Into::into), ..ModelOptions::new(provider, "m") };
            address(&options).map(|url| url.to_string())
        };
        let local = |path: &str| Some(format!("http://127.0.0.1:1{path}"));
        assert_eq!(at(Provider::OpenAi, Some("http://127.0.0.1:1/v1/")), local("/v1/models"));
        assert_eq!(at(Provider::Anthropic, Some("http://127.0.0.1:1")), local("/v1/models"));
        assert_eq!(at(Provider::Gemini, Some("http://127.0.0.1:1")), local("/v1beta/models"));
        assert_eq!(at(Provider::OpenAi, Some("nonsense")), None);
    }
}
