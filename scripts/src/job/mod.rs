//! What the host knows of the job that a VM runs: its branches (`fiber`), its call paths (`path`), what it does
//! (`intend`), its operations (`operation`), its code steps (`step`), its combinators (`branch`, `flow`), what it
//! takes over from earlier runs (`reuse`), and what is delivered to it (`deliver`). It holds Luau values but never runs Luau code.

mod branch;
mod deliver;
mod fiber;
mod flow;
mod intend;
mod operation;
mod path;
mod reuse;
mod step;

pub(crate) use fiber::{Block, Fiber, FiberId, FiberKind, FiberState, Parked};
pub(crate) use flow::FlowTask;
pub(crate) use intend::{Fatal, Halt, mismatch};
pub(crate) use path::Scope;
pub(crate) use step::CodeStep;

use crate::{Limits, RunSpec, engine::Chunks, value::Marks};
use mlua::{Lua, Value};
use moonlog_core::{error_info::ErrorInfo, event::NewEvent, journal::Journal, json::Json, time::Timestamp};
pub(crate) use operation::Call;
use operation::OpenStep;
use rand_pcg::Pcg32;
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, atomic::AtomicBool},
};

/// What a call into the host answers: a status and up to three values.
pub(crate) type Answer = (u8, Value, Value, Value);

/// The statuses, as the prelude knows them.
pub(crate) mod status {
    pub const WAIT: u8 = 0;
    pub const RETURN: u8 = 1;
    pub const THROW: u8 = 2;
    pub const ENTER: u8 = 3;
    pub const BODY: u8 = 4;
}

/// An answer without a value.
pub(crate) const fn answer(status: u8) -> Answer {
    (status, Value::Nil, Value::Nil, Value::Nil)
}

/// An answer with one.
pub(crate) const fn returns(value: Value) -> Answer {
    (status::RETURN, value, Value::Nil, Value::Nil)
}

/// How the main branch, or the whole run, ended.
#[derive(Debug, Clone)]
pub(crate) enum End {
    Returned(Json),
    Failed(ErrorInfo),
    Continued(Json),
}

/// How a spawned branch ended.
#[derive(Debug)]
pub(crate) struct SpawnEnd {
    pub result: Result<Value, Value>,
    /// What to log where nobody ever asks.
    pub error: Option<ErrorInfo>,
    pub path: Arc<str>,
    pub observed: bool,
    /// See [`Fiber::fresh`].
    pub fresh: bool,
}

/// The state of a job on its VM.
pub(crate) struct Job {
    pub spec: RunSpec,
    pub limits: Arc<Limits>,
    pub marks: Arc<Marks>,
    pub journal: Journal,
    /// What it is compiled to; the modules in it are run when they are required.
    pub chunks: Option<Arc<Chunks>>,
    /// Listing: operations are refused.
    pub refuse: bool,
    /// An operation was refused.
    pub refused: bool,
    pub stop: Arc<AtomicBool>,

    pub fibers: BTreeMap<FiberId, Fiber>,
    pub ready: VecDeque<FiberId>,
    pub current: FiberId,
    pub next_fiber: FiberId,
    pub spawn_ends: BTreeMap<FiberId, SpawnEnd>,
    /// The flows that run, by the branch that runs each.
    pub(in crate::job) flows: HashMap<FiberId, flow::Flow>,
    pub end: Option<End>,
    pub fatal: Option<Fatal>,

    pub(in crate::job) open: HashMap<Arc<str>, OpenStep>,
    pub(in crate::job) next_order: u64,
    pub rngs: HashMap<Arc<str>, Pcg32>,
    pub now: Timestamp,
    pub steps: u32,
    pub agents: u32,
    /// Tokens that its agents used, as of the last delivery.
    pub spent: u64,
    pub events: u64,

    pub intents: Vec<NewEvent>,
    pub unflushed_bytes: usize,
}

impl Job {
    pub fn new(spec: RunSpec, limits: Arc<Limits>, marks: Arc<Marks>, journal: Journal, stop: Arc<AtomicBool>) -> Self {
        Self {
            now: spec.started_at,
            spec,
            limits,
            marks,
            journal,
            chunks: None,
            refuse: false,
            refused: false,
            stop,
            fibers: BTreeMap::new(),
            ready: VecDeque::new(),
            current: 0,
            next_fiber: 0,
            spawn_ends: BTreeMap::new(),
            flows: HashMap::new(),
            end: None,
            fatal: None,
            open: HashMap::new(),
            next_order: 0,
            rngs: HashMap::new(),
            steps: 0,
            agents: 0,
            spent: 0,
            events: 0,
            intents: Vec::new(),
            unflushed_bytes: 0,
        }
    }

    /// The branch that runs now. While Luau code runs there is one.
    pub fn fiber(&mut self) -> Result<&mut Fiber, Halt> {
        self.fibers.get_mut(&self.current).ok_or_else(|| Halt::fault("no branch is running"))
    }

    /// The scope in which the running branch stands now.
    pub fn scope(&mut self) -> Result<&mut Scope, Halt> {
        self.fiber()?.scopes.last_mut().ok_or_else(|| Halt::fault("the branch has no scope"))
    }

    /// The answer that throws `error`.
    pub fn throws(&self, lua: &Lua, error: &ErrorInfo) -> mlua::Result<Answer> {
        let value = crate::thrown::to_thrown(lua, error, &self.marks)?;
        let traceback = match &error.traceback {
            Some(text) => Value::String(lua.create_string(text)?),
            None => Value::Nil,
        };
        Ok((status::THROW, value, traceback, Value::Nil))
    }

    /// Blocks the running branch.
    pub fn block(&mut self, block: Block) -> Result<Answer, Halt> {
        self.fiber()?.state = FiberState::Blocked(block);
        Ok(answer(status::WAIT))
    }

    /// Lets a blocked branch go on with `resume`, behind those that are ready already.
    pub fn wake(&mut self, id: FiberId, resume: Answer) {
        if let Some(fiber) = self.fibers.get_mut(&id) {
            fiber.state = FiberState::Ready;
            fiber.resume = resume;
            self.ready.push_back(id);
        }
    }
}
