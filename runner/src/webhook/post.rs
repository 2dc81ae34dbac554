//! One try: an event, posted once.

use super::{WebhookOptions, sign};
use crate::http::HttpPolicy;
use moonlog_core::{error_info::ErrorInfo, time::Timestamp};
use reqwest::{
    Method, StatusCode,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue, InvalidHeaderValue, RETRY_AFTER},
};
use std::time::Duration;
use tokio::time::Instant;

/// A provider that asks for more patience than this is asked again nevertheless.
const RETRY_AFTER_MAX_MS: u64 = 24 * 3_600_000;

/// What came of a try.
#[derive(Debug)]
pub(super) struct Posted {
    pub(super) status: Option<u16>,
    pub(super) latency_ms: u64,
    /// Why it failed, where it did.
    pub(super) failed: Option<Failed>,
}

/// Why a try failed.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: ErrorInfo,
    /// Whether it is worth another.
    pub(super) is_final: bool,
    /// How long the endpoint asks to wait.
    pub(super) retry_after_ms: Option<u64>,
}

/// Posts a body, at `now` by the clock.
pub(super) async fn post(
    options: &WebhookOptions,
    policy: &HttpPolicy,
    id: &str,
    body: String,
    now: Timestamp,
) -> Posted {
    let begun = Instant::now();
    let timeout = Duration::from_millis(options.timeout_ms);
    let answered = tokio::time::timeout(timeout, send(options, policy, id, body, now)).await;
    let (status, failed) = match answered {
        Ok(Ok((status, headers))) => (Some(status.as_u16()), judge(status, &headers, now)),
        Ok(Err(error)) => (None, Some(Failed { error, is_final: false, retry_after_ms: None })),
        Err(_) => {
            let why = format!("the endpoint did not answer within {} ms", options.timeout_ms);
            let error = ErrorInfo::new("timeout", why).retryable();
            (None, Some(Failed { error, is_final: false, retry_after_ms: None }))
        }
    };
    Posted { status, latency_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX), failed }
}

async fn send(
    options: &WebhookOptions,
    policy: &HttpPolicy,
    id: &str,
    body: String,
    now: Timestamp,
) -> Result<(StatusCode, HeaderMap), ErrorInfo> {
    let timestamp = now.as_micros() / 1_000_000;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert("webhook-id", HeaderValue::from_str(id).map_err(unfit)?);
    headers.insert("webhook-timestamp", timestamp.into());
    if let Some(secret) = &options.secret {
        let signature = sign::signature(secret, id, timestamp, body.as_bytes());
        headers.insert("webhook-signature", HeaderValue::from_str(&signature).map_err(unfit)?);
    }
    // What the endpoint has to say is not read: it may be endless, and none of it is recorded.
    let response = policy.send(Method::POST, &options.url, headers, Some(body.into_bytes())).await?;
    Ok((response.status(), response.headers().clone()))
}

/// A header that cannot be: none of what stands in them can be so.
fn unfit(error: InvalidHeaderValue) -> ErrorInfo {
    ErrorInfo::new("internal", format!("a header cannot be sent: {error}"))
}

/// Why an answer is none that takes the event.
fn judge(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Option<Failed> {
    if status.is_success() {
        return None;
    }
    let failed = |code: &str, why: String| {
        Some(Failed {
            error: ErrorInfo::new(code, why).retryable(),
            is_final: false,
            retry_after_ms: retry_after_ms(headers, now),
        })
    };
    match status {
        StatusCode::GONE => Some(Failed {
            error: ErrorInfo::new("webhook_gone", "the endpoint answered 410: it wants no more of these"),
            is_final: true,
            retry_after_ms: None,
        }),
        _ if status.is_redirection() => {
            failed("webhook_redirected", format!("the endpoint answered {status}: redirects are not followed"))
        }
        _ => failed("webhook_status", format!("the endpoint answered {status}")),
    }
}

/// `Retry-After`, in seconds or as a date.
fn retry_after_ms(headers: &HeaderMap, now: Timestamp) -> Option<u64> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let ms = match text.parse::<u64>() {
        Ok(seconds) => seconds.saturating_mul(1_000),
        Err(_) => Timestamp::from_http_date(text)?.ms_since(now),
    };
    Some(ms.min(RETRY_AFTER_MAX_MS))
}

/// How long to wait before the next try: twice as long each time, spread, and no shorter than the endpoint asks for.
pub(super) fn wait_ms(options: &WebhookOptions, attempt: u32, asked_ms: Option<u64>, spread: u8) -> u64 {
    let doubled = options.backoff_ms.saturating_mul(1_u64 << attempt.saturating_sub(1).min(32));
    let wait = doubled.min(options.backoff_max_ms) as f64 * (0.8 + 0.4 * f64::from(spread) / 255.0);
    asked_ms.unwrap_or(0).max(wait as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::Url;

    #[test]
    fn waits_grow_are_spread_and_obey_the_endpoint() {
        let options = WebhookOptions::new(Url::parse("http://x/").unwrap());
        let wait = |attempt, asked, spread| wait_ms(&options, attempt, asked, spread);
        assert_eq!((wait(1, None, 0), wait(1, None, 255)), (4_000, 6_000));
        assert_eq!((wait(2, None, 0), wait(4, None, 0)), (8_000, 32_000));
        assert_eq!((wait(30, None, 255), wait(u32::MAX, None, 0)), (4_320_000, 2_880_000));
        assert_eq!((wait(1, Some(60_000), 255), wait(1, Some(1), 0)), (60_000, 4_000));
    }

    #[test]
    fn answers_say_whether_to_come_back_and_when() {
        let now = Timestamp::from_micros(784_111_777_000_000);
        let headers = |text: &str| [(RETRY_AFTER, text.parse().unwrap())].into_iter().collect::<HeaderMap>();
        let judged = |status: u16, headers: &HeaderMap| {
            judge(StatusCode::from_u16(status).unwrap(), headers, now)
                .map(|failed| (failed.error.code, failed.is_final, failed.retry_after_ms))
        };
        let none = HeaderMap::new();
        assert_eq!(judged(204, &none), None);
        assert_eq!(judged(410, &none), Some(("webhook_gone".into(), true, None)));
        assert_eq!(judged(302, &none), Some(("webhook_redirected".into(), false, None)));
        assert_eq!(judged(503, &headers("7")), Some(("webhook_status".into(), false, Some(7_000))));
        let date = headers("Sun, 06 Nov 1994 08:49:47 GMT");
        assert_eq!(judged(429, &date), Some(("webhook_status".into(), false, Some(10_000))));
        assert_eq!(judged(429, &headers("99999999999")).unwrap().2, Some(RETRY_AFTER_MAX_MS));
        assert_eq!(judged(429, &headers("soon")).unwrap().2, None);
    }
}
