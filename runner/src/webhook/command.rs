//! Webhooks as clients see them, and asking for a delivery once more.

use super::{options::WebhookOptions, sign};
use crate::{inner::Inner, request::CommandError, runner::Runner};
use moonlog_core::{
    error_info::ErrorInfo,
    event::{EventBody, NewEvent, StreamId, WebhookRetryScheduled},
    log::{Append, Expected},
    projection::WebhookState,
    time::Timestamp,
};
use serde::Serialize;

/// How many deliveries that wait for another try are shown.
const OPEN_SHOWN: usize = 100;

/// A delivery that was not made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeliveryView {
    /// The position of the event.
    pub event: u64,
    /// The tries that were made.
    pub attempt: u32,
    /// When the next is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// When the last one failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<Timestamp>,
    /// What was answered last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why the last one failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorInfo>,
}

/// A webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WebhookView {
    /// Its name.
    pub name: String,
    /// Whether it is in the configuration; what it was owed before stays.
    pub configured: bool,
    /// Where it posts; what follows the host is not shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Which events it wants.
    pub types: Vec<String>,
    /// Whether its posts are signed.
    pub signed: bool,
    /// Deliveries that are still to be made, or to be made again.
    pub pending: u64,
    /// Deliveries that were made.
    pub delivered: u64,
    /// Deliveries that are made no more.
    pub failed: u64,
    /// When an event was delivered last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivered_at: Option<Timestamp>,
    /// Why the last try failed, where none has succeeded since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<ErrorInfo>,
    /// Deliveries that wait for another try, the oldest events first.
    pub retrying: Vec<DeliveryView>,
    /// The newest that failed for good, oldest first.
    pub failures: Vec<DeliveryView>,
}

/// Which deliveries are wanted again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedeliverWhat {
    /// That of the event at this position.
    Event(u64),
    /// All that failed for good and are listed.
    Failed,
}

impl Runner {
    /// The webhooks of the configuration, and those of earlier ones, by name.
    pub fn webhooks(&self) -> Vec<WebhookView> {
        let configured = &self.inner().options.webhooks;
        let known = self.views().with(|all| all.webhooks().iter().cloned().collect::<Vec<_>>());
        let new = configured.keys().filter(|name| known.iter().all(|state| state.name != **name));
        let new = new.map(|name| WebhookState::new(name.clone(), 0)).collect::<Vec<_>>();
        let mut views: Vec<_> =
            known.iter().chain(&new).map(|state| view(state, configured.get(&state.name))).collect();
        views.sort_by(|a, b| a.name.cmp(&b.name));
        views
    }

    /// Has events delivered once more. Gives how many.
    ///
    /// # Errors
    /// Where there is no such webhook or event, or the delivery is still to be made anyhow.
    pub async fn redeliver(&self, webhook: &str, what: RedeliverWhat) -> Result<usize, CommandError> {
        self.inner().redeliver(webhook, what).await
    }
}

impl Inner {
    async fn redeliver(&self, webhook: &str, what: RedeliverWhat) -> Result<usize, CommandError> {
        let Some(options) = self.options.webhooks.get(webhook) else {
            let message = format!("no webhook is named `{webhook}`: add [webhooks.{webhook}] to the configuration");
            return Err(CommandError::NotFound(ErrorInfo::new("no_such_webhook", message)));
        };
        let _turn = self.commands.of(format!("webhook/{webhook}").as_bytes()).lock().await;
        let state = self.views.with(|all| all.webhooks().get(webhook).cloned()).unwrap_or_default();
        let wanted: Vec<u64> = match what {
            RedeliverWhat::Event(event) => vec![event],
            RedeliverWhat::Failed => state.failures.iter().map(|failed| failed.event).collect(),
        };
        let mut events = Vec::new();
        for position in wanted {
            match self.redelivery(webhook, &state, position)? {
                Some(event) => events.push(event),
                // Of several, those that are gone are left out.
                None if what == RedeliverWhat::Failed => {}
                None => {
                    let message = format!("there is no event at position {position}");
                    return Err(CommandError::NotFound(ErrorInfo::new("no_such_event", message)));
                }
            }
        }
        if events.is_empty() {
            return Ok(0);
        }
        if state.open.len() + events.len() > options.window.max(state.failures.len()) {
            let message = format!("{} deliveries of `{webhook}` wait for another try already", state.open.len());
            return Err(CommandError::Conflict(ErrorInfo::new("too_many_deliveries", message).retryable()));
        }
        let count = events.len();
        let appended = self.log.append(Append::new(StreamId::System, Expected::Any, events))?;
        self.applied(appended.last_position).await?;
        self.webhooks.changed.notify_waiters();
        Ok(count)
    }

    /// The event that asks for a delivery; `None` where there is nothing to deliver.
    fn redelivery(&self, webhook: &str, state: &WebhookState, position: u64) -> Result<Option<NewEvent>, CommandError> {
        let Some(event) = self.log.event(position)? else { return Ok(None) };
        if event.body.name().starts_with("webhook.") {
            let message = format!("the event at position {position} is about a webhook: such events are not posted");
            return Err(CommandError::Invalid(ErrorInfo::new("invalid_request", message)));
        }
        let is_owed = state.wants(position, event.body.name()) && !state.has_record(position);
        if is_owed || state.open.contains_key(&position) {
            let message = format!("the event at position {position} is still to be delivered to `{webhook}` anyhow");
            return Err(CommandError::Conflict(ErrorInfo::new("delivery_pending", message)));
        }
        let asked = WebhookRetryScheduled {
            webhook: webhook.to_owned(),
            event: position,
            id: sign::id_of(webhook, &event),
            attempt: 0,
            wait_ms: 0,
            status: None,
            error: None,
            recorded_until: state.recorded_until,
        };
        Ok(Some(NewEvent::new(EventBody::WebhookRetryScheduled(asked)).cause(position)))
    }
}

fn view(state: &WebhookState, options: Option<&WebhookOptions>) -> WebhookView {
    let retrying = state.open.iter().take(OPEN_SHOWN).map(|(event, open)| DeliveryView {
        event: *event,
        attempt: open.attempt,
        due: Some(open.due),
        failed_at: None,
        status: None,
        error: open.error.clone(),
    });
    let failures = state.failures.iter().map(|failed| DeliveryView {
        event: failed.event,
        attempt: failed.attempt,
        due: None,
        failed_at: Some(failed.at),
        status: failed.status,
        error: Some(failed.error.clone()),
    });
    WebhookView {
        name: state.name.clone(),
        configured: options.is_some(),
        url: options.map(WebhookOptions::shown_url),
        types: options.map_or_else(Vec::new, |options| options.types.clone()),
        signed: options.is_some_and(|options| options.secret.is_some()),
        pending: state.pending(),
        delivered: state.delivered,
        failed: state.failed,
        delivered_at: state.delivered_at,
        last_error: state.last_error.clone(),
        retrying: retrying.collect(),
        failures: failures.collect(),
    }
}
