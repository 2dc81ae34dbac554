//! Logs that were recorded before: the workflows as they are now do the same again.

use crate::stage::{Stage, bundle, recording};
use moonlog_scripts::{Entry, Library};
use std::path::Path;

#[test]
fn every_workflow_replays_its_recorded_log() {
    if recording() {
        return;
    }
    let stage = Stage::bare();
    for entry in Library::new(vec![]).list() {
        let Entry::Workflow(workflow) = entry else { panic!("a built-in workflow is broken: {entry:?}") };
        let (name, bundle) = (&workflow.name, bundle(&workflow.name));
        assert!(
            bundle.exists(),
            "{name} has no recorded log: WRITE_RECORDED=1 cargo test --workspace --test catalogue"
        );
        let bundle = bundle.to_str().unwrap();
        // As it was then, which the file holds, and as it is now.
        assert!(stage.ok(&["replay", bundle]).contains("is deterministic"), "{name}");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../scripts/library/{name}.luau"));
        let said = stage.run(&["replay", bundle, "--script", source.to_str().unwrap()]);
        assert!(
            said.ok && said.out.contains("fits the history"),
            "{name} does not do what it did when its log was recorded. Where that is meant, record it again: \
             WRITE_RECORDED=1 cargo test --workspace --test catalogue\n{}",
            said.err
        );
    }
}
