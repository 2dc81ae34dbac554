//! `repo-report`, whose own tests stand beside the command line.

use crate::stage::{Stage, has};
use serde_json::json;

#[test]
fn a_repository_is_described() {
    let stage = Stage::bare();
    stage
        .repository("small", &[("README.md", "# Small\n\nA repository that is small.\n"), ("a.rs", "// TODO: more\n")]);
    let report = stage.recorded("repo-report", &json!({ "path": "small" }));
    assert_eq!(report["not_measured"], json!([]));
    has(&report, &["# small", "> A repository that is small.", "1 TODO"]);
}
