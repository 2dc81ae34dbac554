//! A feed as pages of JSON: `{events, next}`.

use super::{FeedError, FeedHub, Reader};
use moonlog_core::event::Event;
use std::sync::Arc;

/// A page ends early when it has this much text.
const PAGE_BYTES: usize = 4 << 20;

/// A page of events.
pub struct EventPage {
    /// `{events, next}`; `next` is where to go on, `null` behind the last event of a job that has ended.
    pub json: String,
}

/// Reads up to `limit` events.
///
/// # Errors
/// Where the log cannot be read, or events were removed from it.
pub async fn read_page(hub: &FeedHub, mut reader: Reader, limit: u64) -> Result<EventPage, FeedError> {
    let mut json = String::from("{\"events\":[");
    let mut count = 0;
    let until = hub.log.head();
    'pages: loop {
        let page = match reader.next(Some(until)).await {
            // The next page says so.
            Err(FeedError::Removed { .. }) if count > 0 => break,
            page => page?,
        };
        for (at, batch) in page.events.chunks(32).enumerate() {
            for (event, text) in batch.iter().zip(hub.renderer.render(batch)) {
                if count > 0 {
                    json.push(',');
                }
                json.push_str(&String::from_utf8_lossy(text.json()));
                count += 1;
                if count >= limit || json.len() >= PAGE_BYTES {
                    let last = at * 32 + batch.iter().position(|e| Arc::ptr_eq(e, event)).unwrap_or(0);
                    rewind(&mut reader, &page.events, last);
                    break 'pages;
                }
            }
        }
        if !page.more {
            break;
        }
    }
    // An empty page of a job that has ended says that nothing will ever follow.
    let next = if count == 0 && reader.ended() { "null".into() } else { reader.scanned().to_string() };
    json.push_str("],\"next\":");
    json.push_str(&next);
    json.push('}');
    Ok(EventPage { json })
}

/// What was looked at behind the page's last event belongs to the next page.
fn rewind(reader: &mut Reader, events: &[Arc<Event>], last: usize) {
    if let Some(event) = events.get(last) {
        reader.rewind_to(event);
    }
}
