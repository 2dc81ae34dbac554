//! Replay for the command line: what it says of the same script, of a changed one, and of a log cut off.

use crate::world::{Say, World, engine};
use moonlog_core::event::{EventBody, JobFailed, JobTimedOut, StepOutcome};
use moonlog_scripts::{
    Limits,
    replay::{Outcome, Replay, ReplayOptions, Role, Verdict},
};
use std::sync::Arc;

const SOURCE: &str = "local a = exec('one')
step('s', {input = {x = 1}}, function() exec('inner') log('in') end)
log('a')
parallel { x = function() exec('two') end, y = function() sleep(1) end }
return a";

fn told(source: &str) -> Vec<Arc<moonlog_core::event::Event>> {
    World::new(source, |_| Say::Ok("1")).run(&[]).unwrap().events
}

fn replay(source: &str, events: &[Arc<moonlog_core::event::Event>]) -> Verdict {
    let options = ReplayOptions { name: Some("test".into()), ..ReplayOptions::default() };
    Replay::run(&engine(Limits::default()), source, events, &options)
}

#[test]
fn the_same_script_is_deterministic_event_by_event() {
    let events = told(SOURCE);
    let verdict = replay(SOURCE, &events);
    assert_eq!(verdict.outcome, Outcome::Deterministic);
    let roles: Vec<Role> = verdict.walk.iter().map(|walked| walked.role).collect();
    use Role::*;
    assert_eq!(
        roles,
        [
            Outside, Matched, Delivered, Matched, Skipped, Skipped, Skipped, Delivered, Matched, Matched, Matched,
            Delivered, Delivered, Outside
        ]
    );
    for at in 1..=events.len() as u64 {
        let options = ReplayOptions { at: Some(at), name: Some("test".into()), run: None };
        assert_eq!(
            Replay::run(&engine(Limits::default()), SOURCE, &events, &options).outcome,
            Outcome::Deterministic,
            "{at}"
        );
    }
}

#[test]
fn a_changed_script_is_caught_at_the_right_step() {
    let events = told(SOURCE);
    let cases = [
        ("exec('one')", "exec('uno')", "exec", 1),
        ("{x = 1}", "{x = 2}", "s", 2),
        ("log('a')", "log('b')", "", 3),
        ("log('a')", "exec('more')", "", 3),
        ("exec('two')", "exec('zwei')", "x/exec", 4),
        ("y = function() sleep(1) end", "y = function() end", "y/sleep", 0),
    ];
    for (from, to, path, line) in cases {
        let verdict = replay(&SOURCE.replace(from, to), &events);
        let Outcome::Mismatch(mismatch) = verdict.outcome else { panic!("{to}: {:?}", verdict.outcome) };
        assert_eq!(mismatch.path, path, "{to}: {mismatch}");
        assert_eq!(mismatch.line.unwrap_or_default(), line, "{to}: {mismatch}");
    }
    // What is inside a recorded step is not entered.
    assert_eq!(replay(&SOURCE.replace("exec('inner')", "exec('other')"), &events).outcome, Outcome::Deterministic);
    let verdict = replay(&SOURCE.replace("return a", "return 2"), &events);
    assert!(matches!(verdict.outcome, Outcome::OtherEnd { .. }), "{:?}", verdict.outcome);
    let verdict = replay(&SOURCE.replace("return a", "exec('late') return a"), &events);
    assert!(matches!(verdict.outcome, Outcome::Mismatch(_)), "{:?}", verdict.outcome);
    let verdict = replay("return (", &events);
    assert!(matches!(verdict.outcome, Outcome::Error(error) if error.code == "syntax_error"));
}

#[test]
fn a_mismatch_says_what_was_recorded_and_what_is_asked() {
    let verdict = replay(&SOURCE.replace("exec('one')", "sleep(2)"), &told(SOURCE));
    let Outcome::Mismatch(mismatch) = verdict.outcome else { panic!() };
    let text = mismatch.to_string();
    let (first, rest) = text.split_once('\n').unwrap();
    assert_eq!(first, "the script does not do what its journal recorded, at step `exec`");
    assert!(rest.contains("recorded: step `exec` (exec) with input {\"args\":[],\"command\":\"one\""), "{rest}");
    assert!(rest.contains("now:      step `sleep` (sleep) with input {\"ms\":2000} (test:1)"), "{rest}");
}

#[test]
fn a_job_that_was_ended_from_outside_replays() {
    let world = World::new("parallel { function() exec('x') end, function() sleep(9) end }", |_| Say::Never);
    let mut events = world.run(&[]).unwrap().events;
    let mut push = |body: EventBody| {
        let mut event = (**events.last().unwrap()).clone();
        event.position += 1;
        event.version += 1;
        event.step = None;
        event.body = body;
        events.push(Arc::new(event));
    };
    for path in ["1/exec", "2/sleep"] {
        push(EventBody::StepFinished(moonlog_core::event::StepFinished {
            run: 1,
            path: path.into(),
            attempt: 1,
            outcome: StepOutcome::Cancelled,
            output: None,
            error: None,
            latency_ms: 0,
            cached: false,
            cached_from: None,
            tokens_spent: None,
        }));
    }
    push(EventBody::JobTimedOut(JobTimedOut { limit: "timeout_ms".into() }));
    assert_eq!(replay(&world.source, &events).outcome, Outcome::Deterministic);
    let failed = told("error('x')");
    assert_eq!(replay("error('x')", &failed).outcome, Outcome::Deterministic);
    assert!(matches!(failed.last().unwrap().body, EventBody::JobFailed(JobFailed { .. })));
}
