//! A job's events, told as a tree and as lines.

use super::{frame::Layout, lines, model::JobTree};
use crate::{cli::paint::Paint, envelope::Envelope};
use moonlog_core::{event::Event, time::Timestamp};
use serde_json::{Value, json};

const JOB: &str = "019ab0c2-7d1e-7cc1-9d53-0a3d6b6f2f11";
const START: &str = "2026-11-21T07:32:30Z";

/// Events of one job, each at its millisecond.
#[derive(Default)]
struct Story {
    events: Vec<Event>,
}

impl Story {
    fn tell(mut self, at_ms: u64, kind: &str, data: Value) -> Self {
        self.push(at_ms, kind, None, None, data);
        self
    }

    fn step(self, at_ms: u64, path: &str, kind: &str, input: Value) -> Self {
        let name = path.rsplit('/').next().unwrap();
        self.tell(at_ms, "step.started", json!({"run": 1, "path": path, "name": name, "kind": kind, "attempt": 1, "input": input, "spec_hash": "0".repeat(64)}))
    }

    fn finish(self, at_ms: u64, path: &str, outcome: &str, error: Option<&str>) -> Self {
        let mut data =
            json!({"run": 1, "path": path, "attempt": 1, "outcome": outcome, "latency_ms": 300, "cached": false});
        if let Some(message) = error {
            data["error"] = json!({"code": "exit_nonzero", "message": message});
        }
        self.tell(at_ms, "step.finished", data)
    }

    fn process(mut self, at_ms: u64, n: u32, step: Option<&str>, kind: &str, data: Value) -> Self {
        self.push(at_ms, kind, step, Some(n), data);
        self
    }

    fn push(&mut self, at_ms: u64, kind: &str, step: Option<&str>, process: Option<u32>, data: Value) {
        let position = self.events.len() as u64 + 1;
        let time = START.parse::<Timestamp>().unwrap().plus_ms(at_ms);
        let process = process.map(|n| format!("019ab0c2-7d1e-7cc1-9d53-{n:012}"));
        let envelope = json!({"position": position, "stream": format!("job/{JOB}"), "version": position, "time": time,
            "type": kind, "job": JOB, "process": process, "step": step, "data": data});
        self.events.push(Envelope::parse(&envelope.to_string()).unwrap().into_event(None).unwrap());
    }

    fn tree(&self, phases: &[&str]) -> JobTree {
        let mut tree = JobTree::new(&phases.iter().map(|&phase| phase.to_owned()).collect::<Vec<_>>());
        self.events.iter().for_each(|event| tree.apply(event));
        tree
    }

    fn lines(&self) -> String {
        let mut tree = JobTree::new(&[]);
        let told = self.events.iter().filter_map(|event| {
            tree.apply(event);
            lines::line(&tree, event)
        });
        told.collect::<Vec<_>>().join("\n")
    }
}

fn started() -> Story {
    let submitted = json!({"workflow": "repo-report", "script_hash": "0".repeat(64), "args": {}, "queue": "default", "priority": 0, "limits": {}, "seed": 1});
    Story::default().tell(0, "job.submitted", submitted).tell(
        20,
        "job.started",
        json!({"attempt": 1, "run": 1, "runner": "x"}),
    )
}

fn exec(args: &[&str]) -> Value {
    json!({"command": "git", "args": args})
}

fn running(n: u32) -> Value {
    json!({"command": "git", "args": ["log", "-1"], "workdir": ".", "pid": 1000 + n, "background": false})
}

/// A job in the middle of its second phase.
fn midway() -> Story {
    started()
        .tell(30, "job.phase_entered", json!({"title": "Scan"}))
        .step(40, "exec", "exec", exec(&["rev-parse", "HEAD"]))
        .process(45, 1, Some("exec"), "process.started", running(1))
        .process(
            90,
            1,
            Some("exec"),
            "process.exited",
            json!({"outcome": "exited", "exit_code": 0, "wall_ms": 45, "output_bytes": 9}),
        )
        .finish(100, "exec", "ok", None)
        .step(110, "exec:2", "exec", exec(&["fsck"]))
        .process(115, 2, Some("exec:2"), "process.started", running(2))
        .finish(410, "exec:2", "error", Some("exit code 128"))
        .tell(420, "job.phase_entered", json!({"title": "Measure"}))
        .step(430, "parallel/size/exec", "exec", exec(&["log", "--format=%an x"]))
        .process(435, 3, Some("parallel/size/exec"), "process.started", running(3))
        .process(
            436,
            3,
            Some("parallel/size/exec"),
            "process.output",
            json!({"fd": 1, "seq": 1, "text": "one\ntwo \u{1b}[2Jparts\n"}),
        )
        .step(440, "parallel/churn/step", "step", json!({"name": "count"}))
        .step(450, "parallel/churn/step@1/sleep", "sleep", json!({"ms": 5000}))
        .step(460, "parallel/done/exec", "exec", exec(&["status"]))
        .finish(500, "parallel/done/exec", "ok", None)
        .tell(600, "job.logged", json!({"level": "warn", "message": "odd \u{1b}[31mthing\nsecond line"}))
}

