//! The rules, one at a time.

use super::{batch, flow, on, step, switch, within};
use moonlog_core::flow::{
    FlowDecision, FlowDefinition, FlowEnd, FlowScheduler, FlowStanding, Join, Trigger::AllDone, Trigger::OneSuccess,
};

/// A flow that is run step by step; steps are named by their ids.
struct Run {
    definition: FlowDefinition,
    scheduler: FlowScheduler,
}

impl Run {
    fn of(definition: FlowDefinition) -> Self {
        let scheduler = FlowScheduler::new(&definition).unwrap();
        Self { definition, scheduler }
    }

    /// All that is decided now, as words.
    fn decided(&mut self) -> String {
        let mut words = Vec::new();
        while let Some(decision) = self.scheduler.next_decision() {
            let id = |step: usize| self.definition.steps[step].id.as_str();
            words.push(match decision {
                FlowDecision::Start(step) => format!("+{}", id(step)),
                FlowDecision::Skip(step, reason) => format!("{}:{}", id(step), reason.as_str()),
                FlowDecision::Drop(step) => format!("-{}", id(step)),
                FlowDecision::Cancel(step) => format!("!{}", id(step)),
            });
        }
        words.join(" ")
    }

    fn ends(&mut self, id: &str, end: FlowEnd) -> String {
        let step = self.definition.steps.iter().position(|step| step.id == id).unwrap();
        assert!(self.scheduler.ended(step, end), "{id} runs");
        self.decided()
    }
}

#[test]
fn a_step_runs_when_all_it_needs_has_completed() {
    let mut run = Run::of(flow(vec![step("c", "a b"), step("a", ""), step("b", "")], vec![]));
    assert_eq!(run.decided(), "+a +b");
    assert_eq!(run.ends("b", FlowEnd::Completed), "");
    assert_eq!(run.ends("a", FlowEnd::Completed), "+c");
    assert_eq!(run.scheduler.standing(), FlowStanding::Running(1));
    assert_eq!(run.ends("c", FlowEnd::Completed), "");
    assert_eq!(run.scheduler.standing(), FlowStanding::Complete);
}

#[test]
fn triggers_are_looked_at_once_all_dependencies_have_ended() {
    let steps = || {
        vec![
            step("a", ""),
            step("b", ""),
            step("all", "a b"),
            on(OneSuccess, step("one", "a b")),
            on(AllDone, step("done", "a b")),
        ]
    };
    for end in [FlowEnd::Failed, FlowEnd::TimedOut] {
        let mut run = Run::of(flow(steps(), vec![]));
        assert_eq!(run.decided(), "+a +b");
        assert_eq!(run.ends("a", FlowEnd::Completed), "");
        assert_eq!(run.ends("b", end), "all:upstream_failed +one +done");
        let mut run = Run::of(flow(steps(), vec![]));
        run.decided();
        run.ends("a", end);
        assert_eq!(run.ends("b", end), "all:upstream_failed one:upstream_failed +done");
    }
}

#[test]
fn what_was_left_out_is_ignored_and_leaves_out_what_needs_nothing_else() {
    let mut run = Run::of(flow(
        vec![step("a", ""), step("b", ""), step("both", "a b"), step("alone", "a"), step("far", "alone")],
        vec![],
    ));
    run.decided();
    assert_eq!(run.ends("a", FlowEnd::WhenFalse), "alone:when_false far:when_false");
    assert_eq!(run.ends("b", FlowEnd::Completed), "+both");
}

#[test]
fn what_was_skipped_for_a_failure_counts_as_failed() {
    let mut run = Run::of(flow(
        vec![
            step("a", ""),
            step("b", "a"),
            step("c", "b"),
            on(AllDone, step("d", "b")),
            on(OneSuccess, step("e", "b")),
        ],
        vec![],
    ));
    run.decided();
    assert_eq!(run.ends("a", FlowEnd::Failed), "b:upstream_failed c:upstream_failed e:upstream_failed +d");
}

