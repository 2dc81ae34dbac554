//! Webhooks: which events each wants, and what became of them.
//!
//! Only the newest position up to which everything has its record is kept, what was recorded beyond it, and what is to be
//! tried again: where an endpoint is down, the events that wait for it wait in the log.

use crate::{
    codec::{Decode, Encode},
    error_info::ErrorInfo,
    event::{Event, EventBody},
    time::Timestamp,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How many of the deliveries that failed for good are kept of each webhook.
pub const FAILED_KEPT: usize = 100;

/// A delivery that is to be tried again.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct OpenDelivery {
    /// The tries that were made.
    pub attempt: u32,
    /// When the next is due.
    pub due: Timestamp,
    /// Why the last one failed.
    pub error: Option<ErrorInfo>,
}

/// A delivery that failed for good.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct FailedDelivery {
    /// The position of the event.
    pub event: u64,
    /// The tries that were made.
    pub attempt: u32,
    /// When the last one failed.
    pub at: Timestamp,
    /// What was answered.
    pub status: Option<u16>,
    /// Why.
    pub error: ErrorInfo,
}

/// Which types were wanted from a position on.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
struct Wanted {
    from: u64,
    types: BTreeSet<String>,
}

/// What is known of a webhook.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct WebhookState {
    /// Its name.
    pub name: String,
    /// Up to here every event that it wants has a record.
    pub recorded_until: u64,
    /// Events that it wanted, deliveries that were asked for again included.
    pub wanted: u64,
    /// Deliveries that were made.
    pub delivered: u64,
    /// Deliveries that failed for good.
    pub failed: u64,
    /// When an event was delivered last.
    pub delivered_at: Option<Timestamp>,
    /// Why the last try failed, where no try has succeeded since.
    pub last_error: Option<ErrorInfo>,
    /// What is to be tried again, by position.
    pub open: BTreeMap<u64, OpenDelivery>,
    /// The newest of those that failed for good, oldest first.
    pub failures: VecDeque<FailedDelivery>,
    /// Beyond `recorded_until`: what has a record.
    recorded: BTreeSet<u64>,
    /// The last event that is wanted.
    last_wanted: u64,
    history: Vec<Wanted>,
}

impl WebhookState {
    /// A webhook that is owed what comes behind this position.
    pub fn new(name: String, position: u64) -> Self {
        Self { name, recorded_until: position, ..Self::default() }
    }

    /// Whether events of this type were wanted at this position.
    pub fn wants(&self, position: u64, kind: &str) -> bool {
        let then = self.history.iter().rev().find(|wanted| wanted.from <= position);
        then.is_some_and(|wanted| wanted.types.contains(kind))
    }

    /// The types that are wanted now.
    pub fn types(&self) -> impl Iterator<Item = &str> {
        self.history.last().into_iter().flat_map(|wanted| wanted.types.iter().map(String::as_str))
    }

    /// Whether the event at this position has a record: it was delivered, has failed, or is to be tried again.
    pub fn has_record(&self, position: u64) -> bool {
        position <= self.recorded_until || self.recorded.contains(&position)
    }

    /// Deliveries that were neither made nor have failed for good. While some have no record yet, those of events that were
    /// deleted may be counted wrongly.
    pub fn pending(&self) -> u64 {
        let open = self.open.len() as u64;
        if self.recorded_until >= self.last_wanted {
            return open;
        }
        self.wanted.saturating_sub(self.delivered).saturating_sub(self.failed).max(open)
    }

    fn record(&mut self, event: u64, until: u64) {
        self.recorded.insert(event);
        self.recorded_until = self.recorded_until.max(until);
        let until = self.recorded_until;
        self.recorded.retain(|position| *position > until);
        // What was wanted before that is no question any more.
        while self.history.get(1).is_some_and(|next| next.from <= until.saturating_add(1)) {
            self.history.remove(0);
        }
    }

    /// What follows from an event that is none of the webhook's own.
    fn pass(&mut self, event: &Event) {
        if event.origin.is_none() && self.wants(event.position, event.body.name()) {
            self.wanted += 1;
            self.last_wanted = event.position;
        } else if self.last_wanted <= self.recorded_until {
            self.recorded_until = event.position;
        }
    }
}

/// The webhooks that are or were configured, by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Webhooks(BTreeMap<String, WebhookState>);

impl Webhooks {
    pub(super) fn apply(&mut self, event: &Event) {
        if self.0.is_empty() && !matches!(event.body, EventBody::WebhookConfigured(_)) {
            return;
        }
        match &event.body {
            EventBody::WebhookConfigured(configured) => {
                let name = &configured.webhook;
                let new = || WebhookState::new(name.clone(), event.position);
                let state = self.0.entry(name.clone()).or_insert_with(new);
                let types = configured.types.iter().cloned().collect();
                state.history.push(Wanted { from: event.position, types });
            }
            EventBody::WebhookDelivered(delivered) => {
                if let Some(state) = self.0.get_mut(&delivered.webhook) {
                    state.open.remove(&delivered.event);
                    state.delivered += 1;
                    state.delivered_at = Some(event.time);
                    state.last_error = None;
                    state.record(delivered.event, delivered.recorded_until);
                }
            }
            EventBody::WebhookRetryScheduled(retry) => {
                if let Some(state) = self.0.get_mut(&retry.webhook) {
                    if retry.attempt == 0 {
                        state.wanted += 1;
                        state.failures.retain(|failed| failed.event != retry.event);
                    } else {
                        state.last_error.clone_from(&retry.error);
                    }
                    let due = event.time.plus_ms(retry.wait_ms);
                    let open = OpenDelivery { attempt: retry.attempt, due, error: retry.error.clone() };
                    state.open.insert(retry.event, open);
                    state.record(retry.event, retry.recorded_until);
                }
            }
            EventBody::WebhookFailed(failed) => {
                if let Some(state) = self.0.get_mut(&failed.webhook) {
                    state.open.remove(&failed.event);
                    state.failed += 1;
                    state.last_error = Some(failed.error.clone());
                    state.failures.push_back(FailedDelivery {
                        event: failed.event,
                        attempt: failed.attempt,
                        at: event.time,
                        status: failed.status,
                        error: failed.error.clone(),
                    });
                    if state.failures.len() > FAILED_KEPT {
                        state.failures.pop_front();
                    }
                    state.record(failed.event, failed.recorded_until);
                }
            }
            _ => {}
        }
        self.0.values_mut().for_each(|state| state.pass(event));
    }

    /// Puts back what [`Self::iter`] gave.
    pub(super) fn restore(&mut self, webhook: WebhookState) {
        self.0.insert(webhook.name.clone(), webhook);
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &WebhookState> {
        self.0.values()
    }

    /// The webhook of this name.
    pub fn get(&self, name: &str) -> Option<&WebhookState> {
        self.0.get(name)
    }
}