fn layout(rows: usize) -> Layout {
    Layout { rows, columns: 80, paint: Paint::OFF }
}

fn at(ms: u64) -> Timestamp {
    START.parse::<Timestamp>().unwrap().plus_ms(ms)
}

#[test]
fn a_running_job_as_a_tree() {
    let tree = midway().tree(&["Scan", "Measure", "Report"]);
    insta::assert_snapshot!(tree.frame(at(3_200), layout(30)).join("\n"));
}

#[test]
fn a_low_terminal_shows_what_runs() {
    let tree = midway().tree(&["Scan", "Measure", "Report"]);
    let frame = tree.frame(at(3_200), layout(8));
    assert!(frame.len() <= 8, "{frame:#?}");
    insta::assert_snapshot!(frame.join("\n"));
    for rows in 0..30 {
        assert!(tree.frame(at(0), layout(rows)).len() <= rows.max(3), "{rows} rows");
    }
}

#[test]
fn a_hundred_branches_fit() {
    let mut story = started();
    for n in 0..100 {
        story = story.step(30, &format!("parallel/{n}/exec"), "exec", exec(&["log"]));
    }
    let frame = story.tree(&[]).frame(at(100), layout(10));
    assert_eq!(frame.len(), 10);
    assert!(frame[9].contains("more"), "{frame:#?}");
    assert!(frame[2].contains("0/exec"), "{frame:#?}");
}

#[test]
fn an_ended_job_leaves_a_summary() {
    let story = midway().tell(900, "job.failed", json!({"error": {"code": "x", "message": "no luck"}}));
    insta::assert_snapshot!(story.tree(&["Scan", "Measure", "Report"]).summary(layout(30)).join("\n"));
    let story = midway().tell(900, "job.completed", json!({"result": {"a": 1}, "usage": {"prompt_tokens": 0, "completion_tokens": 0, "cached_tokens": 0, "reasoning_tokens": 0}}));
    insta::assert_snapshot!("completed", story.tree(&[]).summary(layout(30)).join("\n"));
}

#[test]
fn a_job_line_by_line() {
    let story = midway()
        .step(700, "process", "process", json!({"command": "sleep", "args": ["9"]}))
        .process(710, 9, Some("process"), "process.started", json!({"command": "sleep", "args": ["9"], "workdir": ".", "pid": 7, "background": true}))
        .finish(720, "process", "ok", None)
        .step(730, "approve", "approve", json!({"title": "Risky"}))
        .tell(731, "tool.approval_requested", json!({"call_id": "approve", "name": "approve", "input": {"title": "Risky"}}))
        .tell(732, "job.waiting", json!({"for": "approval", "step": "approve"}))
        .tell(800, "tool.approval_decided", json!({"call_id": "approve", "decision": "approved", "by": "ann"}))
        .tell(801, "job.resumed", json!({}))
        .finish(802, "approve", "ok", None)
        .tell(803, "job.waiting", json!({"for": "signal", "name": "go", "until": "2026-11-21T08:00:00Z"}))
        .tell(820, "step.retry_scheduled", json!({"run": 1, "path": "exec:2", "attempt": 1, "wait_ms": 2000, "error": {"code": "x", "message": "boom"}}))
        .process(830, 9, Some("process"), "process.exited", json!({"outcome": "killed", "signal": "SIGKILL", "wall_ms": 120, "output_bytes": 0}))
        .tell(900, "job.cancelled", json!({"reason": "enough"}));
    insta::assert_snapshot!(story.lines());
}

#[test]
fn what_can_be_done_is_said() {
    let story = started()
        .tell(
            10,
            "tool.approval_requested",
            json!({"call_id": "gate/approve", "name": "approve", "input": {"title": "Publish?"}}),
        )
        .tell(20, "job.waiting", json!({"for": "signal", "name": "go"}));
    insta::assert_snapshot!(story.tree(&[]).frame(at(1000), layout(20)).join("\n"));
}

#[test]
fn a_new_run_starts_its_tree_anew() {
    let tree = midway().tell(700, "job.started", json!({"attempt": 2, "run": 2, "runner": "x"})).tree(&["Scan"]);
    assert_eq!(tree.steps(), (0, 0));
    let tree = midway().tell(700, "job.started", json!({"attempt": 1, "run": 1, "runner": "x"})).tree(&["Scan"]);
    assert_eq!(tree.steps(), (3, 6), "a run that goes on keeps its steps");
}