#[test]
fn a_switch_leaves_out_what_it_did_not_choose() {
    let steps = vec![
        switch("route", "", &["gate publish", "publish"]),
        step("gate", "route"),
        on(OneSuccess, step("publish", "route gate")),
        step("after", "gate"),
    ];
    let mut run = Run::of(flow(steps.clone(), vec![]));
    assert_eq!(run.decided(), "+route");
    assert_eq!(run.ends("route", FlowEnd::Chose(Some(1))), "gate:not_chosen after:not_chosen +publish");
    let mut run = Run::of(flow(steps.clone(), vec![]));
    run.decided();
    assert_eq!(run.ends("route", FlowEnd::Chose(Some(0))), "+gate");
    assert_eq!(run.ends("gate", FlowEnd::Failed), "after:upstream_failed +publish");
    let mut run = Run::of(flow(steps, vec![]));
    run.decided();
    assert_eq!(run.ends("route", FlowEnd::Chose(None)), "gate:not_chosen publish:not_chosen after:not_chosen");
}

#[test]
fn a_chosen_step_runs_whatever_other_switches_say() {
    let steps = vec![switch("x", "", &["a", "b"]), switch("y", "", &["a", "b"]), step("a", ""), step("b", "")];
    let mut run = Run::of(flow(steps, vec![]));
    assert_eq!(run.decided(), "+x +y", "what a switch names waits for it");
    assert_eq!(run.ends("x", FlowEnd::Chose(Some(0))), "");
    assert_eq!(run.ends("y", FlowEnd::Chose(Some(1))), "+a +b");
}

#[test]
fn a_batch_never_runs_more_than_its_limit() {
    let steps = (0..6).map(|n| within("b", step(&format!("s{n}"), "first"))).chain([step("first", "")]).collect();
    let mut run = Run::of(flow(steps, vec![batch("b", 2, Join::AllDone)]));
    assert_eq!(run.decided(), "+first");
    assert_eq!(run.ends("first", FlowEnd::Completed), "+s0 +s1");
    assert_eq!(run.ends("s1", FlowEnd::Failed), "+s2");
    assert_eq!(run.ends("s0", FlowEnd::WhenFalse), "+s3");
}

#[test]
fn a_failure_cancels_the_rest_of_a_batch_that_wants_all() {
    let mut steps: Vec<_> = (0..4).map(|n| within("b", step(&format!("s{n}"), ""))).collect();
    steps.extend([step("needs", "s3"), on(AllDone, step("end", "s0 s1 s2 s3")), step("other", "")]);
    let mut run = Run::of(flow(steps, vec![batch("b", 2, Join::AllSuccess)]));
    assert_eq!(run.decided(), "+s0 +s1 +other");
    assert_eq!(run.ends("s0", FlowEnd::TimedOut), "!s1 -s2 -s3 needs:upstream_failed");
    assert_eq!(run.ends("s1", FlowEnd::Cancelled), "+end");
}

#[test]
fn what_cannot_run_is_refused_before_the_first_step() {
    let refusals = [
        (flow(vec![step("a", "b")], vec![]), "step `a` names `b` in its deps, and there is no such step"),
        (flow(vec![switch("a", "", &["x"])], vec![]), "step `a` names `x` in its cases, and there is no such step"),
        (flow(vec![step("a", ""), step("a", "")], vec![]), "two steps have the id `a`"),
        (
            flow(vec![within("b", step("a", ""))], vec![]),
            "step `a` belongs to the batch `b`, and there is no such batch",
        ),
        (
            flow(vec![], vec![batch("b", 0, Join::AllDone)]),
            "the batch `b` lets no step run: max_concurrent is a whole number from 1",
        ),
        (flow(vec![step("a", "a")], vec![]), "the steps wait for each other: a -> a"),
        (
            flow(vec![step("z", ""), step("a", "z c"), step("b", "a"), step("c", "b")], vec![]),
            "the steps wait for each other: a -> b -> c -> a",
        ),
        (flow(vec![switch("s", "a", &["a"]), step("a", "")], vec![]), "the steps wait for each other: s -> a -> s"),
    ];
    for (definition, message) in refusals {
        assert_eq!(FlowScheduler::new(&definition).unwrap_err().to_string(), message);
    }
}

#[test]
fn complete_and_stuck_are_told_apart() {
    assert_eq!(FlowScheduler::new(&flow(vec![], vec![])).unwrap().standing(), FlowStanding::Complete);
    let mut run = Run::of(flow(vec![step("a", ""), step("b", "a")], vec![]));
    assert_eq!(run.scheduler.standing(), FlowStanding::Running(0), "a decision is to be taken");
    run.decided();
    assert_eq!(run.scheduler.standing(), FlowStanding::Running(1));
}
