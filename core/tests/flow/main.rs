//! The flow scheduler: what is written of it as sentences, and random graphs against a model that is slow and plain.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod model;
mod random;
mod sentences;

use moonlog_core::flow::{Batch, FlowDefinition, FlowStepDefinition, Join, SwitchDefinition, Trigger};

/// A step, with its dependencies as words.
fn step(id: &str, deps: &str) -> FlowStepDefinition {
    let deps = deps.split_whitespace().map(str::to_owned).collect();
    FlowStepDefinition { id: id.into(), deps, ..FlowStepDefinition::default() }
}

/// A switch, with the steps of each case as words.
fn switch(id: &str, deps: &str, cases: &[&str]) -> FlowStepDefinition {
    let cases = cases.iter().map(|case| case.split_whitespace().map(str::to_owned).collect()).collect();
    FlowStepDefinition { switch: Some(SwitchDefinition { cases }), ..step(id, deps) }
}

fn on(trigger: Trigger, step: FlowStepDefinition) -> FlowStepDefinition {
    FlowStepDefinition { trigger, ..step }
}

fn within(batch: &str, step: FlowStepDefinition) -> FlowStepDefinition {
    FlowStepDefinition { batch: Some(batch.into()), ..step }
}

fn batch(name: &str, max_concurrent: usize, join: Join) -> Batch {
    Batch { name: name.into(), max_concurrent, join }
}

fn flow(steps: Vec<FlowStepDefinition>, batches: Vec<Batch>) -> FlowDefinition {
    FlowDefinition { steps, batches, max_running: usize::MAX }
}
