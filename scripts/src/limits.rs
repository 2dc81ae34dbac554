//! What a script may use. Each limit has an error of its own.

/// The limits of one job's script.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// The VM's memory (`limit_memory`).
    pub memory_bytes: usize,
    /// Thread CPU time without an operation (`limit_cpu`).
    pub cpu_ms: u64,
    /// Operations in one run (`limit_steps`).
    pub steps_max: u32,
    /// Events that the script may cause in one run (`limit_events`).
    pub events_max: u64,
    /// Branches that are open at once (`limit_branches`).
    pub branches_max: u32,
    /// A value that crosses the border, as JSON (`limit_value`).
    pub value_bytes: usize,
    /// Agents in one run (`limit_agents`).
    pub agents_max: u32,
    /// Items of one `pipeline` (`items_max`).
    pub items_max: u32,
    /// A script's source (`limit_source`).
    pub source_bytes: usize,
    /// Bytes of events after which a slice ends so that they can be flushed.
    pub unflushed_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            cpu_ms: 5_000,
            steps_max: 50_000,
            events_max: 1_000_000,
            branches_max: 1_000,
            value_bytes: 8 << 20,
            agents_max: 1_000,
            items_max: 4_096,
            source_bytes: 1 << 20,
            unflushed_bytes: 1 << 20,
        }
    }
}
