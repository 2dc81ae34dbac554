//! Webhooks: events of the log, posted to endpoints of others. Which events each wants and what became of them is a
//! projection; here they are read from the log (`worker`), signed (`sign`), posted (`post`), and what came of it is recorded.
//!
//! An event is posted at least once, and under the same `webhook-id` each time. What waits waits in the log: where an
//! endpoint is down, no more than a window of deliveries is held here. Only a server posts, not one for a single command.

mod command;
mod options;
mod post;
mod recorded;
mod sign;
mod worker;

pub use command::{DeliveryView, RedeliverWhat, WebhookView};
pub use options::{DEFAULT_TYPES, WebhookOptions, WebhookSecret};
pub(crate) use worker::Workers;
