//! The steps of a job as a tree.

use crate::given::*;
use moonlog_core::{event::*, json::Json, projection::*};

/// The tree, a line a step: depth, path, status.
fn lines(steps: &[FlowStep], depth: usize, out: &mut Vec<String>) {
    for step in steps {
        let kind = step.kind.as_deref().unwrap_or("(group)");
        out.push(format!("{}{} {kind} {:?}", "  ".repeat(depth), step.path, step.status));
        lines(&step.steps, depth + 1, out);
    }
}

fn tree(bodies: impl IntoIterator<Item = EventBody>) -> String {
    let mut out = Vec::new();
    lines(&FlowState::fold(stream(bodies)).steps(), 0, &mut out);
    out.join("\n")
}

#[test]
fn branches_are_groups_and_inner_operations_stand_under_their_step() {
    let tree = tree([
        submitted(),
        started(1, 1),
        step("scan", "exec", 1, "{}"),
        finished("scan", 1, StepOutcome::Ok),
        step("review/left/exec", "exec", 1, "{}"),
        step("review/right/build", "step", 1, "{}"),
        step("review/right/build@1/exec", "exec", 1, "{}"),
        finished("review/right/build@1/exec", 1, StepOutcome::Error),
        finished("review/right/build", 1, StepOutcome::Error),
        retry("review/right/build", 1, 100),
        finished("review/left/exec", 1, StepOutcome::Ok),
        step("review/right/build", "step", 2, "{}"),
        step("review/right/build@2/deep/x/exec", "exec", 1, "{}"),
    ]);
    insta::assert_snapshot!(tree, @r#"
    scan exec Completed
    review (group) Running
      review/left (group) Completed
        review/left/exec exec Completed
      review/right (group) Running
        review/right/build step Running
          review/right/build@1/exec exec Failed
          review/right/build@2/deep (group) Running
            review/right/build@2/deep/x (group) Running
              review/right/build@2/deep/x/exec exec Running
    "#);
}

#[test]
fn statuses_follow_the_last_attempt() {
    let cases = [
        (vec![], "Running"),
        (vec![finished("a", 1, StepOutcome::Ok)], "Completed"),
        (vec![finished("a", 1, StepOutcome::Error)], "Failed"),
        (vec![finished("a", 1, StepOutcome::Interrupted)], "Failed"),
        (vec![finished("a", 1, StepOutcome::TimedOut)], "TimedOut"),
        (vec![finished("a", 1, StepOutcome::Cancelled)], "Cancelled"),
        (vec![finished("a", 1, StepOutcome::Skipped)], "Skipped"),
        (vec![finished("a", 1, StepOutcome::Error), retry("a", 1, 9)], "Pending"),
        (vec![finished("a", 1, StepOutcome::Error), retry("a", 1, 9), step("a", "exec", 2, "{}")], "Running"),
    ];
    for (then, status) in cases {
        let mut bodies = vec![submitted(), started(1, 1), step("a", "exec", 1, "{}")];
        bodies.extend(then);
        assert_eq!(tree(bodies), format!("a exec {status}"));
    }
}

#[test]
fn a_group_ends_as_its_last_step_and_a_combinator_where_any_branch_has() {
    let bodies = [
        submitted(),
        started(1, 1),
        step("p/a/exec", "exec", 1, "{}"),
        step("p/b/exec", "exec", 1, "{}"),
        finished("p/a/exec", 1, StepOutcome::Error),
        step("p/a/exec:2", "exec", 1, "{}"),
        finished("p/a/exec:2", 1, StepOutcome::Ok),
        finished("p/b/exec", 1, StepOutcome::Error),
    ];
    insta::assert_snapshot!(tree(bodies), @r#"
    p (group) Completed
      p/a (group) Completed
        p/a/exec exec Failed
        p/a/exec:2 exec Completed
      p/b (group) Failed
        p/b/exec exec Failed
    "#);
}

#[test]
fn a_new_run_starts_with_an_empty_tree() {
    let continued = EventBody::JobContinued(JobContinued { run: 2, args: Json::null() });
    let bodies = [submitted(), started(1, 1), step("a", "exec", 1, "{}"), finished("a", 1, StepOutcome::Ok), continued];
    let state = FlowState::fold(stream(bodies));
    assert_eq!((state.run(), state.steps().len()), (2, 0));
}

#[test]
fn the_tree_as_json_says_what_each_waits_for() {
    let state = FlowState::fold(stream([
        submitted(),
        started(1, 1),
        EventBody::JobPhaseEntered(JobPhaseEntered { title: "Ask".into() }),
        step("ask/approve", "approve", 1, r#"{"timeout_ms":1000,"title":"Ship it?"}"#),
        step("wait_for", "wait_for", 1, r#"{"signal":"go"}"#),
        finished("wait_for", 1, StepOutcome::Ok),
    ]));
    insta::assert_snapshot!(serde_json::to_string_pretty(&state).unwrap(), @r#"
    {
      "run": 1,
      "phase": "Ask",
      "phases": [
        "Ask"
      ],
      "steps": [
        {
          "path": "ask",
          "name": "ask",
          "kind": null,
          "status": "running",
          "phase": "Ask",
          "started_at": "2025-10-09T08:53:24.000000Z",
          "cached": false,
          "steps": [
            {
              "path": "ask/approve",
              "name": "approve",
              "kind": "approve",
              "status": "running",
              "phase": "Ask",
              "started_at": "2025-10-09T08:53:24.000000Z",
              "attempts": [
                {
                  "attempt": 1,
                  "started_at": "2025-10-09T08:53:24.000000Z"
                }
              ],
              "cached": false,
              "waiting": {
                "for": "approval",
                "step": "ask/approve",
                "title": "Ship it?",
                "until": "2025-10-09T08:53:25.000000Z"
              }
            }
          ]
        },
        {
          "path": "wait_for",
          "name": "wait_for",
          "kind": "wait_for",
          "status": "completed",
          "phase": "Ask",
          "started_at": "2025-10-09T08:53:25.000000Z",
          "ended_at": "2025-10-09T08:53:26.000000Z",
          "attempts": [
            {
              "attempt": 1,
              "started_at": "2025-10-09T08:53:25.000000Z",
              "ended_at": "2025-10-09T08:53:26.000000Z",
              "outcome": "ok",
              "latency_ms": 5
            }
          ],
          "cached": false
        }
      ]
    }
    "#);
}
