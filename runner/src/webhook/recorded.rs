//! What a try comes to, as the log says it. Pure.

use super::{
    WebhookOptions,
    post::{Posted, wait_ms},
};
use moonlog_core::{
    error_info::ErrorInfo,
    event::{EventBody, WebhookDelivered, WebhookFailed, WebhookRetryScheduled},
};

/// A try that was made.
#[derive(Debug)]
pub(super) struct Tried {
    /// The position of the event.
    pub(super) event: u64,
    pub(super) id: String,
    /// 1-based.
    pub(super) attempt: u32,
    pub(super) posted: Posted,
}

/// What to record of a try. `spread` is chance, for waits.
pub(super) fn record(webhook: &str, options: &WebhookOptions, tried: Tried, until: u64, spread: u8) -> EventBody {
    let Tried { event, id, attempt, posted } = tried;
    let webhook = webhook.to_owned();
    let Some(failed) = posted.failed else {
        let (status, latency_ms) = (posted.status.unwrap_or(200), posted.latency_ms);
        let delivered = WebhookDelivered { webhook, event, id, attempt, status, latency_ms, recorded_until: until };
        return EventBody::WebhookDelivered(delivered);
    };
    let status = posted.status;
    if failed.is_final || attempt >= options.max_attempts {
        let error = ErrorInfo { retryable: false, ..failed.error };
        return EventBody::WebhookFailed(WebhookFailed {
            webhook,
            event,
            id,
            attempt,
            status,
            error,
            recorded_until: until,
        });
    }
    EventBody::WebhookRetryScheduled(WebhookRetryScheduled {
        webhook,
        event,
        id,
        attempt,
        wait_ms: wait_ms(options, attempt, failed.retry_after_ms, spread),
        status,
        error: Some(failed.error),
        recorded_until: until,
    })
}
