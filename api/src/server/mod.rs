//! HTTP. `serve` accepts connections and hands every request to `router`, which goes by the table in `routes`; behind it
//! stands a file for each noun. `guard` says who may ask, `problem` how errors are answered, `body` and `query` how
//! requests are taken apart. Nothing here decides about jobs: handlers ask the runner and show what it says.

mod app;
mod approvals;
mod backup;
mod blobs;
mod blocking;
mod body;
mod bulk;
mod commands;
mod compact;
mod connections;
mod console;
mod descriptors;
mod diff;
mod errors;
mod events;
mod guard;
mod health;
mod import;
mod jobs;
mod messages;
mod metrics;
mod openapi;
mod options;
mod otlp;
mod problem;
mod processes;
mod query;
mod queues;
mod refusal;
mod reply;
mod request;
mod route;
mod router;
mod routes;
mod schedules;
mod serve;
mod sessions;
mod state;
mod submit;
mod text_limits;
mod ticket;
mod tickets;
mod tools;
mod traces;
mod verify;
mod webhooks;
mod workflows;

pub use metrics::prepare as prepare_metrics;
pub use options::{ServeError, ServeOptions};
use problem::Problem;
pub use serve::{Served, Shutdown, serve};
