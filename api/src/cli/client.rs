//! The HTTP client that every command speaks to a server with.

use super::{failure::Failure, problem};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, RequestBuilder, Response, header};
use serde_json::Value;
use std::{net::IpAddr, time::Duration};

/// What has to be escaped in one segment of a path: all but the unreserved characters of RFC 3986.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// `text` as one segment of a path.
pub fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// `path?query`; empty values are left out.
pub fn with_query(path: &str, query: &[(&str, &str)]) -> String {
    let given = query.iter().filter(|(_, value)| !value.is_empty());
    let pairs: Vec<_> = given.map(|(name, value)| format!("{name}={}", segment(value))).collect();
    if pairs.is_empty() { path.to_owned() } else { format!("{path}?{}", pairs.join("&")) }
}

/// A server, and how to get in.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl Client {
    /// A client of the server at `base`, such as `http://127.0.0.1:7070`.
    pub fn new(base: &str, token: Option<String>) -> Result<Self, Failure> {
        let base = if base.contains("://") { base.to_owned() } else { format!("http://{base}") };
        let url = reqwest::Url::parse(&base)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| {
                Failure::usage(format!("`{base}` is no server address")).hint("such as --server http://127.0.0.1:7070")
            })?;
        let mut http = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT);
        if is_this_machine(url.host_str().unwrap_or_default()) {
            // A proxy from the environment must not stand between a client and its own machine.
            http = http.no_proxy();
        }
        let http =
            http.build().map_err(|error| Failure::unreachable(format!("cannot make an HTTP client: {error}")))?;
        Ok(Self { http, base: base.trim_end_matches('/').to_owned(), token })
    }

    /// Where the server is.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// A request for `path`, which begins with `/` and has its segments escaped.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends it; anything but success is a failure.
    pub async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.text().await.unwrap_or_default();
        Err(problem::failure(status.as_u16(), &body))
    }

    /// `GET path`, read as JSON.
    pub async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.get_with(path, &[]).await
    }

    /// `GET path?query`, read as JSON; empty values are left out.
    pub async fn get_with(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, Failure> {
        let path = with_query(path, query);
        let request = self.request(Method::GET, &path).header(header::ACCEPT, "application/json");
        self.json(self.send(request).await?).await
    }

    /// `POST path` with a JSON body, read as JSON; `null` where the answer has no body.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.read(self.request(Method::POST, path).json(body)).await
    }

    /// Sends it, and reads the answer as JSON; `null` where it has no body.
    pub async fn read(&self, request: RequestBuilder) -> Result<Value, Failure> {
        let response = self.send(request).await?;
        self.json(response).await
    }

    /// The bytes of a blob.
    pub async fn blob(&self, hash: &str) -> Result<Vec<u8>, Failure> {
        let response = self.send(self.request(Method::GET, &format!("/v1/blobs/{}", segment(hash)))).await?;
        let bytes = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        Ok(bytes.to_vec())
    }

    async fn json(&self, response: Response) -> Result<Value, Failure> {
        let bytes = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|_| {
            Failure::unreachable(format!("what answers at {} is no moonlog server", self.base))
                .hint("check --server, and what listens there")
        })
    }

    /// The failure for a server that did not answer.
    pub fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let mut cause: &dyn std::error::Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        Failure::unreachable(format!("the server at {} cannot be reached: {cause}", self.base))
            .hint("`moonlog serve` starts one")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(Client::new("127.0.0.1:7070", None).unwrap().base, "http://127.0.0.1:7070");
        assert_eq!(Client::new("https://x.example/", None).unwrap().base, "https://x.example");
        for bad in ["ftp://x", "http://", "::::"] {
            assert!(Client::new(bad, None).is_err(), "{bad}");
        }
    }

    #[test]
    fn this_machine() {
        let cases =
            [("localhost", true), ("127.0.0.1", true), ("[::1]", true), ("10.0.0.1", false), ("a.example", false)];
        for (host, local) in cases {
            assert_eq!(is_this_machine(host), local, "{host}");
        }
    }

    #[test]
    fn a_call_path_is_one_segment() {
        assert_eq!(segment("review/a b:2"), "review%2Fa%20b%3A2");
        assert_eq!(with_query("/v1/jobs", &[("state", ""), ("label", "a=b&c")]), "/v1/jobs?label=a%3Db%26c");
        assert_eq!(with_query("/v1/jobs", &[("state", "")]), "/v1/jobs");
    }
}
