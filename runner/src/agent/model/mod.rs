//! Models: what is configured, and how each kind is asked. Everything above sees requests and pieces of answers.

mod backend;
mod models;
mod openai;
mod openai_wire;
mod options;
mod probe;
mod providers;
mod scripted;

pub use backend::{Backend, ChatRequest, ModelError, Piece, Pieces, ToolSpec};
pub use models::{Model, Models, ModelsOptions};
pub use options::{ApiKey, ModelOptions, Prices, Provider};
pub use probe::{Probed, probe};
