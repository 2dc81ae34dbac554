//! Agents: a model in a loop with tools. Everything that is said, streamed, called and used is an event before the next
//! thing happens, so a turn can be taken up again by a server that knows nothing but the log.
//!
//! `perform` is the loop; what comes next is decided by `turn`, which is pure, as are `guard`, `repair`, `schema`,
//! `answer`, `deltas`, `open_work` and `system`. `chat` asks a `model`, `calls` makes tool calls, `session` says which
//! conversation is gone on with. The conversation itself is a projection: `moonlog_core::projection::Conversation`.

mod answer;
mod approval;
mod ask;
mod at_work;
mod budget;
mod call_ids;
mod calls;
mod chat;
mod check;
mod compact;
mod deltas;
mod end;
mod family;
mod gate;
mod guard;
mod input;
mod interrupt;
mod live;
pub mod model;
mod open_work;
mod options;
mod perform;
mod place;
mod recorder;
mod repair;
mod room;
mod schema;
mod session;
mod subagents;
mod surroundings;
mod system;
mod tokens;
mod tools;
mod turn;

pub(crate) use approval::{INTERRUPTED, by_default};
pub(crate) use budget::{Metered, left_of_budget, spent_in_session, spent_of_budget};
pub(crate) use call_ids::CallIds;
pub use calls::ApprovalOptions;
pub(crate) use calls::Asked;
pub use check::CheckOptions;
pub(crate) use family::Families;
pub(crate) use live::LiveAgents;
pub(crate) use open_work::OpenWork;
pub use options::AgentOptions;
pub(crate) use perform::{AgentContext, Left, perform};
pub(crate) use session::{made_for, own_session, release};
pub(crate) use subagents::is_spawned;
pub(crate) use surroundings::unheard;
pub(crate) use tools::register as register_tools;
