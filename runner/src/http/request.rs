//! Performs one request, with the redirects that it leads to.

use super::{HttpPolicy, input::HttpInput, policy::not_allowed, resolver::NotAllowed};
use crate::{
    StepResult,
    secret::{Place, Secrets},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use moonlog_core::{error_info::ErrorInfo, event::StepOutcome, json::Json};
use reqwest::{
    Method, Response, StatusCode, Url,
    header::{
        AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION,
        PROXY_AUTHORIZATION, TRANSFER_ENCODING,
    },
};
use serde_json::{Map, Value, json};
use std::{error::Error, time::Duration};

/// Headers that never go to another origin than they were meant for. Those with a secret in them do not either.
const SENSITIVE: [HeaderName; 3] = [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION];

/// Performs the operation `http`. `idempotency_key` goes along as the header `Idempotency-Key`.
///
/// The result is `{status, headers, body}`, with `body_base64` instead of `body` where the answer is not UTF-8. Any
/// status is a success, but for those that say to try again where the script asked for retries.
pub async fn perform(input: &Json, idempotency_key: &str, policy: &HttpPolicy) -> StepResult {
    let input: HttpInput = match input.to() {
        Ok(input) => input,
        Err(error) => return StepResult::failed(ErrorInfo::new("invalid_input", format!("http: {error}"))),
    };
    let timeout_ms = input.timeout_ms.unwrap_or(policy.options().timeout_ms);
    let performed = tokio::time::timeout(Duration::from_millis(timeout_ms), follow(&input, idempotency_key, policy));
    match performed.await {
        Ok(Ok(answer)) => answer.into_result(input.retries()),
        Ok(Err(error)) => StepResult::failed(scrubbed(error, &policy.options().secrets)),
        Err(_) => {
            let error = ErrorInfo::new("timeout", format!("the request was not answered within {timeout_ms} ms"));
            StepResult { outcome: StepOutcome::TimedOut, output: None, error: Some(error.retryable()) }
        }
    }
}

fn scrubbed(error: ErrorInfo, secrets: &Secrets) -> ErrorInfo {
    ErrorInfo { message: secrets.scrub(&error.message), ..error }
}

/// A request on its way through redirects.
struct Request {
    method: Method,
    url: Url,
    headers: HeaderMap,
    /// Which of the headers hold a secret.
    secret_headers: Vec<HeaderName>,
    body: Option<Vec<u8>>,
}

async fn follow(input: &HttpInput, idempotency_key: &str, policy: &HttpPolicy) -> Result<Answer, ErrorInfo> {
    let mut request = Request::new(input, idempotency_key, policy)?;
    for _ in 0..=policy.options().redirects_max {
        let response = request.send(policy).await?;
        match next_url(&request.url, &response)? {
            Some(url) => request.redirect(url, response.status()),
            None => return Answer::read(response, policy).await,
        }
    }
    let max = policy.options().redirects_max;
    Err(ErrorInfo::new("too_many_redirects", format!("the request was redirected more than {max} times")))
}

impl Request {
    fn new(input: &HttpInput, idempotency_key: &str, policy: &HttpPolicy) -> Result<Self, ErrorInfo> {
        let (method, url) = (input.method()?, input.url()?);
        let host = url.host_str().unwrap_or_default();
        let mut headers = HeaderMap::new();
        let mut secret_headers = Vec::new();
        for (name, value) in &input.headers {
            let invalid = |_| ErrorInfo::new("invalid_header", format!("`{name}` cannot be a header"));
            let invalid_value = |_| ErrorInfo::new("invalid_header", format!("the value of `{name}` cannot be sent"));
            let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(invalid)?;
            // Hosts share servers: with another name in it, a request could take a secret past its host to a neighbour.
            if parsed == HOST {
                let why = "`Host` follows from the URL and cannot be set: name the host in the URL";
                return Err(ErrorInfo::new("invalid_header", why));
            }
            let resolved = policy.options().secrets.resolve(value, Place::Host(host))?;
            let mut header = HeaderValue::from_str(&resolved).map_err(invalid_value)?;
            if Secrets::mentioned_in(value) {
                header.set_sensitive(true);
                secret_headers.push(parsed.clone());
            }
            headers.append(parsed, header);
        }
        // These follow from the body, whatever is said.
        headers.remove(CONTENT_LENGTH);
        headers.remove(TRANSFER_ENCODING);
        if let Ok(key) = HeaderValue::from_str(idempotency_key) {
            headers.entry("idempotency-key").or_insert(key);
        }
        let body = input.body()?;
        if let Some((_, true)) = body {
            headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
        }
        let (body, max) = (body.map(|(bytes, _)| bytes), policy.options().request_max_bytes);
        match &body {
            Some(body) if body.len() > max => Err(ErrorInfo::new(
                "request_too_large",
                format!("the body has {} bytes, more than the limit of {max}", body.len()),
            )),
            _ => Ok(Self { method, url, headers, secret_headers, body }),
        }
    }

    async fn send(&self, policy: &HttpPolicy) -> Result<Response, ErrorInfo> {
        policy.send(self.method.clone(), &self.url, self.headers.clone(), self.body.clone()).await
    }

    /// Goes on to where an answer pointed.
    fn redirect(&mut self, url: Url, status: StatusCode) {
        if url.origin() != self.url.origin() {
            for name in SENSITIVE.iter().chain(&self.secret_headers) {
                self.headers.remove(name);
            }
        }
        let becomes_get = match status {
            StatusCode::SEE_OTHER => self.method != Method::HEAD,
            // As browsers do it, and as RFC 9110 allows it.
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => self.method == Method::POST,
            _ => false,
        };
        if becomes_get {
            self.method = Method::GET;
            self.body = None;
            self.headers.remove(CONTENT_TYPE);
            self.headers.remove(CONTENT_LENGTH);
        }
        self.url = url;
    }
}

/// Where an answer points, if it is a redirect.
fn next_url(from: &Url, response: &Response) -> Result<Option<Url>, ErrorInfo> {
    let redirects = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let Some(location) = response.headers().get(LOCATION).filter(|_| redirects) else { return Ok(None) };
    let url = location.to_str().ok().and_then(|location| from.join(location).ok());
    match url {
        Some(url) if matches!(url.scheme(), "http" | "https") => Ok(Some(url)),
        _ => Err(ErrorInfo::new("invalid_redirect", "the answer redirects to something that cannot be requested")),
    }
}

/// Why there was no answer. The URL is left out: it may hold a password.
pub(super) fn failure(url: &Url, error: &reqwest::Error) -> ErrorInfo {
    let host = url.host_str().unwrap_or_default();
    let (mut last, mut refused) = (String::new(), None);
    let mut next = error.source();
    while let Some(cause) = next {
        last = cause.to_string();
        refused = refused.or(cause.downcast_ref::<NotAllowed>());
        next = cause.source();
    }
    if let Some(NotAllowed { host, address }) = refused {
        return not_allowed(host, *address);
    }
    let error_info = |code, what: &str| ErrorInfo::new(code, format!("{what} {host}: {last}")).retryable();
    match () {
        () if error.is_dns() => error_info("dns_failed", "cannot find"),
        () if error.is_connect() => error_info("connect_failed", "cannot connect to"),
        () if error.is_builder() => ErrorInfo::new("invalid_request", format!("the request cannot be made: {last}")),
        () => error_info("request_failed", "no proper answer from"),
    }
}

/// What a host answered, without any secret.
struct Answer {
    status: StatusCode,
    headers: Map<String, Value>,
    body: Vec<u8>,
}

impl Answer {
    async fn read(mut response: Response, policy: &HttpPolicy) -> Result<Self, ErrorInfo> {
        let (status, url) = (response.status(), response.url().clone());
        let secrets = &policy.options().secrets;
        let mut headers: Map<String, Value> = Map::new();
        for (name, value) in response.headers() {
            let value = secrets.scrub(&String::from_utf8_lossy(value.as_bytes()));
            let joined = match headers.get(name.as_str()).and_then(Value::as_str) {
                Some(first) => format!("{first}, {value}"),
                None => value,
            };
            headers.insert(name.as_str().to_owned(), joined.into());
        }
        let max = policy.options().response_max_bytes;
        let (mut scrubber, mut body, mut read) = (secrets.scrubber(), Vec::new(), 0);
        while let Some(piece) = response.chunk().await.map_err(|error| failure(&url, &error))? {
            read += piece.len();
            if read > max {
                let host = url.host_str().unwrap_or_default();
                let why =
                    format!("the answer of {host} (status {status}) has more than {max} bytes, which is the limit");
                return Err(ErrorInfo::new("response_too_large", why));
            }
            scrubber.push(&piece, &mut body);
        }
        scrubber.finish(&mut body);
        Ok(Self { status, headers, body })
    }

    fn into_result(self, retries: bool) -> StepResult {
        let status = self.status.as_u16();
        let mut output = json!({ "status": status, "headers": self.headers });
        match String::from_utf8(self.body) {
            Ok(text) => output["body"] = text.into(),
            Err(error) => output["body_base64"] = STANDARD.encode(error.as_bytes()).into(),
        }
        if retries && matches!(status, 408 | 425 | 429 | 500 | 502..=504) {
            let error = ErrorInfo::new("http_status", format!("the answer was {}", self.status)).retryable();
            return StepResult { outcome: StepOutcome::Error, output: Some(output.into()), error: Some(error) };
        }
        StepResult::ok(output)
    }
}
