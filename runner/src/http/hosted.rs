//! The seam to the network: who answers requests in its place, in a simulation.

use futures_util::future::BoxFuture;
use moonlog_core::error_info::ErrorInfo;
use reqwest::{Method, Response, ResponseBuilderExt, StatusCode, Url, header::HeaderMap};

/// Answers requests in the place of the hosts that they are meant for.
pub trait HttpHost: Send + Sync + 'static {
    /// What comes of a request: an answer, or why there is none. One that is dropped was given up.
    fn answer(&self, request: HostedRequest) -> BoxFuture<'static, Result<HostedAnswer, ErrorInfo>>;
}

/// A request as it would be sent.
#[derive(Debug, Clone)]
pub struct HostedRequest {
    /// `GET`, `POST` and so on.
    pub method: Method,
    /// Where it goes.
    pub url: Url,
    /// Its headers, the network's own left out.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
}

/// What a host answers.
#[derive(Debug, Clone, Default)]
pub struct HostedAnswer {
    /// How it went.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
}

impl HostedAnswer {
    pub(super) fn into_response(self, url: Url) -> Result<Response, ErrorInfo> {
        let mut builder = http::Response::builder().status(self.status).url(url);
        if let Some(headers) = builder.headers_mut() {
            *headers = self.headers;
        }
        let invalid = |error: http::Error| ErrorInfo::new("request_failed", format!("no proper answer: {error}"));
        Ok(Response::from(builder.body(self.body).map_err(invalid)?))
    }
}
