//! What reads bytes that were stored or received, each as a function of arbitrary bytes that panics where a promise is
//! broken. The tests beside this file call them with a bounded number of cases; `tests/fuzz` has a cargo-fuzz target for
//! each.

#[path = "received.rs"]
mod received;
#[path = "scripts.rs"]
mod scripts;
#[path = "served.rs"]
mod served;
#[path = "stored.rs"]
mod stored;
#[path = "texts.rs"]
mod texts;

pub use received::{bundle, bundle_packed, client_stream, host_request, model_stream};
pub use scripts::{border_json, border_luau, script};
pub use served::{http, tools};
use std::time::Duration;
pub use stored::{backup, event_bytes, event_json, frame, index_page, record, snapshot_row, stored_log};
pub use texts::{config, cron, diff, rule};

/// How long anything here may take: far more than it does, and far less than for ever.
const LONG: Duration = Duration::from_secs(20);

/// A function that takes arbitrary bytes.
pub type Decoder = fn(&[u8]);

/// All of them, with the names of their targets and of their folders of seeds.
pub const DECODERS: [(&str, Decoder); 22] = [
    ("event_bytes", event_bytes),
    ("event_json", event_json),
    ("record", record),
    ("frame", frame),
    ("index_page", index_page),
    ("snapshot_row", snapshot_row),
    ("stored_log", stored_log),
    ("backup", backup),
    ("bundle", bundle),
    ("bundle_packed", bundle_packed),
    ("client_stream", client_stream),
    ("host_request", host_request),
    ("model_stream", model_stream),
    ("http", http),
    ("tools", tools),
    ("border_json", border_json),
    ("border_luau", border_luau),
    ("script", script),
    ("cron", cron),
    ("config", config),
    ("diff", diff),
    ("rule", rule),
];
