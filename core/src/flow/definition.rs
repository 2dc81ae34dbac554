//! What a flow is made of.

use serde::{Deserialize, Serialize};

/// A dependency graph.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FlowDefinition {
    /// The steps. Where several could start, those that were named first do.
    pub steps: Vec<FlowStepDefinition>,
    /// The batches.
    pub batches: Vec<Batch>,
    /// How many steps may run at once, over all batches.
    pub max_running: usize,
}

/// A step of a flow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FlowStepDefinition {
    /// Its name.
    pub id: String,
    /// The steps that must have ended before it is looked at.
    pub deps: Vec<String>,
    /// What must have become of them.
    pub trigger: Trigger,
    /// The batch it belongs to.
    pub batch: Option<String>,
    /// Set where it chooses which steps run.
    pub switch: Option<SwitchDefinition>,
}

/// What a switch chooses from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SwitchDefinition {
    /// The steps of each case, in order; the default, where there is one, is the last.
    pub cases: Vec<Vec<String>>,
}

/// What must have become of a step's dependencies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// None failed, and not all were left out.
    #[default]
    AllSuccess,
    /// At least one completed.
    OneSuccess,
    /// All ended, however they did.
    AllDone,
}

/// Steps that share a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Its name.
    pub name: String,
    /// How many of its steps may run at once.
    pub max_concurrent: usize,
    /// What a failure of one of its steps means to the others.
    pub join: Join,
}

/// What a failure means to the rest of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Join {
    /// It cancels the rest.
    AllSuccess,
    /// Nothing.
    #[default]
    AllDone,
}
