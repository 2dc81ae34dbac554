//! Branches. Each is a Luau thread of its own; the runner of slices resumes them one at a time in a fixed order.

use super::{Answer, Scope};
use mlua::{Thread, Value};
use std::{collections::VecDeque, sync::Arc};

/// Counts up from the main branch, which is 0.
pub(crate) type FiberId = u32;

/// What a branch is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FiberKind {
    Main,
    /// The nth branch of its parent's combinator.
    Branch(u32),
    Spawn,
    /// The function of a step with a timeout, which its parent waits for.
    Body(Arc<str>),
}

/// What a branch waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Block {
    /// The end of the operation at this path.
    Operation(Arc<str>),
    /// The recorded end of the code step at this path.
    Recorded(Arc<str>),
    /// The same, where the step's function had a branch of its own that ran through: so many turns from now its branch had
    /// its turn.
    Turns(Arc<str>, u8),
    /// The next attempt at the code step at this path.
    Attempt(Arc<str>),
    /// The function of the code step at this path, which runs in a branch of its own.
    Body(Arc<str>),
    /// One of its branches.
    Children,
    /// What was spawned inside its step.
    Inside,
    /// A spawned branch, or the end of the `wait` operation at this path.
    Spawn(FiberId, Option<Arc<str>>),
    /// A flush.
    Flush,
    /// Nothing: the run ends.
    End,
}

/// How a branch stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FiberState {
    Ready,
    Running,
    Blocked(Block),
}

/// The end of a child that its parent has not yet taken.
#[derive(Debug)]
pub(crate) struct Parked {
    pub index: u32,
    /// See [`Fiber::fresh`].
    pub fresh: bool,
    pub result: Result<Value, (Value, Value)>,
}

/// A branch.
#[derive(Debug)]
pub(crate) struct Fiber {
    pub kind: FiberKind,
    pub parent: Option<FiberId>,
    pub thread: Thread,
    /// Its own scope, then those of the step functions it is in.
    pub scopes: Vec<Scope>,
    pub state: FiberState,
    /// What it is resumed with.
    pub resume: Answer,
    /// The paths of its combinator's branches.
    pub branches: Vec<Arc<str>>,
    pub inbox: VecDeque<Parked>,
    /// Whether something before was not an earlier run's result: what follows may depend on it.
    pub fresh: bool,
    /// The same of the branches that its combinator has joined: it counts once they all have.
    pub branches_fresh: bool,
}
