//! The engine: warm VMs and compiled scripts, shared by all runs.

use crate::Limits;
use std::sync::Arc;

/// How an engine is set up.
#[derive(Debug, Clone, Default)]
pub struct EngineOptions {
    /// What each job's script may use.
    pub limits: Limits,
    /// How many VMs without a job are kept.
    pub warm: usize,
}

/// Where scripts run. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    pub(crate) options: Arc<EngineOptions>,
}

impl Engine {
    /// An engine with no VM yet.
    pub fn new(options: EngineOptions) -> Self {
        Self { options: Arc::new(options) }
    }

    /// The limits its scripts have.
    pub fn limits(&self) -> &Limits {
        &self.options.limits
    }
}
