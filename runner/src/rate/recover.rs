//! The windows as the log tells them: what was started and asked within the minute before a restart.

use super::{ModelRates, StartRates};
use moonlog_core::{
    event::{Event, EventBody},
    id::JobId,
    log::{Log, ReadError},
    projection::Views,
    rate::MINUTE_MS,
    time::Timestamp,
};
use std::{collections::HashMap, sync::Arc};

/// How many events one read takes.
const READ_EVENTS: u64 = 1_024;

/// Fills the windows with what the log says of the last minute.
///
/// # Errors
/// Where the log cannot be read.
pub(crate) fn recover(
    log: &Log,
    views: &Views,
    now: Timestamp,
    starts: &mut StartRates,
    models: &ModelRates,
) -> Result<(), ReadError> {
    if !starts.is_any() && !models.is_any() {
        return Ok(());
    }
    let mut asked = HashMap::new();
    for event in last_minute(log, now, models.is_any())? {
        match &event.body {
            EventBody::JobStarted(_) => {
                let Some(job) = event.job else { continue };
                if let Some(state) = views.job(&job)? {
                    starts.started(&state.submitted.queue, state.submitted.concurrency_key.as_deref(), event.time);
                }
            }
            EventBody::ChatStarted(chat) => {
                models.recover_request(&chat.model, event.time);
                asked.insert(asker(&event), chat.model.clone());
            }
            EventBody::ChatRetryScheduled(retry) => {
                if let Some(model) = asked.get(&asker(&event)) {
                    models.recover_request(model, event.time.plus_ms(retry.wait_ms));
                }
            }
            EventBody::ChatFinished(chat) => {
                if let Some(model) = asked.get(&asker(&event)) {
                    models.recover_tokens(model, event.time, chat.usage.prompt_tokens + chat.usage.completion_tokens);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Who asks one request after the other.
fn asker(event: &Event) -> (Option<JobId>, Option<Arc<str>>) {
    (event.job, event.step.clone())
}

/// How long before a minute's beginning a request may have been begun that ends within it, in minutes: as long as one may take
/// by default.
const REQUEST_MINUTES: i64 = 10;

/// The events of the last minute that happened here, oldest first, and where `requests` are asked for, those that began them.
/// Times never go backwards along positions.
fn last_minute(log: &Log, now: Timestamp, requests: bool) -> Result<Vec<Arc<Event>>, ReadError> {
    let since = |minutes: i64| Timestamp::from_micros(now.as_micros() - minutes * MINUTE_MS as i64 * 1_000);
    let (from, requests_from) = (since(1), since(1 + if requests { REQUEST_MINUTES } else { 0 }));
    let mut found = Vec::new();
    let mut before = log.head().saturating_add(1);
    while before > 1 {
        let events = log.read_back(before, READ_EVENTS as usize)?;
        for event in &events {
            let is_request = matches!(event.body, EventBody::ChatStarted(_));
            let wanted = matches!(
                event.body,
                EventBody::JobStarted(_) | EventBody::ChatRetryScheduled(_) | EventBody::ChatFinished(_)
            );
            if event.origin.is_none() && (is_request || wanted && event.time > from) {
                found.push(event.clone());
            }
        }
        if events.iter().any(|event| event.time <= requests_from) {
            break;
        }
        before = before.saturating_sub(READ_EVENTS).max(1);
    }
    found.reverse();
    Ok(found)
}
