//! What the events of webhooks carry. They stand in `system`.

use crate::{
    codec::{Decode, Encode},
    error_info::ErrorInfo,
};
use serde::{Deserialize, Serialize};

/// `webhook.configured`: from here on a webhook wants events of these types. Written where what is configured has changed
/// since the last server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct WebhookConfigured {
    /// Its name.
    pub webhook: String,
    /// Event types; none where it is configured no more.
    pub types: Vec<String>,
}

/// `webhook.delivered`: an endpoint took an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct WebhookDelivered {
    /// The webhook.
    pub webhook: String,
    /// The position of the event.
    pub event: u64,
    /// The header `webhook-id`, the same in every try.
    pub id: String,
    /// 1-based.
    pub attempt: u32,
    /// What was answered.
    pub status: u16,
    /// How long it took.
    pub latency_ms: u64,
    /// Up to this position every event that the webhook wants has its record.
    pub recorded_until: u64,
}

/// `webhook.retry_scheduled`: an endpoint did not take an event, or somebody wants it posted again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct WebhookRetryScheduled {
    /// The webhook.
    pub webhook: String,
    /// The position of the event.
    pub event: u64,
    /// The header `webhook-id`, the same in every try.
    pub id: String,
    /// The try that failed, 1-based; 0 where somebody asked for another delivery.
    pub attempt: u32,
    /// How long from this event to the next try.
    pub wait_ms: u64,
    /// What was answered, where anything was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorInfo>,
    /// Up to this position every event that the webhook wants has its record.
    pub recorded_until: u64,
}

/// `webhook.failed`: no other try is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct WebhookFailed {
    /// The webhook.
    pub webhook: String,
    /// The position of the event.
    pub event: u64,
    /// The header `webhook-id`, the same in every try.
    pub id: String,
    /// The last try.
    pub attempt: u32,
    /// What was answered, where anything was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why it failed.
    pub error: ErrorInfo,
    /// Up to this position every event that the webhook wants has its record.
    pub recorded_until: u64,
}
